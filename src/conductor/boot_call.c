#include "boot_call.h"

#include <string.h>

#include "address.h"
#include "jsons.h"
#include "ramdisk.h"

/* network_data of the node goes before what the site says of the network. */
static bool fill_network(const struct config *conf, const struct node *n,
			 struct message_boot_publish *p, GError **error)
{
	g_autofree char *first = g_strndup(p->macs, strcspn(p->macs, ","));
	struct network_address own;
	struct mac mac;

	if (json_object_size(n->network_data) == 0)
		return true;
	if (!mac_parse(first, &mac, error) || !address_find_own(conf, n, mac, &own, error))
		return false;
	p->network_data = json_print_compact(n->network_data);
	p->prefix = own.prefix;
	p->gateway = g_strdup(own.gateway);
	p->nameserver = g_strdup(own.nameserver);
	return true;
}

bool boot_call_fill(const struct config *conf, const struct node *n, struct message_boot_publish *p,
		    GError **error)
{
	struct ramdisk r;

	enum ramdisk_use use =
		n->provision_state == STATE_RESCUING ? RAMDISK_RESCUE : RAMDISK_DEPLOY;

	if (!ramdisk_read(n, use, config_text(conf, OPTION_agent_token_delivery), &r, error))
		return false;
	p->kernel = g_strdup(r.kernel);
	p->ramdisk = g_strdup(r.initrd);
	p->iso = g_strdup(r.iso);
	p->on_command_line = r.on_command_line;
	if (p->media && !fill_network(conf, n, p, error))
		return false;
	p->arguments =
		ramdisk_arguments(n, config_text(conf, OPTION_agent_kernel_append_params), error);
	return p->arguments != NULL;
}
