/* command_table.h: the commands (commands.def), and how a request to run one is read. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "agent.h"

enum command_mode { COMMAND_AT_ONCE, COMMAND_HELD, COMMAND_STARTED };

/* Returns the result (new reference), or NULL with *error set.  An error of code 400 is the caller's
 * mistake and becomes the status of the answer; any other is recorded as the command's failure. */
typedef json_t *(*command_fn)(struct agent *a, struct command_context *context,
			      const json_t *params, struct agent_error *error);

struct command_row {
	const char *extension, *name;
	enum command_mode mode;
	const char *parameters;
	command_fn run;
};

#define AGENT_COMMAND(extension, name, mode, parameters, function)                               \
	json_t *function(struct agent *a, struct command_context *context, const json_t *params, \
			 struct agent_error *error);
/* command_set_node_info has two names, so its prototype comes twice. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#include "commands.def"
#pragma GCC diagnostic pop
#undef AGENT_COMMAND

struct command_request {
	json_t *body; /* owns the others */
	const char *name;
	json_t *params;
};

/* Reads {"name": "ext.command", "params": {...}}.  Errors: INVALID or LIMIT, with the sentence for the
 * answer's faultstring. */
bool command_request_parse(const char *text, size_t length, struct command_request *ret_request,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
void command_request_clear(struct command_request *r);
/* Finds the row of "ext.command"; sets NOT_FOUND (extension) or INVALID_COMMAND in *error. */
const struct command_row *command_row_find(const char *name, struct agent_error *error);
/* False with INVALID_PARAMS if a parameter is unknown or a required one is missing. */
bool command_row_check(const struct command_row *row, const json_t *params,
		       struct agent_error *error);

typedef struct command_request command_request;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(command_request, command_request_clear)
