#include "network_data.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"

#define ITEMS_MOST 64
#define VLAN_LAST  4094
#define MTU_LAST   65535
/* A VLAN on a bond on an interface. */
#define LAYERS_MOST  2

#define BEFORE       "Invalid network_data: "
#define REQUIRED_END " is a required property " /* with a blank at its end, as Ironic has it */

enum link_kind { LINK_PLAIN, LINK_BOND, LINK_VLAN };

static const struct {
	const char *word;
	enum link_kind kind;
} link_types[] = {{"phy", LINK_PLAIN}, {"vif", LINK_PLAIN},    {"bridge", LINK_PLAIN},
		  {"dvs", LINK_PLAIN}, {"hw_veb", LINK_PLAIN}, {"hyperv", LINK_PLAIN},
		  {"ovs", LINK_PLAIN}, {"tap", LINK_PLAIN},    {"vhostuser", LINK_PLAIN},
		  {"bond", LINK_BOND}, {"vlan", LINK_VLAN}};

static const struct network_type {
	const char *word;
	int family;
	bool fixed;
} network_types[] = {{"ipv4", AF_INET, true},
		     {"ipv4_dhcp", AF_INET, false},
		     {"ipv6", AF_INET6, true},
		     {"ipv6_dhcp", AF_INET6, false},
		     {"ipv6_slaac", AF_INET6, false}};

static const char *const bond_modes[] = {"802.1ad",     "balance-rr", "active-backup",
					 "balance-xor", "broadcast",  "balance-tlb",
					 "balance-alb", "802.3ad",    NULL};

/* Which of them an item is; -1: none. */
static int link_kind_of(const json_t *link)
{
	const char *type = json_peek_string(link, "type");

	for (unsigned i = 0; type && i < G_N_ELEMENTS(link_types); i++)
		if (strcmp(type, link_types[i].word) == 0)
			return (int)link_types[i].kind;
	return -1;
}

static const struct network_type *network_type_of(const json_t *network)
{
	const char *type = json_peek_string(network, "type");

	for (unsigned i = 0; type && i < G_N_ELEMENTS(network_types); i++)
		if (strcmp(type, network_types[i].word) == 0)
			return &network_types[i];
	return NULL;
}

/* ---- addresses */

static bool is_address(int family, const char *text, uint8_t bytes[16])
{
	return text && inet_pton(family, text, bytes) == 1;
}

static size_t length_of(int family)
{
	return family == AF_INET ? 4 : 16;
}

/* Of a mask in the form of an address; false: its ones are not all in front. */
static bool read_mask(int family, const char *text, unsigned *ret_prefix)
{
	uint8_t bytes[16];
	unsigned ones = 0, count = (unsigned)length_of(family) * 8;

	if (!is_address(family, text, bytes))
		return false;
	while (ones < count && bytes[ones / 8] & (0x80 >> ones % 8))
		ones++;
	for (unsigned i = ones; i < count; i++)
		if (bytes[i / 8] & (0x80 >> i % 8))
			return false;
	*ret_prefix = ones;
	return true;
}

/* ---- the schema */

struct item {
	const char *list;
	size_t index;
	const json_t *value;
};

static bool refuse(const struct item *it, const char *what, GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID, BEFORE "%s[%zu]: %s", it->list, it->index,
			      what);
}

static bool refuse_key(const struct item *it, const char *key, const char *what, GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID, BEFORE "%s[%zu]: '%s' %s", it->list,
			      it->index, key, what);
}

/* Texts that have to be there; NULL ends the list. */
static bool check_texts(const struct item *it, const char *const *keys, GError **error)
{
	for (; *keys; keys++) {
		const json_t *value = json_object_get(it->value, *keys);

		if (!value)
			return refuse_key(it, *keys, "is a required property", error);
		if (!json_is_string(value) || json_string_length(value) > 255)
			return refuse_key(it, *keys, "must be a text of up to 255 bytes", error);
	}
	return true;
}

static bool check_mac(const struct item *it, const char *key, GError **error)
{
	const char *text = json_peek_string(it->value, key);
	g_autofree char *colons = g_strdup(text ? text : "");
	struct mac mac;

	g_strdelimit(colons, "-", ':');
	return mac_parse(colons, &mac, NULL) || refuse_key(it, key, "is no MAC address", error);
}

static bool check_number(const struct item *it, const char *key, json_int_t last, GError **error)
{
	const json_t *value = json_object_get(it->value, key);
	double number = json_number_value(value);

	if (json_is_number(value) && number >= 1 && number <= (double)last)
		return true;
	g_autofree char *what = g_strdup_printf("must be a number from 1 to %lld", (long long)last);

	return refuse_key(it, key, what, error);
}

static bool check_bond(const struct item *it, GError **error)
{
	const json_t *links = json_peek_array(it->value, "bond_links");
	const char *mode = json_peek_string(it->value, "bond_mode");
	size_t i;
	const json_t *entry;

	if (!mode || !g_strv_contains(bond_modes, mode))
		return refuse_key(it, "bond_mode", "is none of the known modes", error);
	if (!links || json_array_size(links) > ITEMS_MOST)
		return refuse_key(it, "bond_links", "must be a list of link ids", error);
	json_array_foreach(links, i, entry)
		if (!json_is_string(entry))
			return refuse_key(it, "bond_links", "must be a list of link ids", error);
	return true;
}

static bool check_link(const struct item *it, GError **error)
{
	static const char *const plain[] = {"id", "type", "ethernet_mac_address", NULL};
	static const char *const vlan[] = {"id", "type", "vlan_mac_address", "vlan_link", NULL};
	int kind = link_kind_of(it->value);
	const json_t *mtu = json_object_get(it->value, "mtu");

	if (kind < 0)
		return refuse_key(it, "type", "is none of the known types of a link", error);
	if (!check_texts(it, kind == LINK_VLAN ? vlan : plain, error) ||
	    !check_mac(it, kind == LINK_VLAN ? "vlan_mac_address" : "ethernet_mac_address", error))
		return false;
	if (mtu && !json_is_null(mtu) && !check_number(it, "mtu", MTU_LAST, error))
		return false;
	if (kind == LINK_VLAN)
		return check_number(it, "vlan_id", VLAN_LAST, error);
	return kind != LINK_BOND || check_bond(it, error);
}

static bool check_service(const struct item *it, GError **error)
{
	static const char *const keys[] = {"address", "type", NULL};
	const char *address = json_peek_string(it->value, "address");
	uint8_t bytes[16];

	if (!check_texts(it, keys, error))
		return false;
	return is_address(AF_INET, address, bytes) || is_address(AF_INET6, address, bytes) ||
	       refuse_key(it, "address", "is no numeric address", error);
}

static bool check_route(const struct item *it, int family, GError **error)
{
	static const char *const keys[] = {"network", "netmask", "gateway", NULL};
	uint8_t bytes[16];
	unsigned prefix;

	if (!json_is_object(it->value))
		return refuse(it, "must be an object", error);
	if (!check_texts(it, keys, error))
		return false;
	if (!read_mask(family, json_peek_string(it->value, "netmask"), &prefix))
		return refuse_key(it, "netmask", "is no mask of the network's family", error);
	for (unsigned i = 0; i < G_N_ELEMENTS(keys) - 1; i += 2)
		if (!is_address(family, json_peek_string(it->value, keys[i]), bytes))
			return refuse_key(it, keys[i], "is no address of the network's family",
					  error);
	return true;
}

static bool check_routes(const struct item *it, int family, GError **error)
{
	const json_t *routes = json_object_get(it->value, "routes");
	g_autofree char *name = g_strdup_printf("networks[%zu].routes", it->index);
	struct item route = {.list = name};

	if (!routes)
		return true;
	if (!json_is_array(routes) || json_array_size(routes) > ITEMS_MOST)
		return refuse_key(it, "routes", "must be a list", error);
	json_array_foreach(routes, route.index, route.value)
		if (!check_route(&route, family, error))
			return false;
	return true;
}

static bool check_network(const struct item *it, GError **error)
{
	static const char *const keys[] = {"id", "link", "type", NULL};
	const struct network_type *type = network_type_of(it->value);
	const char *address = json_peek_string(it->value, "ip_address");
	const json_t *mask = json_object_get(it->value, "netmask");
	uint8_t bytes[16];
	unsigned prefix;

	if (!type)
		return refuse_key(it, "type", "is none of the known types of a network", error);
	if (!check_texts(it, keys, error))
		return false;
	if (type->fixed && !is_address(type->family, address, bytes))
		return refuse_key(it, "ip_address", "must be a numeric address of its type", error);
	if ((type->fixed || mask) &&
	    (!read_mask(type->family, json_string_value(mask), &prefix) || prefix == 0))
		return refuse_key(it, "netmask",
				  "must be a mask of its type, like 255.255.255.0 or "
				  "ffff:ffff:ffff:ffff::",
				  error);
	return check_routes(it, type->family, error);
}

static bool check_list(const json_t *data, const char *name,
		       bool (*check)(const struct item *it, GError **error), GError **error)
{
	const json_t *list = json_object_get(data, name);
	struct item it = {.list = name};

	if (!list)
		return inox_error_set(error, INOX_ERROR_INVALID, BEFORE "'%s'" REQUIRED_END, name);
	if (!json_is_array(list) || json_array_size(list) > ITEMS_MOST)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      BEFORE "'%s' must be a list of up to %d items", name,
				      ITEMS_MOST);
	json_array_foreach(list, it.index, it.value) {
		if (!json_is_object(it.value))
			return refuse(&it, "must be an object", error);
		if (!check(&it, error))
			return false;
	}
	return true;
}

static bool check_size(const json_t *data, GError **error)
{
	g_autofree char *text = json_print_compact(data);

	return strlen(text) <= NETWORK_DATA_MAX ||
	       inox_error_set(error, INOX_ERROR_INVALID,
			      BEFORE "%zu bytes of JSON; there is room for %d", strlen(text),
			      NETWORK_DATA_MAX);
}

bool network_data_check(const json_t *data, GError **error)
{
	if (json_object_size(data) == 0)
		return true;
	return check_list(data, "links", check_link, error) &&
	       check_list(data, "networks", check_network, error) &&
	       check_list(data, "services", check_service, error) && check_size(data, error);
}

/* ---- what an interface gets */

static const json_t *find_link(const json_t *data, const char *id)
{
	const json_t *links = json_object_get(data, "links");
	size_t i;
	const json_t *link;

	json_array_foreach(links, i, link)
		if (g_strcmp0(json_peek_string(link, "id"), id) == 0)
			return link;
	return NULL;
}

static const json_t *find_interface(const json_t *data, struct mac mac)
{
	const json_t *links = json_object_get(data, "links");
	size_t i;
	const json_t *link;

	json_array_foreach(links, i, link) {
		const char *text = json_peek_string(link, "ethernet_mac_address");
		g_autofree char *colons = g_strdup(text ? text : "");
		struct mac own;

		g_strdelimit(colons, "-", ':');
		if (link_kind_of(link) == LINK_PLAIN && mac_parse(colons, &own, NULL) &&
		    mac_equal(own, mac))
			return link;
	}
	return NULL;
}

/* True if the link is `below`, or lies on it through up to `layers` bonds and VLANs. */
static bool lies_on(const json_t *data, const char *id, const char *below, unsigned layers)
{
	const json_t *link = find_link(data, id);
	size_t i;
	const json_t *entry;

	if (g_strcmp0(id, below) == 0)
		return true;
	if (!link || layers == 0)
		return false;
	if (link_kind_of(link) == LINK_VLAN)
		return lies_on(data, json_peek_string(link, "vlan_link"), below, layers - 1);
	json_array_foreach(json_object_get(link, "bond_links"), i, entry)
		if (lies_on(data, json_string_value(entry), below, layers - 1))
			return true;
	return false;
}

static bool is_default_route(const json_t *route, int family)
{
	unsigned prefix;

	return read_mask(family, json_peek_string(route, "netmask"), &prefix) && prefix == 0;
}

static bool take_routes(const json_t *network, int family, bool own, struct network_address *a,
			GError **error)
{
	size_t i;
	const json_t *route;

	json_array_foreach(json_object_get(network, "routes"), i, route) {
		const char *gateway = json_peek_string(route, "gateway");

		if (is_default_route(route, family))
			g_strlcpy(a->gateway, gateway, sizeof(a->gateway));
		else if (own)
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"network_data: the network '%s' has a route to %s, and the ramdisk "
				"sets none but the default route",
				json_peek_string(network, "id"),
				json_peek_string(route, "network"));
	}
	return true;
}

static void take_nameserver(const json_t *data, const json_t *network, struct network_address *a)
{
	const json_t *const lists[] = {json_object_get(network, "services"),
				       json_object_get(data, "services")};
	uint8_t bytes[16];

	for (unsigned l = 0; l < G_N_ELEMENTS(lists) && !*a->nameserver; l++) {
		size_t i;
		const json_t *service;

		json_array_foreach(lists[l], i, service) {
			const char *address = json_peek_string(service, "address");
			bool dns = g_strcmp0(json_peek_string(service, "type"), "dns") == 0;

			if (dns && !*a->nameserver &&
			    (is_address(AF_INET, address, bytes) ||
			     is_address(AF_INET6, address, bytes)))
				g_strlcpy(a->nameserver, address, sizeof(a->nameserver));
		}
	}
}

static bool is_same(int family, const char *one, const char *other)
{
	uint8_t a[16], b[16];

	return is_address(family, one, a) && is_address(family, other, b) &&
	       memcmp(a, b, length_of(family)) == 0;
}

/* The first static network on the interface that has `wanted`, or any.  Sets *ret_others if there are
 * static ones that do not fit. */
static const json_t *choose_network(const json_t *data, const char *interface, const char *wanted,
				    unsigned layers, bool *ret_others)
{
	size_t i;
	const json_t *network;

	json_array_foreach(json_object_get(data, "networks"), i, network) {
		const struct network_type *type = network_type_of(network);

		if (!type || !type->fixed ||
		    !lies_on(data, json_peek_string(network, "link"), interface, layers))
			continue;
		if (!wanted ||
		    is_same(type->family, json_peek_string(network, "ip_address"), wanted))
			return network;
		*ret_others = true;
	}
	return NULL;
}

static bool nothing_found(const json_t *data, const char *interface, const char *wanted,
			  bool others, bool own, GError **error)
{
	bool layered = false;

	if (others)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_info.agent_address %s is none of the static "
				      "addresses that network_data has for the link '%s'",
				      wanted, interface);
	if (own && choose_network(data, interface, NULL, LAYERS_MOST, &layered))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "network_data: the address of the link '%s' is on a bond or "
				      "a VLAN, and the ramdisk makes neither",
				      interface);
	return true;
}

bool network_data_find(const json_t *data, struct mac mac, const char *wanted, bool own,
		       struct network_address *ret, GError **error)
{
	struct network_address a = {.prefix = 0};
	const json_t *link = find_interface(data, mac);
	bool others = false;
	char text[MAC_TEXT];

	*ret = a;
	if (json_object_size(data) == 0)
		return true;
	mac_print(mac, text);
	if (!link)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "network_data has no link with the MAC address %s of the "
				      "node's port",
				      text);
	const char *interface = json_peek_string(link, "id");
	const json_t *network =
		choose_network(data, interface, wanted, own ? 0 : LAYERS_MOST, &others);

	if (!network)
		return nothing_found(data, interface, wanted, others, own, error);
	int family = network_type_of(network)->family;

	if (!take_routes(network, family, own, &a, error))
		return false;
	take_nameserver(data, network, &a);
	(void)!read_mask(family, json_peek_string(network, "netmask"), &a.prefix);
	g_strlcpy(a.address, json_peek_string(network, "ip_address"), sizeof(a.address));
	*ret = a;
	return true;
}
