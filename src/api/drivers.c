/* /v1/drivers and /v1/conductors: from the table of hardware types and the configuration. */
#include <string.h>

#include "documents.h"
#include "hardware.h"

static void add_interfaces(const struct request *rq, const struct hardware_type *h, json_t *out)
{
	for (enum hardware_kind i = 0; i < HARDWARE_INTERFACES; i++) {
		const char *kind = hardware_interfaces[i].kind;
		g_autofree char *first = hardware_default(h, i);
		g_autofree char *default_key = g_strdup_printf("default_%s_interface", kind);
		g_autofree char *enabled_key = g_strdup_printf("enabled_%s_interfaces", kind);
		g_auto(GStrv) offers = g_strsplit(h->offers[i], ",", -1);
		json_t *enabled = json_array();

		for (size_t j = 0; offers[j]; j++)
			json_array_append_new(enabled, json_string(offers[j]));
		if (rq->minor >= hardware_interfaces[i].since) {
			json_object_set_new(out, default_key, json_string(first));
			json_object_set(out, enabled_key, enabled);
		}
		json_decref(enabled);
	}
}

static json_t *render_driver(const struct request *rq, const struct hardware_type *h, bool detail)
{
	g_autofree char *path = g_strdup_printf("drivers/%s", h->name);
	g_autofree char *properties = g_strdup_printf("%s/properties", path);
	json_t *out = json_pack("{s:s, s:[s], s:o}", "name", h->name, "hosts",
				config_host(rq->api->config), "links", request_links(rq, path));

	if (rq->minor >= 14)
		json_object_set_new(out, "properties", request_links(rq, properties));
	if (rq->minor >= 30)
		json_object_set_new(out, "type", json_string("dynamic"));
	if (detail && rq->minor >= 30)
		add_interfaces(rq, h, out);
	return out;
}

/* Keeps the named keys. */
static bool select_fields(const struct request *rq, json_t *object, GError **error)
{
	const char *text = request_argument(rq, "fields");
	void *next;
	const char *key;
	json_t *value;

	if (!text)
		return true;
	if (rq->minor < 77)
		return api_error_set_too_old(error);
	g_auto(GStrv) fields = request_parse_names(text);

	for (size_t i = 0; fields[i]; i++)
		if (!json_object_get(object, fields[i]))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Field(s) \"%s\" are not valid", fields[i]);
	json_object_foreach_safe(object, next, key, value)
	{
		if (strcmp(key, "links") != 0 && !g_strv_contains((const char *const *)fields, key))
			json_object_del(object, key);
	}
	return true;
}

/* *ret_detail and *ret_none from `detail` and `type`. */
static bool parse_driver_arguments(const struct request *rq, bool *ret_detail, bool *ret_none,
				   GError **error)
{
	const char *type = request_argument(rq, "type"), *detail = request_argument(rq, "detail");

	*ret_detail = *ret_none = false;
	if ((type || detail) && rq->minor < 30)
		return api_error_set_too_old(error);
	if (type && strcmp(type, "classic") != 0 && strcmp(type, "dynamic") != 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Invalid driver type %s: it is classic or dynamic", type);
	*ret_none = type && strcmp(type, "classic") == 0;
	if (detail && !request_parse_bool("detail", detail, ret_detail, error))
		return false;
	if (*ret_detail && request_argument(rq, "fields"))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"Can not specify ?detail=True and fields in the same request.");
	return true;
}

bool drivers_list(struct request *rq, GError **error)
{
	const char *const *names =
		config_list(rq->api->config, OPTION_DEFAULT_enabled_hardware_types);
	g_autoptr(json_t) list = json_array();
	bool detail, none;

	if (!parse_driver_arguments(rq, &detail, &none, error))
		return false;
	for (size_t i = 0; names[i] && !none; i++) {
		bool whole = detail || request_argument(rq, "fields");
		g_autoptr(json_t) one =
			render_driver(rq, hardware_find(rq->api->config, names[i]), whole);

		if (!select_fields(rq, one, error))
			return false;
		json_array_append(list, one);
	}
	rq->reply = json_pack("{s:O}", "drivers", list);
	return true;
}

bool drivers_show(struct request *rq, GError **error)
{
	const struct hardware_type *h = hardware_find(rq->api->config, rq->ident);

	if (!h)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND,
				      "Could not find the following driver(s) or hardware type(s): "
				      "%s.",
				      rq->ident);
	rq->reply = render_driver(rq, h, true);
	return select_fields(rq, rq->reply, error);
}

bool drivers_properties(struct request *rq, GError **error)
{
	const struct hardware_type *h = hardware_find(rq->api->config, rq->ident);

	if (!h)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "The driver '%s' is unknown.",
				      rq->ident);
	rq->reply = json_object();
	for (const struct hardware_property *p = h->properties; p->name; p++)
		json_object_set_new(rq->reply, p->name, json_string(p->doc));
	return true;
}

bool drivers_raid_properties(struct request *rq, GError **error)
{
	const struct hardware_type *h = hardware_find(rq->api->config, rq->ident);

	if (!h)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "The driver '%s' is unknown.",
				      rq->ident);
	return inox_error_set(error, INOX_ERROR_NOT_FOUND,
			      "Driver %s does not support raid (disabled or not implemented).",
			      rq->ident);
}

static json_t *render_conductor(const struct request *rq, bool detail)
{
	const char *host = config_host(rq->api->config);
	g_autofree char *path = g_strdup_printf("conductors/%s", host);
	json_t *out = json_pack("{s:s, s:s, s:b, s:o}", "hostname", host, "conductor_group", "",
				"alive", 1, "links", request_links(rq, path));
	const char *const *names =
		config_list(rq->api->config, OPTION_DEFAULT_enabled_hardware_types);
	json_t *drivers = json_array();
	char started[WALL_TEXT];

	for (size_t i = 0; names[i]; i++)
		json_array_append_new(drivers, json_string(names[i]));
	if (detail) {
		wall_print(rq->api->started, started);
		json_object_set(out, "drivers", drivers);
		json_object_set_new(out, "created_at", json_string(started));
		json_object_set_new(out, "updated_at", json_string(started));
	}
	json_decref(drivers);
	return out;
}

bool conductors_list(struct request *rq, GError **error)
{
	const char *text = request_argument(rq, "detail");
	bool detail = false;

	if (text && !request_parse_bool("detail", text, &detail, error))
		return false;
	rq->reply = json_pack("{s:[o]}", "conductors", render_conductor(rq, detail));
	return true;
}

bool conductors_show(struct request *rq, GError **error)
{
	if (strcmp(rq->ident, config_host(rq->api->config)) != 0)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND,
				      "Conductor %s could not be found.", rq->ident);
	rq->reply = render_conductor(rq, true);
	return true;
}
