/* node.c: inox node ..., and what is asked of a node at once. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "errors.h"
#include "jsons.h"
#include "output.h"

static char *node_path(const char *ident, const char *rest)
{
	g_autofree char *escaped = client_escape(ident);

	return g_strconcat("/v1/nodes/", escaped, rest, NULL);
}

/* The options that create and set have in common. */
struct node_options {
	char *name, *driver, *boot_interface, *resource_class, *description;
	char **driver_info, **properties, **extra, **instance_info;
};

static void node_options_clear(struct node_options *o)
{
	g_free(o->name);
	g_free(o->driver);
	g_free(o->boot_interface);
	g_free(o->resource_class);
	g_free(o->description);
	g_strfreev(o->driver_info);
	g_strfreev(o->properties);
	g_strfreev(o->extra);
	g_strfreev(o->instance_info);
}

typedef struct node_options node_options;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(node_options, node_options_clear)

#define NODE_OPTION_ENTRIES(o)                                                                     \
	{"name", 'n', 0, G_OPTION_ARG_STRING, &(o).name, "name of the node", "NAME"},              \
		{"driver", 'd', 0, G_OPTION_ARG_STRING, &(o).driver, "redfish, fake-hardware",     \
		 "DRIVER"},                                                                        \
		{"boot-interface",                                                                 \
		 0,                                                                                \
		 0,                                                                                \
		 G_OPTION_ARG_STRING,                                                              \
		 &(o).boot_interface,                                                              \
		 "ipxe, pxe, redfish-virtual-media",                                               \
		 "NAME"},                                                                          \
		{"resource-class", 0,      0, G_OPTION_ARG_STRING, &(o).resource_class,            \
		 "resource class", "CLASS"},                                                       \
		{"description", 0, 0, G_OPTION_ARG_STRING, &(o).description, "free text", "TEXT"}, \
		{"driver-info",                                                                    \
		 'i',                                                                              \
		 0,                                                                                \
		 G_OPTION_ARG_STRING_ARRAY,                                                        \
		 &(o).driver_info,                                                                 \
		 "how to reach the BMC; VALUE may be @FILE",                                       \
		 "KEY=VALUE"},                                                                     \
		{"property",       'p',        0, G_OPTION_ARG_STRING_ARRAY, &(o).properties,      \
		 "size and shape", "KEY=VALUE"},                                                   \
		{"extra", 'e', 0, G_OPTION_ARG_STRING_ARRAY, &(o).extra, "anything", "KEY=VALUE"}, \
		{"instance-info",  0,          0, G_OPTION_ARG_STRING_ARRAY, &(o).instance_info,   \
		 "what to deploy", "KEY=VALUE"},                                                   \
	{                                                                                          \
		.long_name = NULL                                                                  \
	}

struct group {
	const char *key;
	char *const *words;
};

static void node_groups(const struct node_options *o, struct group groups[static 4])
{
	groups[0] = (struct group){"driver_info", o->driver_info};
	groups[1] = (struct group){"properties", o->properties};
	groups[2] = (struct group){"extra", o->extra};
	groups[3] = (struct group){"instance_info", o->instance_info};
}

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text)
		json_object_set_new(object, key, json_string(text));
}

int command_node_create(struct invocation *in, GError **error)
{
	g_auto(node_options) o = {.name = NULL};
	const GOptionEntry entries[] = {NODE_OPTION_ENTRIES(o)};
	struct group groups[4];
	int status;

	if (!command_parse(in, "node create", "", entries, 0, 0, &status, error))
		return status;
	g_autoptr(json_t) body = json_object();

	set_text(body, "driver", o.driver ? o.driver : "redfish");
	set_text(body, "name", o.name);
	set_text(body, "boot_interface", o.boot_interface);
	set_text(body, "resource_class", o.resource_class);
	set_text(body, "description", o.description);
	node_groups(&o, groups);
	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
		json_t *object = json_object();

		json_object_set_new(body, groups[i].key, object);
		if (!command_assign(object, (const char *const *)groups[i].words, error))
			return 2;
	}
	g_autoptr(json_t) made = client_call(in->client, "POST", "/v1/nodes", body, error);

	if (!made)
		return 1;
	if (in->as_json)
		output_json(made);
	else
		puts(json_peek_string(made, "uuid"));
	return 0;
}

static const char *const list_columns[] = {"uuid",        "name", "power_state", "provision_state",
					   "maintenance", NULL};

/* All pages, one after the other. */
static json_t *all_nodes(struct client *c, const char *query, GError **error)
{
	g_autoptr(json_t) nodes = json_array();
	g_autofree char *marker = NULL;

	for (;;) {
		g_autofree char *path =
			g_strconcat("/v1/nodes?limit=1000", query, marker ? "&marker=" : "",
				    marker ? marker : "", NULL);
		g_autoptr(json_t) page = client_call(c, "GET", path, NULL, error);

		if (!page)
			return NULL;
		const json_t *part = json_peek_array(page, "nodes");

		json_array_extend(nodes, (json_t *)(uintptr_t)part);
		if (!json_object_get(page, "next") || json_array_size(part) == 0)
			return g_steal_pointer(&nodes);
		g_free(marker);
		marker = g_strdup(
			json_peek_string(json_array_get(part, json_array_size(part) - 1), "uuid"));
	}
}

int command_node_list(struct invocation *in, GError **error)
{
	g_autofree char *state = NULL, *driver = NULL;
	gboolean maintenance = FALSE;
	const GOptionEntry entries[] = {
		{"state", 's', 0, G_OPTION_ARG_STRING, &state, "only this provision state",
		 "STATE"},
		{"driver", 'd', 0, G_OPTION_ARG_STRING, &driver, "only this driver", "DRIVER"},
		{"maintenance", 'm', 0, G_OPTION_ARG_NONE, &maintenance, "only in maintenance",
		 NULL},
		{.long_name = NULL},
	};
	int status;

	if (!command_parse(in, "node list", "", entries, 0, 0, &status, error))
		return status;
	g_autoptr(GString) query = g_string_new("");

	if (state) {
		g_autofree char *escaped = client_escape(state);

		g_string_append_printf(query, "&provision_state=%s", escaped);
	}
	if (driver) {
		g_autofree char *escaped = client_escape(driver);

		g_string_append_printf(query, "&driver=%s", escaped);
	}
	if (maintenance)
		g_string_append(query, "&maintenance=true");
	g_autoptr(json_t) nodes = all_nodes(in->client, query->str, error);

	if (!nodes)
		return 1;
	output_list(in->as_json, nodes, list_columns);
	return 0;
}

int command_node_show(struct invocation *in, GError **error)
{
	g_auto(GStrv) fields = NULL;
	const GOptionEntry entries[] = {
		{"field", 0, 0, G_OPTION_ARG_STRING_ARRAY, &fields, "only this attribute", "NAME"},
		{.long_name = NULL},
	};
	int status;

	if (!command_parse(in, "node show", "NODE", entries, 1, 1, &status, error))
		return status;
	g_autofree char *joined = fields ? g_strjoinv(",", fields) : NULL;
	g_autofree char *escaped = joined ? client_escape(joined) : NULL;
	g_autofree char *rest = escaped ? g_strconcat("?fields=", escaped, NULL) : NULL;
	g_autofree char *path = node_path(in->argv[0], rest ? rest : "");
	g_autoptr(json_t) shown = client_call(in->client, "GET", path, NULL, error);
	static const char *const clutter[] = {"links", "ports", "portgroups", "states", "volume"};

	if (!shown)
		return 1;
	for (size_t i = 0; i < G_N_ELEMENTS(clutter); i++)
		json_object_del(shown, clutter[i]);
	output_object(in->as_json, shown);
	return 0;
}

static void add_patch(json_t *patch, const char *path, json_t *value)
{
	json_array_append_new(
		patch, json_pack("{s:s,s:s,s:o}", "op", "add", "path", path, "value", value));
}

static bool patch_group(json_t *patch, const struct group *group, GError **error)
{
	g_autoptr(json_t) members = json_object();
	const char *key;
	json_t *value;

	if (!command_assign(members, (const char *const *)group->words, error))
		return false;
	json_object_foreach(members, key, value) {
		g_autofree char *path = g_strdup_printf("/%s/%s", group->key, key);

		add_patch(patch, path, json_incref(value));
	}
	return true;
}

int command_node_set(struct invocation *in, GError **error)
{
	g_auto(node_options) o = {.name = NULL};
	const GOptionEntry entries[] = {NODE_OPTION_ENTRIES(o)};
	struct group groups[4];
	int status;

	if (!command_parse(in, "node set", "NODE", entries, 1, 1, &status, error))
		return status;
	g_autoptr(json_t) patch = json_array();
	const struct {
		const char *path, *text;
	} texts[] = {{"/name", o.name},
		     {"/driver", o.driver},
		     {"/boot_interface", o.boot_interface},
		     {"/resource_class", o.resource_class},
		     {"/description", o.description}};

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		if (texts[i].text)
			add_patch(patch, texts[i].path, json_string(texts[i].text));
	node_groups(&o, groups);
	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++)
		if (!patch_group(patch, &groups[i], error))
			return 2;
	if (json_array_size(patch) == 0) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "Nothing to change was given (see inox node set --help).");
		return 2;
	}
	g_autofree char *path = node_path(in->argv[0], "");
	g_autoptr(json_t) changed = client_call(in->client, "PATCH", path, patch, error);

	if (!changed)
		return 1;
	if (in->as_json)
		output_json(changed);
	return 0;
}

int command_node_delete(struct invocation *in, GError **error)
{
	return command_delete(in, "node delete", "NODE...", "/v1/nodes/", error);
}

int command_node_validate(struct invocation *in, GError **error)
{
	static const char *const columns[] = {"interface", "result", "reason", NULL};
	int status;

	if (!command_parse(in, "node validate", "NODE", NULL, 1, 1, &status, error))
		return status;
	g_autofree char *path = node_path(in->argv[0], "/validate");
	g_autoptr(json_t) report = client_call(in->client, "GET", path, NULL, error);
	g_autoptr(json_t) rows = json_array();
	const char *name;
	json_t *entry;

	if (!report)
		return 1;
	json_object_foreach(report, name, entry) {
		json_t *row = json_copy(entry);

		json_object_set_new(row, "interface", json_string(name));
		json_array_append_new(rows, row);
	}
	output_list(in->as_json, rows, columns);
	return 0;
}

int command_maintenance(struct invocation *in, GError **error)
{
	g_autofree char *reason = NULL;
	const GOptionEntry entries[] = {
		{"reason", 0, 0, G_OPTION_ARG_STRING, &reason, "why", "TEXT"},
		{.long_name = NULL},
	};
	int status;

	if (!command_parse(in, "maintenance", "NODE on|off", entries, 2, 2, &status, error))
		return status;
	bool on = strcmp(in->argv[1], "on") == 0;

	if (!on && strcmp(in->argv[1], "off") != 0) {
		inox_error_set(error, INOX_ERROR_INVALID, "Expected on or off but received %s.",
			       in->argv[1]);
		return 2;
	}
	g_autofree char *path = node_path(in->argv[0], "/maintenance");
	g_autoptr(json_t) body = json_object();

	set_text(body, "reason", reason);
	g_autoptr(json_t) done =
		client_call(in->client, on ? "PUT" : "DELETE", path, on ? body : NULL, error);

	return done ? 0 : 1;
}
