#include "boot_call.h"

#include <string.h>

#include "address.h"
#include "flow.h"
#include "identity_check.h"
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

static void add_mac(json_t *list, struct mac m)
{
	char text[MAC_TEXT];
	const json_t *each;
	size_t i;

	mac_print(m, text);
	json_array_foreach(list, i, each)
		if (strcmp(json_string_value(each), text) == 0)
			return;
	json_array_append_new(list, json_string(text));
}

json_t *boot_call_own_macs(struct store *s, const struct node *n, GError **error)
{
	g_autoptr(GPtrArray) ports = identity_ports(s, n, error);

	if (!ports)
		return NULL;
	json_t *list = json_array();

	for (guint i = 0; i < ports->len; i++)
		add_mac(list, ((const struct port *)ports->pdata[i])->address);
	return list;
}

/* The boot host has one record for a MAC address: that of the node that published it last. */
static bool is_anothers(struct store *s, const struct node *n, struct mac m)
{
	g_autoptr(port) p = store_port_get_by_mac(s, m, NULL);
	g_autoptr(node) owner = p && strcmp(p->node_uuid.s, n->uuid.s) != 0
					? store_node_get(s, p->node_uuid.s, NULL)
					: NULL;

	return owner && owner->agent_address;
}

json_t *boot_call_published_macs(struct store *s, const struct node *n, GError **error)
{
	json_t *list = boot_call_own_macs(s, n, error);
	const json_t *begun = flow_peek_boot_macs(n), *each;
	struct mac m;
	size_t i;

	if (!list)
		return NULL;
	json_array_foreach(begun, i, each)
		if (json_is_string(each) && mac_parse(json_string_value(each), &m, NULL) &&
		    !is_anothers(s, n, m))
			add_mac(list, m);
	return list;
}
