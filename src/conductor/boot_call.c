#include "boot_call.h"

#include "ramdisk.h"

bool boot_call_fill(const struct config *conf, const struct node *n, struct message_boot_publish *p,
		    GError **error)
{
	struct ramdisk r;

	if (!ramdisk_read(n, config_text(conf, OPTION_agent_token_delivery), &r, error))
		return false;
	p->kernel = g_strdup(r.kernel);
	p->ramdisk = g_strdup(r.initrd);
	p->iso = g_strdup(r.iso);
	p->on_command_line = r.on_command_line;
	p->arguments =
		ramdisk_arguments(n, config_text(conf, OPTION_agent_kernel_append_params), error);
	return p->arguments != NULL;
}
