/* Smaller things below a node: traits, boot device, VIFs, ports, and what this server has none of. */
#include <string.h>

#include "hardware.h"
#include "nodes.h"
#include "ports.h"

#define TRAIT_BYTES     255
#define TRAITS_PER_NODE 50

/* ---- traits */

static bool trait_is_valid(const char *trait)
{
	static const char *const prefixes[] = {"CUSTOM_",  "HW_",      "OWNER_",
					       "STORAGE_", "COMPUTE_", "MISC_"};
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	if (strlen(trait) > TRAIT_BYTES)
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++) {
		const char *rest = trait + strlen(prefixes[i]);

		if (g_str_has_prefix(trait, prefixes[i]) && *rest && !rest[strspn(rest, letters)])
			return true;
	}
	return false;
}

static bool check_trait(const char *noun, const json_t *value, GError **error)
{
	const char *trait = json_string_value(value);

	if (trait && trait_is_valid(trait))
		return true;
	g_autofree char *shown = attr_repr(value);

	return inox_error_set(
		error, INOX_ERROR_INVALID,
		"Schema error for %s: %s is not valid under any of the given schemas. "
		"Possible root cause: %s does not match '^CUSTOM_[A-Z0-9_]+$'",
		noun, shown, shown);
}

static bool traits_hold(const json_t *traits, const char *trait, size_t *ret_index)
{
	for (size_t i = 0; i < json_array_size(traits); i++) {
		if (strcmp(json_string_value(json_array_get(traits, i)), trait) != 0)
			continue;
		*ret_index = i;
		return true;
	}
	return false;
}

/* Takes the list. */
static bool store_traits(struct request *rq, json_t *traits, GError **error)
{
	attr_set changed = {0};

	json_decref(rq->node->traits);
	rq->node->traits = traits;
	attr_set_add(changed, NODE_ATTR_traits);
	rq->status = 204;
	if (json_array_size(traits) > TRAITS_PER_NODE)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Could not modify traits for node %s as it would exceed the "
				      "maximum number of traits per node (%zu vs. %d)",
				      rq->node->uuid.s, json_array_size(traits), TRAITS_PER_NODE);
	return store_node_update(rq->api->store, rq->node, changed, error);
}

bool node_traits_list(struct request *rq, GError **error)
{
	(void)error;
	rq->reply = json_pack("{s:O}", "traits", rq->node->traits);
	return true;
}

bool node_traits_set(struct request *rq, GError **error)
{
	const json_t *given = json_object_get(rq->body, "traits");
	g_autoptr(json_t) traits = json_array();
	size_t index;

	if (!request_check_keys(rq->body, "traits", error))
		return false;
	if (!given)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Missing mandatory parameter: traits");
	if (!json_is_array(given))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for body: traits is a %s, not of type 'array'",
				      json_type_text(given));
	for (size_t i = 0; i < json_array_size(given); i++) {
		json_t *trait = json_array_get(given, i);

		if (!check_trait("body", trait, error))
			return false;
		/* Also keeps a huge list from being compared pair by pair. */
		if (json_array_size(traits) <= TRAITS_PER_NODE &&
		    !traits_hold(traits, json_string_value(trait), &index))
			json_array_append(traits, trait);
	}
	return store_traits(rq, g_steal_pointer(&traits), error);
}

bool node_trait_add(struct request *rq, GError **error)
{
	g_autoptr(json_t) trait = json_string(rq->detail);
	json_t *traits = json_copy(rq->node->traits);
	size_t index;

	if (!request_check_keys(rq->body, "", error) || !check_trait("trait", trait, error)) {
		json_decref(traits);
		return false;
	}
	rq->location = g_strdup_printf("%s/v1/nodes/%s/traits/%s", rq->base, rq->ident, rq->detail);
	if (!traits_hold(traits, rq->detail, &index))
		json_array_append(traits, trait);
	return store_traits(rq, traits, error);
}

bool node_traits_clear(struct request *rq, GError **error)
{
	return store_traits(rq, json_array(), error);
}

bool node_trait_remove(struct request *rq, GError **error)
{
	size_t index;

	if (!traits_hold(rq->node->traits, rq->detail, &index))
		return inox_error_set(error, INOX_ERROR_NOT_FOUND,
				      "Node %s doesn't have a trait '%s'", rq->node->uuid.s,
				      rq->detail);
	json_t *traits = json_copy(rq->node->traits);

	json_array_remove(traits, index);
	return store_traits(rq, traits, error);
}

/* ---- boot device */

static const struct hardware_type *hardware_of(const struct request *rq, GError **error)
{
	return node_find_hardware(rq->api->config, rq->node, error);
}

bool node_boot_device_supported(struct request *rq, GError **error)
{
	const struct hardware_type *h = hardware_of(rq, error);

	if (!h)
		return false;
	g_auto(GStrv) devices = g_strsplit(h->boot_devices, ",", -1);
	json_t *list = json_array();

	for (size_t i = 0; devices[i]; i++)
		json_array_append_new(list, json_string(devices[i]));
	rq->reply = json_pack("{s:o}", "supported_boot_devices", list);
	return true;
}

/* No BMC is asked from here: the service sets the device for each boot itself, so the one that the next
 * boot uses is not a property that could be shown.  Null is what clients take for "unknown". */
bool node_boot_device_show(struct request *rq, GError **error)
{
	const struct hardware_type *h = hardware_of(rq, error);

	if (!h)
		return false;
	if (strchr(h->boot_devices, ','))
		rq->reply = json_pack("{s:n, s:n}", "boot_device", "persistent");
	else
		rq->reply =
			json_pack("{s:s, s:b}", "boot_device", h->boot_devices, "persistent", 0);
	return true;
}

bool node_boot_device_set(struct request *rq, GError **error)
{
	static const char devices[] = "pxe,disk,cdrom,bios,safe,wanboot,iscsiboot,floppy,uefihttp";
	const char *device = json_peek_string(rq->body, "boot_device");
	const struct hardware_type *h = hardware_of(rq, error);

	if (!h || !request_check_keys(rq->body, "boot_device,persistent", error))
		return false;
	if (!device)
		device = request_argument(rq, "boot_device");
	if (!device)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Missing mandatory parameter: boot_device");
	if (!word_in_list(devices, device) || !word_in_list(h->boot_devices, device))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Invalid boot device %s specified.", device);
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Driver %s does not support set_boot_device (disabled or not "
			      "implemented).",
			      h->name);
}

/* ---- VIFs: with the network interface "noop" attaching succeeds and keeps nothing */

bool node_vif_attach(struct request *rq, GError **error)
{
	if (!json_peek_string(rq->body, "id"))
		return inox_error_set(error, INOX_ERROR_INVALID, "Missing mandatory parameter: id");
	if (json_object_get(rq->body, "port_uuid") && json_object_get(rq->body, "portgroup_uuid"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Cannot specify both port_uuid and portgroup_uuid");
	rq->status = 204;
	return true;
}

bool node_vif_detach(struct request *rq, GError **error)
{
	(void)error;
	rq->status = 204;
	return true;
}

/* ---- ports of one node */

static bool list_ports(struct request *rq, const char *suffix, bool detail, GError **error)
{
	g_autoptr(json_t) uuid = json_string(rq->node->uuid.s);
	const struct store_filter of_node = {.attr = PORT_ATTR_node_uuid, .value = uuid};
	g_autofree char *path = g_strdup_printf("nodes/%s/ports%s", rq->node->uuid.s, suffix);

	return listing_reply(rq, &port_collection, path, &of_node, 1, detail, error);
}

bool node_ports(struct request *rq, GError **error)
{
	return list_ports(rq, "", false, error);
}

bool node_ports_detail(struct request *rq, GError **error)
{
	return list_ports(rq, "/detail", true, error);
}

/* ---- what there is none of */

/* {"<last word of the path>": []} */
bool node_empty_list(struct request *rq, GError **error)
{
	const char *path = rq->route->path;
	const char *word = strrchr(path, '/') + 1;

	(void)error;
	rq->reply = json_pack("{s:[]}", word);
	return true;
}

bool node_without_allocation(struct request *rq, GError **error)
{
	return inox_error_set(error, INOX_ERROR_NOT_FOUND, "Allocation for node %s was not found",
			      rq->node->uuid.s);
}

bool node_without_inventory(struct request *rq, GError **error)
{
	return inox_error_set(error, INOX_ERROR_NOT_FOUND,
			      "Node inventory record for node %s could not be found.",
			      rq->node->uuid.s);
}

/* The last word of the route is the call that no driver has. */
bool node_unsupported(struct request *rq, GError **error)
{
	static const struct {
		const char *word, *call;
	} calls[] = {{"inject_nmi", "inject_nmi"},
		     {"vmedia", "virtual_media"},
		     {"raid", "raid"},
		     {"boot_mode", "set_boot_mode"},
		     {"secure_boot", "set_secure_boot_state"},
		     {"console", "console"},
		     {"methods", "vendor_passthru"},
		     {"vendor_passthru", "vendor_passthru"},
		     {"indicators", "get_supported_indicators"}};
	const char *call = "this call";

	for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
		if (strstr(rq->route->path, calls[i].word))
			call = calls[i].call;
	return inox_error_set(error,
			      strcmp(call, "raid") == 0 ? INOX_ERROR_NOT_FOUND : INOX_ERROR_INVALID,
			      "Driver %s does not support %s (disabled or not implemented).",
			      rq->node->driver, call);
}

bool node_volume(struct request *rq, GError **error)
{
	g_autofree char *path = g_strdup_printf("nodes/%s/volume", rq->node->uuid.s);
	g_autofree char *connectors = g_strdup_printf("%s/connectors", path);
	g_autofree char *targets = g_strdup_printf("%s/targets", path);

	(void)error;
	rq->reply = json_pack("{s:o, s:o, s:o}", "links", request_links(rq, path), "connectors",
			      request_links(rq, connectors), "targets", request_links(rq, targets));
	return true;
}
