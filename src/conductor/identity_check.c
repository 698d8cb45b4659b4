#include "identity_check.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"

#define INTERFACES_MOST 512

GPtrArray *identity_ports(struct store *s, const struct node *n, GError **error)
{
	g_autoptr(json_t) uuid = json_string(n->uuid.s);
	struct store_filter filter = {.attr = PORT_ATTR_node_uuid, .value = uuid};
	struct store_query query = {.filters = &filter, .filter_count = 1, .sort_attr = -1};
	GPtrArray *list = store_port_list(s, &query, error);

	if (!list)
		return NULL;
	for (guint i = 0, front = 0; i < list->len; i++) {
		const struct port *p = list->pdata[i];
		gpointer moved = list->pdata[i];

		if (!p->pxe_enabled)
			continue;
		memmove(&list->pdata[front + 1], &list->pdata[front],
			(i - front) * sizeof(gpointer));
		list->pdata[front++] = moved;
	}
	return list;
}

static bool is_own(const GPtrArray *ports, struct mac m)
{
	for (guint i = 0; i < ports->len; i++) {
		const struct port *p = ports->pdata[i];

		if (mac_equal(p->address, m))
			return true;
	}
	return false;
}

static bool check_foreign(struct store *s, const struct node *n, struct mac m, GError **error)
{
	g_autoptr(GError) missing = NULL;
	struct port *p = store_port_get_by_mac(s, m, &missing);
	char text[MAC_TEXT];

	mac_print(m, text);
	if (!p && !g_error_matches(missing, INOX_ERROR, INOX_ERROR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&missing));
		return false;
	}
	if (p && strcmp(p->node_uuid.s, n->uuid.s) != 0)
		inox_error_set(error, INOX_ERROR_INVALID,
			       "the machine has the MAC address %s, which is a port of node %s",
			       text, p->node_uuid.s);
	bool fine = !p || strcmp(p->node_uuid.s, n->uuid.s) == 0;

	port_free(p);
	return fine;
}

static bool check_macs(struct store *s, const struct node *n, const json_t *interfaces,
		       GError **error)
{
	g_autoptr(GPtrArray) ports = identity_ports(s, n, error);
	char seen[MAC_TEXT] = "none", known[MAC_TEXT] = "none";
	bool own = false;

	if (!ports)
		return false;
	for (size_t i = 0; i < json_array_size(interfaces); i++) {
		const char *text = json_peek_string(json_array_get(interfaces, i), "mac_address");
		struct mac m;

		/* Interfaces without a MAC, or with an InfiniBand one, say nothing here. */
		if (!text || !mac_parse(text, &m, NULL))
			continue;
		mac_print(m, seen);
		if (is_own(ports, m))
			own = true;
		else if (!check_foreign(s, n, m, error))
			return false;
	}
	if (own)
		return true;
	if (ports->len > 0)
		mac_print(((const struct port *)ports->pdata[0])->address, known);
	return inox_error_set(
		error, INOX_ERROR_INVALID,
		"the machine has no MAC address of the node: it shows %s, and the node's "
		"port is %s",
		seen, known);
}

static bool check_text(const struct node *n, const char *key, const char *word, const char *shown,
		       GError **error)
{
	const char *known = json_peek_string(n->properties, key);

	if (!known || !shown || !*shown || g_ascii_strcasecmp(known, shown) == 0)
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "the machine has the %s '%.64s', and the node's is '%.64s'", word,
			      shown, known);
}

bool identity_check(struct store *s, const struct node *n, const json_t *inventory, GError **error)
{
	json_t *interfaces = json_peek_array(inventory, "interfaces");
	const json_t *vendor = json_peek_object(inventory, "system_vendor");

	if (!interfaces || json_array_size(interfaces) > INTERFACES_MOST)
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the agent's inventory lists no interfaces, or more than %d",
				      INTERFACES_MOST);
	return check_macs(s, n, interfaces, error) &&
	       check_text(n, "serial_number", "serial number",
			  json_peek_string(vendor, "serial_number"), error) &&
	       check_text(n, "system_uuid", "system UUID", json_peek_string(vendor, "system_uuid"),
			  error);
}
