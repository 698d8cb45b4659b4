#include "redfish.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "redfish_client.h"
#include "redfish_media.h"
#include "redfish_parse.h"

/* The link of the only system of the BMC; the caller frees it. */
static char *discover_system(struct redfish_client *c, GError **error)
{
	g_auto(web_reply) root_reply = {0}, list_reply = {0};
	g_auto(redfish_root) root = {0};
	g_auto(redfish_collection) list = {0};

	if (!redfish_client_get(c, redfish_client_peek_root(c), &root_reply, error) ||
	    !redfish_parse_root(root_reply.body, root_reply.length, &root, error))
		return NULL;
	if (!root.systems) {
		inox_error_set(error, INOX_ERROR_PEER, "the service root has no link to Systems");
		return NULL;
	}
	if (!redfish_client_get(c, root.systems, &list_reply, error) ||
	    !redfish_parse_collection(list_reply.body, list_reply.length, &list, error))
		return NULL;
	if (list.count != 1) {
		inox_error_set(
			error, INOX_ERROR_INVALID,
			"the BMC has %u systems: driver_info.redfish_system_id has to name one",
			list.count);
		return NULL;
	}
	if (!list.first) {
		inox_error_set(error, INOX_ERROR_PEER, "%s: the only member has no usable link",
			       root.systems);
		return NULL;
	}
	redfish_client_set_system(c, list.first);
	return g_steal_pointer(&list.first);
}

static char *find_system(struct redfish_client *c, const struct bmc_target *t, GError **error)
{
	const char *known = redfish_client_peek_system(c);

	if (t->system[0] && !redfish_link_is_valid(t->system)) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "driver_info.redfish_system_id is not a path such as "
			       "/redfish/v1/Systems/1");
		return NULL;
	}
	if (t->system[0])
		return g_strdup(t->system);
	return known ? g_strdup(known) : discover_system(c, error);
}

static bool read_system(struct redfish_client *c, const char *link, struct redfish_system *ret,
			GError **error)
{
	g_auto(web_reply) reply = {0};
	g_autoptr(GError) reason = NULL;

	if (!redfish_client_get(c, link, &reply, &reason)) {
		/* Found by an earlier look: the next one looks again. */
		if (g_error_matches(reason, INOX_ERROR, INOX_ERROR_NOT_FOUND))
			redfish_client_set_system(c, NULL);
		g_propagate_error(error, g_steal_pointer(&reason));
		return false;
	}
	if (!redfish_parse_system(reply.body, reply.length, ret, error)) {
		g_prefix_error(error, "GET %s: ", link);
		return false;
	}
	const char *etag = g_hash_table_lookup(reply.headers, "etag");

	if (etag && redfish_etag_is_valid(etag)) {
		g_free(ret->etag);
		ret->etag = g_strdup(etag);
	}
	return true;
}

/* Opens the client and reads the system: what every operation begins with. */
static bool begin(const struct bmc_target *t, struct redfish_client **ret_client, char **ret_link,
		  struct redfish_system *ret_system, GError **error)
{
	g_autoptr(redfish_client) c = redfish_client_new(t, error);
	g_autofree char *link = c ? find_system(c, t, error) : NULL;

	if (!link || !read_system(c, link, ret_system, error))
		return false;
	*ret_client = g_steal_pointer(&c);
	*ret_link = g_steal_pointer(&link);
	return true;
}

static bool get_power(const struct bmc_target *t, enum power_state *ret_power,
		      enum boot_mode *ret_mode, GError **error)
{
	g_autoptr(redfish_client) c = NULL;
	g_autofree char *link = NULL;
	g_auto(redfish_system) system = {0};

	if (!begin(t, &c, &link, &system, error))
		return false;
	*ret_power = system.power;
	*ret_mode = system.mode;
	return true;
}

/* The allowable reset types may be in a resource of their own; without it, any may do. */
static void read_action_info(struct redfish_client *c, struct redfish_system *system)
{
	g_auto(web_reply) reply = {0};
	struct allowed resets;

	if (system->resets.known || !system->action_info)
		return;
	if (redfish_client_get(c, system->action_info, &reply, NULL) &&
	    redfish_parse_action_info(reply.body, reply.length, &resets, NULL))
		system->resets = resets;
}

static bool is_reached(enum power_state power, enum power_target target)
{
	return (target == TARGET_POWER_ON && power == POWER_ON) ||
	       (target == TARGET_POWER_OFF && power == POWER_OFF) ||
	       (target == TARGET_SOFT_POWER_OFF && power == POWER_OFF);
}

/* A refusal can mean that somebody else was faster. */
static bool reached_meanwhile(struct redfish_client *c, const char *link, enum power_target target,
			      const GError *reason)
{
	g_auto(redfish_system) system = {0};

	if (!g_error_matches(reason, INOX_ERROR, INOX_ERROR_INVALID) &&
	    !g_error_matches(reason, INOX_ERROR, INOX_ERROR_BUSY))
		return false;
	return read_system(c, link, &system, NULL) && is_reached(system.power, target);
}

static bool set_power(const struct bmc_target *t, enum power_target target, GError **error)
{
	g_autoptr(redfish_client) c = NULL;
	g_autoptr(GError) reason = NULL;
	g_autofree char *link = NULL;
	g_auto(redfish_system) system = {0};
	enum reset_type type;

	if (!begin(t, &c, &link, &system, error))
		return false;
	read_action_info(c, &system);
	if (!redfish_choose_reset(&system, target, &type, error))
		return false;
	if (type == RESET_NOTHING)
		return true;
	g_autoptr(json_t) body = json_pack("{s:s}", "ResetType", reset_type_text[type]);

	if (redfish_client_post(c, system.reset_target, body, &reason) ||
	    reached_meanwhile(c, link, target, reason))
		return true;
	g_propagate_error(error, g_steal_pointer(&reason));
	return false;
}

static bool set_boot(const struct bmc_target *t, enum boot_device device, bool persistent,
		     enum boot_mode mode, GError **error)
{
	g_autoptr(redfish_client) c = NULL;
	g_autoptr(GError) reason = NULL;
	g_autofree char *link = NULL;
	g_auto(redfish_system) system = {0};

	if (!begin(t, &c, &link, &system, error))
		return false;
	g_autoptr(json_t) body = redfish_make_override(&system, device, persistent, mode, error);

	if (!body)
		return false;
	if (redfish_client_patch(c, link, body, system.etag, &reason))
		return true;
	if (!persistent || !g_error_matches(reason, INOX_ERROR, INOX_ERROR_INVALID)) {
		g_propagate_error(error, g_steal_pointer(&reason));
		return false;
	}
	/* Some BMCs know no Continuous and do not say so beforehand. */
	g_autoptr(json_t) once = redfish_make_override(&system, device, false, mode, error);

	return once && redfish_client_patch(c, link, once, system.etag, error);
}

static bool insert_media(const struct bmc_target *t, const char *url, GError **error)
{
	g_autoptr(redfish_client) c = NULL;
	g_autofree char *link = NULL;
	g_auto(redfish_system) system = {0};

	return begin(t, &c, &link, &system, error) && redfish_media_insert(c, &system, url, error);
}

static bool eject_media(const struct bmc_target *t, GError **error)
{
	g_autoptr(redfish_client) c = NULL;
	g_autofree char *link = NULL;
	g_auto(redfish_system) system = {0};

	return begin(t, &c, &link, &system, error) && redfish_media_eject(c, &system, error);
}

const struct driver redfish_driver = {
	.name = "redfish",
	.get_power = get_power,
	.set_power = set_power,
	.set_boot = set_boot,
	.insert_media = insert_media,
	.eject_media = eject_media,
};
