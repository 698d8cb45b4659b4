#include "nodes.h"

#include <string.h>

#include "config_drive.h"
#include "deployment.h"
#include "hardware.h"

static const struct filter_rule filters[] = {
	{"instance_uuid", FILTER_UUID, NODE_ATTR_instance_uuid, 1, 0},
	{"associated", FILTER_IS_SET, NODE_ATTR_instance_uuid, 1, 0},
	{"maintenance", FILTER_BOOL, NODE_ATTR_maintenance, 1, 0},
	{"provision_state", FILTER_STATE, NODE_ATTR_provision_state, 9, 0},
	{"driver", FILTER_TEXT, NODE_ATTR_driver, 16, 0},
	{"resource_class", FILTER_TEXT, NODE_ATTR_resource_class, 21, 0},
	{"fault", FILTER_FAULT, NODE_ATTR_fault, 42, 0},
	{"conductor_group", FILTER_TEXT, NODE_ATTR_conductor_group, 46, 0},
	{"conductor", FILTER_HOST, 0, 49, 0},
	{"owner", FILTER_TEXT, NODE_ATTR_owner, 50, 0},
	{"description_contains", FILTER_CONTAINS, NODE_ATTR_description, 1, 0},
	{"retired", FILTER_BOOL, NODE_ATTR_retired, 1, 0},
	{"lessee", FILTER_TEXT, NODE_ATTR_lessee, 65, 0},
	{"project", FILTER_EITHER, NODE_ATTR_owner, 65, NODE_ATTR_lessee},
	{"shard", FILTER_ANY_OF, NODE_ATTR_shard, 82, 0},
	{"sharded", FILTER_IS_SET, NODE_ATTR_shard, 82, 0},
	{"parent_node", FILTER_NODE, NODE_ATTR_parent_node, 83, 0},
	{"instance_name", FILTER_TEXT, NODE_ATTR_instance_name, 104, 0,
	 "instance_name is not acceptable in this API version"},
};

static void rename_state(const struct request *rq, json_t *object, const char *key)
{
	const char *state = json_peek_string(object, key);

	if (rq->minor < 2 && g_strcmp0(state, "available") == 0)
		json_object_set_new(object, key, json_null());
	else if (rq->minor < 39 && g_strcmp0(state, "inspect wait") == 0)
		json_object_set_new(object, key, json_string("inspecting"));
}

static bool shows(const struct request *rq, char **fields, unsigned flags, const char *name,
		  unsigned since)
{
	if (rq->minor < since)
		return false;
	return fields ? g_strv_contains((const char *const *)fields, name) : !(flags & A_BRIEF);
}

static json_t *render(const struct request *rq, const void *object, unsigned flags, char **fields)
{
	static const struct {
		const char *name;
		unsigned since;
	} parts[] = {{"ports", 1}, {"states", 14}, {"portgroups", 23}, {"volume", 32}};
	const struct node *n = object;
	g_autofree char *path = g_strdup_printf("nodes/%s", n->uuid.s);
	json_t *out = attrs_to_json(&node_attrs, n, fields ? A_READ : flags, rq->minor,
				    (const char *const *)fields);

	rename_state(rq, out, "provision_state");
	rename_state(rq, out, "target_provision_state");
	json_object_set_new(out, "links", request_links(rq, path));
	if (shows(rq, fields, flags, "conductor", 49))
		json_object_set_new(out, "conductor", json_string(config_host(rq->api->config)));
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
		g_autofree char *part = g_strdup_printf("%s/%s", path, parts[i].name);

		if (shows(rq, fields, flags, parts[i].name, parts[i].since))
			json_object_set_new(out, parts[i].name, request_links(rq, part));
	}
	return out;
}

const struct collection node_collection = {
	.plural = "nodes",
	.table = &node_attrs,
	.filters = filters,
	.filter_count = G_N_ELEMENTS(filters),
	.further_fields = "links,conductor,ports,states,portgroups,volume",
	.list = store_node_list,
	.render = render,
	.uuid_attr = NODE_ATTR_uuid,
};

static bool list(struct request *rq, const char *path, bool detail, GError **error)
{
	const struct store_filter no_children = {.attr = NODE_ATTR_parent_node};
	const char *chassis = request_argument(rq, "chassis_uuid");
	const char *all = request_argument(rq, "include_children");
	bool children = false;
	struct uuid u;

	if (chassis && !uuid_parse(chassis, &u, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Expected UUID for chassis_uuid: %s", chassis);
	if (chassis)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "Chassis %s could not be found.",
				      chassis);
	if (all && rq->minor < 83)
		return api_error_set_too_old(error);
	if (all && !request_parse_bool("include_children", all, &children, error))
		return false;
	children |= request_argument(rq, "parent_node") || request_argument(rq, "instance_uuid");
	return listing_reply(rq, &node_collection, path, &no_children, children ? 0 : 1, detail,
			     error);
}

bool nodes_list(struct request *rq, GError **error)
{
	return list(rq, "nodes", false, error);
}

bool nodes_list_detail(struct request *rq, GError **error)
{
	return list(rq, "nodes/detail", true, error);
}

/* A config drive that came as instance_info.configdrive goes into its own column; what the row and the
 * API show instead is the mask.  Taking the key away takes the config drive away. */
static bool take_config_drive(struct node *n, attr_set changed, GError **error)
{
	json_t *given = json_object_get(n->instance_info, "configdrive");
	g_autofree char *text = NULL;

	if (g_strcmp0(json_string_value(given), "******") == 0 || (!given && !n->config_drive))
		return true;
	if (json_is_object(given)) {
		text = config_drive_from_object(given, n->uuid.s, n->name, error);
		if (!text)
			return false;
	} else if (given && !json_is_string(given)) {
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"Invalid configdrive format: it is neither a JSON, nor a URL, "
			"nor a base64 string");
	} else {
		text = g_strdup(json_string_value(given));
	}
	g_free(n->config_drive);
	n->config_drive = g_steal_pointer(&text);
	attr_set_add(changed, NODE_ATTR_config_drive);
	if (given) {
		json_t *shown = json_copy(n->instance_info);

		json_object_set_new(shown, "configdrive", json_string("******"));
		json_decref(n->instance_info);
		n->instance_info = shown;
	}
	return true;
}

/* An instance without a name is called what its owner displays it as. */
static void fill_instance_name(struct node *n, attr_set changed)
{
	const char *shown = json_peek_string(n->instance_info, "display_name");

	if (n->instance_name || !shown || !*shown ||
	    strlen(shown) > node_attrs.attrs[NODE_ATTR_instance_name].limit)
		return;
	n->instance_name = g_strdup(shown);
	attr_set_add(changed, NODE_ATTR_instance_name);
}

static void seal_driver_info(const struct request *rq, struct node *n)
{
	json_t *sealed = attributes_seal(rq->api->seal, n->uuid.s, n->driver_info);

	json_decref(n->driver_info);
	n->driver_info = sealed;
}

/* It may come as an attribute, before the verb that brings its own. */
static void seal_rescue_password(const struct request *rq, struct node *n)
{
	const char *text = json_peek_string(n->instance_info, RESCUE_PASSWORD);

	if (!text || seal_is_sealed(text))
		return;
	g_autofree char *sealed = seal_text(rq->api->seal, n->uuid.s, text);
	json_t *info = json_copy(n->instance_info);

	json_object_set_new(info, RESCUE_PASSWORD, json_string(sealed));
	json_decref(n->instance_info);
	n->instance_info = info;
}

static void reply_node(struct request *rq, const struct node *n)
{
	rq->reply = render(rq, n, A_READ, NULL);
}

bool nodes_create(struct request *rq, GError **error)
{
	g_autoptr(node) n = node_new();
	attr_set changed = {0};

	if (!attrs_from_json(&node_attrs, n, rq->body, A_CREATE, rq->minor, changed, error))
		return false;
	if (attributes_hold_sealed(n->driver_info))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_info: a value must not begin with \"" SEAL_PREFIX
				      "\"");
	if (!uuid_is_set(&n->uuid))
		n->uuid = uuid_new();
	n->provision_state = rq->minor < 11 ? STATE_AVAILABLE : STATE_ENROLL;
	if (!node_check_new(rq, n, error) || !take_config_drive(n, changed, error))
		return false;
	fill_instance_name(n, changed);
	seal_driver_info(rq, n);
	seal_rescue_password(rq, n);
	if (!store_node_insert(rq->api->store, n, error))
		return false;
	rq->status = 201;
	rq->location = g_strdup_printf("%s/v1/nodes/%s", rq->base, n->uuid.s);
	reply_node(rq, n);
	return true;
}

bool nodes_show(struct request *rq, GError **error)
{
	g_auto(GStrv) fields = NULL;

	if (!listing_parse_fields(rq, &node_collection, &fields, error))
		return false;
	rq->reply = render(rq, rq->node, A_READ, fields);
	return true;
}

bool nodes_show_word(struct request *rq, GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID, "Field %s is not a valid field.",
			      rq->detail);
}

/* With reset_interfaces and a new driver, what the patch does not name goes back to its default. */
static bool reset_interfaces(const struct request *rq, struct node *n, const attr_set changed,
			     GError **error)
{
	const char *text = request_argument(rq, "reset_interfaces");
	bool reset = false;

	if (!text)
		return true;
	if (rq->minor < 45)
		return api_error_set_too_old(error);
	if (!request_parse_bool("reset_interfaces", text, &reset, error) || !reset)
		return !reset && *error == NULL;
	if (!attr_set_has(changed, NODE_ATTR_driver))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"The reset_interfaces parameter can only be used when changing "
			"the node's driver.");
	for (unsigned i = 0; i < HARDWARE_INTERFACES; i++) {
		unsigned attr = hardware_interfaces[i].attr;

		if (!attr_set_has(changed, attr) &&
		    !attr_from_json(&node_attrs, n, attr, json_null(), error))
			return false;
	}
	return true;
}

bool nodes_patch(struct request *rq, GError **error)
{
	g_autoptr(node) n = node_dup(rq->node);
	attr_set changed = {0}, removed = {0};

	if (!attributes_patch(rq->patch, &node_attrs, n, changed, removed, error) ||
	    !reset_interfaces(rq, n, changed, error) ||
	    !node_check_change(rq, rq->node, n, changed, removed, error))
		return false;
	if (attr_set_has(changed, NODE_ATTR_instance_info) && !take_config_drive(n, changed, error))
		return false;
	if (attr_set_has(changed, NODE_ATTR_instance_info) &&
	    !attr_set_has(changed, NODE_ATTR_instance_name))
		fill_instance_name(n, changed);
	if (attr_set_has(changed, NODE_ATTR_driver_info))
		seal_driver_info(rq, n);
	if (attr_set_has(changed, NODE_ATTR_instance_info))
		seal_rescue_password(rq, n);
	if ((changed[0] || changed[1]) && !store_node_update(rq->api->store, n, changed, error))
		return false;
	reply_node(rq, n);
	return true;
}

bool nodes_delete(struct request *rq, GError **error)
{
	if (!node_check_delete(rq->node, error) ||
	    !store_node_delete(rq->api->store, rq->node->uuid.s, error))
		return false;
	rq->status = 204;
	rq->poke_node = g_strdup(rq->node->uuid.s);
	return true;
}

bool nodes_children(struct request *rq, GError **error)
{
	static const unsigned columns[] = {NODE_ATTR_uuid};
	g_autoptr(json_t) parent = json_string(rq->node->uuid.s);
	const struct store_filter filter = {.attr = NODE_ATTR_parent_node, .value = parent};
	const struct store_query q = {
		.filters = &filter,
		.filter_count = 1,
		.sort_attr = -1,
		.limit = (unsigned)config_int(rq->api->config, OPTION_api_max_limit),
		.attrs = columns,
		.attr_count = G_N_ELEMENTS(columns)};
	g_autoptr(GPtrArray) rows = store_node_list(rq->api->store, &q, error);
	g_autoptr(json_t) children = json_array();

	if (!rows)
		return false;
	for (unsigned i = 0; i < rows->len; i++)
		json_array_append_new(children,
				      json_string(((struct node *)rows->pdata[i])->uuid.s));
	g_autofree char *href =
		g_strdup_printf("%s/v1/nodes?parent_node=%s", rq->base, rq->node->uuid.s);

	rq->reply = json_pack("{s:O, s:{s:s, s:s}}", "children", children, "links", "href", href,
			      "rel", "children");
	return true;
}
