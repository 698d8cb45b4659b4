#include "ports.h"

#include <string.h>

#include "nodes.h"

static const struct filter_rule filters[] = {
	{"node", FILTER_NODE, PORT_ATTR_node_uuid, 1, 0},
	{"node_uuid", FILTER_UUID, PORT_ATTR_node_uuid, 1, 0},
	{"address", FILTER_MAC, PORT_ATTR_address, 1, 0},
	{"description_contains", FILTER_CONTAINS, PORT_ATTR_description, 97, 0},
	{"conductor_groups", FILTER_GROUP, 0, 99, 0},
};

static json_t *render(const struct request *rq, const void *object, unsigned flags, char **fields)
{
	const struct port *p = object;
	g_autofree char *path = g_strdup_printf("ports/%s", p->uuid.s);
	json_t *out = attrs_to_json(&port_attrs, p, fields ? A_READ : flags, rq->minor,
				    (const char *const *)fields);

	json_object_set_new(out, "links", request_links(rq, path));
	return out;
}

const struct collection port_collection = {
	.plural = "ports",
	.table = &port_attrs,
	.filters = filters,
	.filter_count = G_N_ELEMENTS(filters),
	.further_fields = "links",
	.list = store_port_list,
	.render = render,
	.uuid_attr = PORT_ATTR_uuid,
};

static bool list(struct request *rq, const char *path, bool detail, GError **error)
{
	const char *group = request_argument(rq, "portgroup");

	if (!group)
		return listing_reply(rq, &port_collection, path, NULL, 0, detail, error);
	if (rq->minor < 24)
		return api_error_set_too_old(error);
	if (request_argument(rq, "node") || request_argument(rq, "node_uuid"))
		return inox_error_set(error, INOX_ERROR_DENIED, "Operation not permitted.");
	return inox_error_set(error, INOX_ERROR_NOT_FOUND, "Portgroup %s could not be found.",
			      group);
}

bool ports_list(struct request *rq, GError **error)
{
	return list(rq, "ports", false, error);
}

bool ports_list_detail(struct request *rq, GError **error)
{
	return list(rq, "ports/detail", true, error);
}

struct port *ports_find(struct store *s, const char *ident, GError **error)
{
	g_autoptr(json_t) name = json_string(ident);
	const struct store_filter by_name = {.attr = PORT_ATTR_name, .value = name};
	const struct store_query q = {
		.filters = &by_name, .filter_count = 1, .sort_attr = -1, .limit = 1};

	if (request_looks_like_uuid(ident))
		return store_port_get(s, ident, error);
	g_autoptr(GPtrArray) found = store_port_list(s, &q, error);

	if (!found)
		return NULL;
	if (found->len == 0) {
		inox_error_set(error, INOX_ERROR_NOT_FOUND, "Port %s could not be found.", ident);
		return NULL;
	}
	return store_port_get(s, ((struct port *)found->pdata[0])->uuid.s, error);
}

static bool check_name(const struct request *rq, struct port *p, GError **error)
{
	if (p->name && !*p->name)
		g_clear_pointer(&p->name, g_free);
	if (!p->name || request_is_name(p->name, API_MINOR_MAX))
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID, "Cannot %s port with invalid name '%s'",
			      rq->port ? "update" : "create", p->name);
}

static bool refuse_link(const json_t *link, const char *cause, const char *key, GError **error)
{
	g_autofree char *shown = attr_repr(link);

	return inox_error_set(
		error, INOX_ERROR_INVALID,
		"Schema error for local_link_connection: %s is not valid under any of "
		"the given schemas. Possible root cause: '%s' %s",
		shown, key, cause);
}

/* The two ends of a VTEP, which ports had from 1.90 to 1.104: both, with the port, or neither. */
static bool check_vtep(const json_t *link, unsigned minor, bool *ret_has, GError **error)
{
	static const char *const keys[] = {"vtep-logical-switch", "vtep-physical-switch"};
	bool had = minor >= 90 && minor < 105;

	*ret_has = json_object_get(link, keys[0]) || json_object_get(link, keys[1]);
	for (size_t i = 0; *ret_has && i < G_N_ELEMENTS(keys); i++) {
		bool stands = json_object_get(link, keys[i]) != NULL;

		if (stands && !had)
			return refuse_link(link, "was unexpected", keys[i], error);
		if (!stands && had)
			return refuse_link(link, "is a required property", keys[i], error);
	}
	return true;
}

/* What a switch port may be described with: nothing, {port_id, switch_id, ...}, {port_id, hostname}, an
 * unmanaged network or, for a time, a VTEP. */
static bool check_link(const struct request *rq, const struct port *p, GError **error)
{
	const json_t *link = p->local_link_connection;
	bool vtep;

	if (json_object_size(link) == 0)
		return true;
	if (!check_vtep(link, rq->minor, &vtep, error))
		return false;
	if (json_object_get(link, "network_type"))
		return true;
	if (!json_object_get(link, "port_id"))
		return refuse_link(link, "is a required property", "port_id", error);
	return vtep || json_object_get(link, "switch_id") || json_object_get(link, "hostname") ||
	       refuse_link(link, "is a required property", "switch_id", error);
}

static bool check_group(const struct port *p, GError **error)
{
	if (!uuid_is_set(&p->portgroup_uuid))
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID, "Portgroup %s could not be found.",
			      p->portgroup_uuid.s);
}

/* "node_ident" (1.94), a UUID or a name, instead of "node_uuid". */
static bool resolve_ident(struct request *rq, GError **error)
{
	const char *ident = json_peek_string(rq->body, "node_ident");

	if (!ident || rq->minor < 94 || json_object_get(rq->body, "node_uuid"))
		return true;
	g_autoptr(node) n = store_node_get(rq->api->store, ident, NULL);

	if (!n)
		return inox_error_set(error, INOX_ERROR_INVALID, "Node %s could not be found.",
				      ident);
	json_object_del(rq->body, "node_ident");
	json_object_set_new(rq->body, "node_uuid", json_string(n->uuid.s));
	return true;
}

bool ports_create(struct request *rq, GError **error)
{
	g_autoptr(port) p = port_new();
	attr_set changed = {0};

	if (!resolve_ident(rq, error) ||
	    !attrs_from_json(&port_attrs, p, rq->body, A_CREATE, rq->minor, changed, error))
		return false;
	g_autoptr(node) n = store_node_get(rq->api->store, p->node_uuid.s, NULL);

	if (!n)
		return inox_error_set(error, INOX_ERROR_INVALID, "Node %s could not be found.",
				      p->node_uuid.s);
	if (!check_name(rq, p, error) || !check_link(rq, p, error) || !check_group(p, error))
		return false;
	if (!uuid_is_set(&p->uuid))
		p->uuid = uuid_new();
	if (!store_port_insert(rq->api->store, p, error))
		return false;
	rq->status = 201;
	rq->location = g_strdup_printf("%s/v1/ports/%s", rq->base, p->uuid.s);
	rq->reply = render(rq, p, A_READ, NULL);
	return true;
}

bool ports_show(struct request *rq, GError **error)
{
	g_auto(GStrv) fields = NULL;

	if (!listing_parse_fields(rq, &port_collection, &fields, error))
		return false;
	rq->reply = render(rq, rq->port, A_READ, fields);
	return true;
}

/* How a port is connected must not change under a running instance. */
static bool check_connection(const struct node *n, const struct port *p, const attr_set changed,
			     GError **error)
{
	static const unsigned attrs[] = {PORT_ATTR_portgroup_uuid, PORT_ATTR_local_link_connection,
					 PORT_ATTR_physical_network, PORT_ATTR_pxe_enabled,
					 PORT_ATTR_is_smartnic};
	bool free = n->maintenance || n->provision_state == STATE_ENROLL ||
		    n->provision_state == STATE_INSPECTING ||
		    n->provision_state == STATE_INSPECT_WAIT ||
		    n->provision_state == STATE_MANAGEABLE;

	for (size_t i = 0; !free && i < G_N_ELEMENTS(attrs); i++)
		if (attr_set_has(changed, attrs[i]))
			return inox_error_set(
				error, INOX_ERROR_CONFLICT,
				"Port %s can not have any connectivity attributes (%s) updated "
				"unless node %s is in a enroll, inspecting, inspect wait, manageable "
				"state or in maintenance mode. The current state is %s.",
				p->uuid.s, port_attrs.attrs[attrs[i]].name, n->uuid.s,
				provision_state_text((unsigned)n->provision_state));
	if (attr_set_has(changed, PORT_ATTR_address) && !n->maintenance &&
	    (n->provision_state == STATE_ACTIVE || uuid_is_set(&n->instance_uuid)))
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Cannot update hardware address for port %s as node %s is "
				      "active or holds an instance.",
				      p->uuid.s, n->uuid.s);
	return true;
}

static bool check_new_node(const struct request *rq, const struct port *p, const attr_set changed,
			   GError **error)
{
	if (!attr_set_has(changed, PORT_ATTR_node_uuid))
		return true;
	g_autoptr(node) n = store_node_get(rq->api->store, p->node_uuid.s, NULL);

	return n || inox_error_set(error, INOX_ERROR_INVALID,
				   "Unable to apply the requested node_uuid '%s'. Requested value "
				   "was invalid.",
				   p->node_uuid.s);
}

bool ports_patch(struct request *rq, GError **error)
{
	struct port *p = rq->port;
	attr_set changed = {0}, removed = {0};
	g_autoptr(node) n = store_node_get(rq->api->store, p->node_uuid.s, error);

	if (!n || !request_check_unlocked(n, error) ||
	    !attributes_patch(rq->patch, &port_attrs, p, changed, removed, error))
		return false;
	if (!check_new_node(rq, p, changed, error) || !check_connection(n, p, changed, error) ||
	    !check_name(rq, p, error) || !check_group(p, error))
		return false;
	/* What an older version took stays until somebody changes it. */
	if (attr_set_has(changed, PORT_ATTR_local_link_connection) && !check_link(rq, p, error))
		return false;
	if (!attr_set_is_empty(changed) && !store_port_update(rq->api->store, p, changed, error))
		return false;
	rq->reply = render(rq, p, A_READ, NULL);
	return true;
}

bool ports_delete(struct request *rq, GError **error)
{
	g_autoptr(node) n = store_node_get(rq->api->store, rq->port->node_uuid.s, error);

	rq->status = 204;
	return n && request_check_unlocked(n, error) &&
	       store_port_delete(rq->api->store, rq->port->uuid.s, error);
}
