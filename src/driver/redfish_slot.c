#include "redfish_slot.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "redfish_parse.h"

/* So much of a path is enough to know it by. */
#define PATH_PART 8

static bool has_type(const json_t *slot, const char *const *types)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_peek_array(slot, "MediaTypes"), i, item)
		if (json_is_string(item) && g_strv_contains(types, json_string_value(item)))
			return true;
	return false;
}

static char *dup_target(const json_t *slot, const char *action)
{
	const json_t *actions = json_peek_object(slot, "Actions");
	const char *target = json_peek_string(json_peek_object(actions, action), "target");

	return redfish_link_is_valid(target) ? g_strdup(target) : NULL;
}

bool redfish_parse_slot(const char *text, size_t length, struct redfish_slot *ret, GError **error)
{
	static const char *const optical[] = {"CD", "DVD", NULL};
	g_autoptr(json_t) slot = redfish_parse_resource(text, length, "virtual media", error);

	if (!slot)
		return false;
	if (!json_peek_array(slot, "MediaTypes"))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "virtual media: there are no MediaTypes");
	const char *image = json_peek_string(slot, "Image");
	const char *etag = json_peek_string(slot, "@odata.etag");

	*ret = (struct redfish_slot){
		.optical = has_type(slot, optical),
		.inserted = json_peek_bool(slot, "Inserted", false),
		.image = image && *image ? g_strdup(image) : NULL,
		.insert = dup_target(slot, "#VirtualMedia.InsertMedia"),
		.eject = dup_target(slot, "#VirtualMedia.EjectMedia"),
		.etag = redfish_etag_is_valid(etag) ? g_strdup(etag) : NULL,
	};
	return true;
}

void redfish_slot_clear(struct redfish_slot *s)
{
	g_free(s->image);
	g_free(s->insert);
	g_free(s->eject);
	g_free(s->etag);
	*s = (struct redfish_slot){0};
}

json_t *redfish_make_insert(const char *url, enum slot_detail detail)
{
	json_t *body = json_pack("{s:s}", "Image", url);

	if (detail >= SLOT_PROTOCOL)
		json_object_set_new(
			body, "TransferProtocolType",
			json_string(g_str_has_prefix(url, "https:") ? "HTTPS" : "HTTP"));
	if (detail >= SLOT_METHOD)
		json_object_set_new(body, "TransferMethod", json_string("Stream"));
	return body;
}

json_t *redfish_make_inserted(const char *url)
{
	if (!url)
		return json_pack("{s:n, s:b}", "Image", "Inserted", 0);
	return json_pack("{s:s, s:b, s:b}", "Image", url, "Inserted", 1, "WriteProtected", 1);
}

bool redfish_slot_holds(const struct redfish_slot *s, const char *url)
{
	return s->inserted && (!s->image || strcmp(s->image, url) == 0);
}

/* Every word's rest from `needle` on. */
static char *hide(const char *text, const char *needle)
{
	GString *out = g_string_new(NULL);
	const char *found;

	while ((found = strstr(text, needle))) {
		g_string_append_len(out, text, found - text);
		g_string_append(out, "(URL)");
		text = found;
		while (g_ascii_isgraph(*text))
			text++;
	}
	g_string_append(out, text);
	return g_string_free(out, FALSE);
}

char *redfish_hide_url(const char *text, const char *url)
{
	const char *host = strstr(url, "://");
	const char *path = host ? strchr(host + 3, '/') : NULL;

	if (!path || !path[1])
		return g_strdup(text);
	g_autofree char *base = g_strndup(url, (size_t)(path - url));
	g_autofree char *start = g_strndup(path, PATH_PART);
	g_autofree char *partly = hide(text, base);

	return hide(partly, start);
}
