#include "command_table.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"

#define NAME_MOST 256 /* bytes of a command's name; nothing longer exists */

static const struct command_row rows[] = {
#define AGENT_COMMAND(e, n, m, p, function) \
	{.extension = (e), .name = (n), .mode = (m), .parameters = (p), .run = (function)},
#include "commands.def"
#undef AGENT_COMMAND
};

bool command_request_parse(const char *text, size_t length, struct command_request *ret_request,
			   GError **error)
{
	GError *reason = NULL;
	json_t *body = json_parse_limited(text, length, LIMIT_AGENT_REQUEST, "the body", &reason);

	if (!body) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "400 Bad Request: Failed to decode JSON object: %s",
			       reason->message);
		g_error_free(reason);
		return false;
	}
	struct command_request r = {.body = body,
				    .name = json_peek_string(body, "name"),
				    .params = json_peek_object(body, "params")};

	if (!r.name || !r.params || strlen(r.name) > NAME_MOST) {
		json_decref(body);
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "400 Bad Request: Missing or invalid name or params");
	}
	*ret_request = r;
	return true;
}

void command_request_clear(struct command_request *r)
{
	json_decref(r->body);
	*r = (struct command_request){.body = NULL};
}

const struct command_row *command_row_find(const char *name, struct agent_error *error)
{
	const char *dot = strchr(name, '.');
	g_autofree char *extension = dot ? g_strndup(name, (gsize)(dot - name)) : g_strdup(name);
	bool known = false;

	for (size_t i = 0; dot && i < G_N_ELEMENTS(rows); i++) {
		if (!g_str_equal(rows[i].extension, extension))
			continue;
		known = true;
		if (g_str_equal(rows[i].name, dot + 1))
			return &rows[i];
	}
	if (!dot)
		agent_error_set(error, AGENT_ERROR_INVALID_COMMAND,
				"Command name must be of the form <extension>.<name>");
	else if (known)
		agent_error_set(error, AGENT_ERROR_INVALID_COMMAND, "Unknown command: %s", dot + 1);
	else
		agent_error_set(error, AGENT_ERROR_NOT_FOUND, "Extension with id %s not found.",
				extension);
	return NULL;
}

/* Whether a word of a row's `parameters` stands for the name. */
static bool word_is(const char *word, const char *name)
{
	size_t length = strcspn(word, "!");

	return g_str_equal(word, "*") ||
	       (strlen(name) == length && strncmp(word, name, length) == 0);
}

static bool any_word_is(char **words, const char *name)
{
	for (; *words; words++)
		if (word_is(*words, name))
			return true;
	return false;
}

bool command_row_check(const struct command_row *row, const json_t *params,
		       struct agent_error *error)
{
	g_auto(GStrv) words = g_strsplit(row->parameters, " ", -1);
	const char *key;
	json_t *value;

	for (char **word = words; *word; word++) {
		g_autofree char *name = g_strndup(*word, strcspn(*word, "!"));

		if (g_str_has_suffix(*word, "!") && !json_object_get(params, name)) {
			agent_error_set(error, AGENT_ERROR_INVALID_PARAMS,
					"%s needs the parameter %s", row->name, name);
			return false;
		}
	}
	json_object_foreach((json_t *)(uintptr_t)params, key, value) {
		if (!any_word_is(words, key)) {
			agent_error_set(error, AGENT_ERROR_INVALID_PARAMS,
					"%s has no parameter %.64s", row->name, key);
			return false;
		}
	}
	return true;
}
