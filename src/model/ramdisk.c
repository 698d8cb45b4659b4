#include "ramdisk.h"

#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "jsons.h"
#include "plain.h"

#define DEFAULT_WORD "%default%"

/* What is of no use here, and where people have it from. */
static const char *hint_of(const char *text)
{
	if (g_str_has_prefix(text, "file:"))
		return "; a file: URL names a file of the conductor's host, and nodes read from the boot "
		       "host";
	return "";
}

static bool read_path(const struct node *n, const char *key, bool or_url, const char **ret_text,
		      GError **error)
{
	const json_t *value = json_object_get(n->driver_info, key);
	const char *text = json_string_value(value);

	*ret_text = "";
	if (!value || json_is_null(value) || (text && !*text))
		return true;
	if (text && strlen(text) <= RAMDISK_PATH_MAX &&
	    (plain_is_path(text) || (or_url && plain_is_url(text)))) {
		*ret_text = text;
		return true;
	}
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "driver_info.%s must be a path below the boot host's http root%s, of "
			      "A-Z, a-z, 0-9 and ._/- without '..'%s",
			      key, or_url ? " or a plain http:// or https:// URL" : "",
			      text ? hint_of(text) : "");
}

static const struct keys {
	const char *kernel, *initrd, *iso;
} keys[] = {
	[RAMDISK_DEPLOY] = {"deploy_kernel", "deploy_ramdisk", "deploy_iso"},
	[RAMDISK_RESCUE] = {"rescue_kernel", "rescue_ramdisk", "rescue_iso"},
};

static bool read_files(const struct node *n, const struct keys *k, struct ramdisk *r,
		       GError **error)
{
	if (!read_path(n, k->kernel, true, &r->kernel, error) ||
	    !read_path(n, k->initrd, true, &r->initrd, error) ||
	    !read_path(n, k->iso, false, &r->iso, error))
		return false;
	return !*r->kernel == !*r->initrd ||
	       inox_error_set(error, INOX_ERROR_INVALID, "driver_info needs %s and %s together",
			      k->kernel, k->initrd);
}

/* A node that has a system to rescue with is not rescued with another one because of the way it boots. */
static bool check_way(const struct node *n, const struct ramdisk *r, GError **error)
{
	bool media = deployment_uses_media(n);

	if (media && *r->kernel && !*r->iso)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_info.rescue_iso is missing: rescue_kernel is for "
				      "nodes that boot from the network, and this one boots from "
				      "virtual media");
	if (!media && *r->iso && !*r->kernel)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_info.rescue_kernel and rescue_ramdisk are missing: "
				      "rescue_iso is for nodes that boot from virtual media, and "
				      "this one boots from the network");
	return true;
}

bool ramdisk_read(const struct node *n, enum ramdisk_use use, const char *otherwise,
		  struct ramdisk *ret, GError **error)
{
	const char *delivery = json_peek_string(n->driver_info, "agent_delivery");
	struct ramdisk r = {.kernel = NULL};

	if (!read_files(n, &keys[use], &r, error))
		return false;
	bool none = !*r.kernel && !*r.iso;

	if (use == RAMDISK_RESCUE && !check_way(n, &r, error))
		return false;
	if (use == RAMDISK_RESCUE && none && !read_files(n, &keys[RAMDISK_DEPLOY], &r, error))
		return false;
	r.on_command_line = strcmp(delivery ? delivery : otherwise, "cmdline") == 0;
	*ret = r;
	return true;
}

char *ramdisk_parse_arguments(const char *text, const char *what, GError **error)
{
	g_auto(GStrv) words = g_strsplit_set(text, " \t", -1);
	g_autoptr(json_t) object = json_object();

	for (char **w = words; *w; w++) {
		const char *equals = strchr(*w, '=');
		g_autofree char *name =
			equals ? g_strndup(*w, (size_t)(equals - *w)) : g_strdup(*w);

		if (!**w)
			continue;
		if (!*name || json_object_set_new_nocheck(
				      object, name, json_string(equals ? equals + 1 : "")) < 0) {
			inox_error_set(error, INOX_ERROR_INVALID,
				       "%s: '%s' is neither NAME nor NAME=VALUE", what, *w);
			return NULL;
		}
	}
	return json_print_compact(object);
}

char *ramdisk_arguments(const struct node *n, const char *otherwise, GError **error)
{
	static const char key[] = "kernel_append_params";
	const char *own = json_peek_string(n->instance_info, key);
	const char *what =
		own ? "instance_info.kernel_append_params" : "driver_info.kernel_append_params";

	if (!own)
		own = json_peek_string(n->driver_info, key);
	if (!own)
		return ramdisk_parse_arguments(otherwise, "[agent]kernel_append_params", error);
	g_auto(GStrv) parts = g_strsplit(own, DEFAULT_WORD, 3);
	g_autofree char *text = g_strjoinv(otherwise, parts);

	return ramdisk_parse_arguments(text, what, error);
}
