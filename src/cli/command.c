#include "command.h"

#include <stdio.h>
#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "output.h"

/* clang-format off */
const struct command commands[] = {
	{ "node create",   "",                  "enrol a node",                                    command_node_create },
	{ "node list",     "",                  "list nodes",                                      command_node_list },
	{ "node show",     "NODE",              "show a node's attributes",                        command_node_show },
	{ "node set",      "NODE",              "change a node's attributes",                      command_node_set },
	{ "node delete",   "NODE...",           "forget nodes",                                    command_node_delete },
	{ "node validate", "NODE",              "say what is missing before a node can be used",   command_node_validate },
	{ "port create",   "NODE MAC",          "tell the service about a network port",           command_port_create },
	{ "port list",     "[NODE]",            "list ports",                                      command_port_list },
	{ "port delete",   "PORT...",           "forget ports",                                    command_port_delete },
	{ "manage",        "NODE",              "take a node over: its BMC must answer",           command_manage },
	{ "provide",       "NODE",              "make a node available for deployments",           command_provide },
	{ "deploy",        "NODE",              "write an image and boot it",                      command_deploy },
	{ "undeploy",      "NODE",              "take the instance away",                          command_undeploy },
	{ "abort",         "NODE",              "end an operation that waits",                     command_abort },
	{ "clean",         "NODE --step STEP",  "run clean steps on a manageable node",            command_clean },
	{ "unhold",        "NODE",              "let a held cleaning go on",                       command_unhold },
	{ "rescue",        "NODE",              "boot a rescue system to log in to",               command_rescue },
	{ "unrescue",      "NODE",              "back from the rescue system to the instance",     command_unrescue },
	{ "power",         "NODE on|off|reboot|status", "switch or show the power",                command_power },
	{ "maintenance",   "NODE on|off",       "keep the service's hands off a node",             command_maintenance },
	{ "why",           "NODE",              "say what a node waits for, and what comes next",  command_why },
};
/* clang-format on */
const unsigned command_count = G_N_ELEMENTS(commands);

static char *strip_format(const char *text, bool *ret_json, GError **error)
{
	if (text && strcmp(text, "json") != 0 && strcmp(text, "table") != 0) {
		inox_error_set(error, INOX_ERROR_INVALID, "-f takes json or table, not %s.", text);
		return NULL;
	}
	if (text)
		*ret_json = strcmp(text, "json") == 0;
	return g_strdup("");
}

bool command_parse(struct invocation *in, const char *words, const char *arguments,
		   const GOptionEntry *options, int least, int most, int *ret_exit, GError **error)
{
	g_autofree char *parameter = g_strdup(arguments);
	g_autofree char *format = NULL;
	g_autoptr(GOptionContext) context = g_option_context_new(parameter);
	const GOptionEntry common[] = {
		{"format", 'f', 0, G_OPTION_ARG_STRING, &format, "json or table", "FORMAT"},
		{.long_name = NULL},
	};
	g_autofree char *program = g_strdup_printf("inox %s", words);
	/* GOption wants the program's name in front and prints it in --help. */
	g_auto(GStrv) all = g_new0(char *, (gsize)in->argc + 2);

	all[0] = g_strdup(program);
	for (int i = 0; i < in->argc; i++)
		all[i + 1] = g_strdup(in->argv[i]);
	g_set_prgname(program);
	g_option_context_add_main_entries(context, common, NULL);
	if (options)
		g_option_context_add_main_entries(context, options, NULL);
	*ret_exit = 2;
	if (!g_option_context_parse_strv(context, &all, error))
		return false;
	g_autofree char *format_ok = strip_format(format, &in->as_json, error);

	if (!format_ok)
		return false;
	int count = (int)g_strv_length(all) - 1;

	if (count < least || count > most)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Usage: inox %s [OPTION...] %s (see inox %s --help)", words,
				      arguments, words);
	/* argv keeps the remaining words; they live as long as the process. */
	in->argc = count;
	for (int i = 0; i < count; i++)
		in->argv[i] = g_strdup(all[i + 1]);
	*ret_exit = 0;
	return true;
}

static json_t *value_of(const char *text, GError **error)
{
	json_error_t ignored;
	g_autofree char *content = NULL;
	gsize length = 0;

	if (text[0] == '@') {
		if (!g_file_get_contents(text + 1, &content, &length, error))
			return NULL;
		g_strchomp(content);
		return json_string(content);
	}
	json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &ignored);

	return value ? value : json_string(text);
}

bool command_assign(json_t *object, const char *const *words, GError **error)
{
	for (; words && *words; words++) {
		const char *equals = strchr(*words, '=');

		if (!equals || equals == *words)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Expected KEY=VALUE but received %s.", *words);
		g_autofree char *key = g_strndup(*words, (gsize)(equals - *words));
		json_t *value = value_of(equals + 1, error);

		if (!value || json_object_set_new(object, key, value) < 0) {
			g_prefix_error(error, "%s: ", key);
			return *error ? false
				      : inox_error_set(error, INOX_ERROR_INVALID,
						       "%s: the value is not valid text.", key);
		}
	}
	return true;
}

int command_delete(struct invocation *in, const char *words, const char *arguments,
		   const char *collection, GError **error)
{
	int status;

	if (!command_parse(in, words, arguments, NULL, 1, 10000, &status, error))
		return status;
	for (int i = 0; i < in->argc; i++) {
		g_autofree char *escaped = client_escape(in->argv[i]);
		g_autofree char *path = g_strconcat(collection, escaped, NULL);
		g_autoptr(json_t) gone = client_call(in->client, "DELETE", path, NULL, error);

		if (!gone) {
			g_prefix_error(error, "%s: ", in->argv[i]);
			return 1;
		}
	}
	return 0;
}
