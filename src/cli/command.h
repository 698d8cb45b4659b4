/* command.h: the verbs of `inox`, as a table, and what they share. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "client.h"

struct invocation {
	struct client *client;
	bool as_json;
	int argc; /* words after the verb, options included */
	char **argv;
};

/* Returns the exit status: 0, 1 failure, 2 usage.  Prints its own output, and sets *error for main(). */
typedef int (*command_fn)(struct invocation *in, GError **error);

struct command {
	const char *words; /* "node create" */
	const char *arguments;
	const char *summary;
	command_fn run;
};

extern const struct command commands[];
extern const unsigned command_count;

/* Reads `options` and checks the number of the words that remain (at least `least`, at most `most`).
 * The remaining words are in in->argv[0 .. in->argc - 1] afterwards.  -f and --help work everywhere;
 * *ret_exit is set when the command is finished (help was asked for, or the usage was wrong). */
bool command_parse(struct invocation *in, const char *words, const char *arguments,
		   const GOptionEntry *options, int least, int most, int *ret_exit, GError **error);

/* KEY=VALUE words become members of an object: VALUE is JSON if it parses as such, "@FILE" is the
 * file's content without its last line break, and anything else is a string. */
bool command_assign(json_t *object, const char *const *words, GError **error);

/* A whole verb: deletes the object of each word below `collection` ("/v1/nodes/"), and stops at the first
 * that cannot be deleted.  Returns the exit status. */
int command_delete(struct invocation *in, const char *words, const char *arguments,
		   const char *collection, GError **error);

int command_node_create(struct invocation *in, GError **error);
int command_node_list(struct invocation *in, GError **error);
int command_node_show(struct invocation *in, GError **error);
int command_node_set(struct invocation *in, GError **error);
int command_node_delete(struct invocation *in, GError **error);
int command_node_validate(struct invocation *in, GError **error);
int command_maintenance(struct invocation *in, GError **error);
int command_port_create(struct invocation *in, GError **error);
int command_port_list(struct invocation *in, GError **error);
int command_port_delete(struct invocation *in, GError **error);
int command_manage(struct invocation *in, GError **error);
int command_provide(struct invocation *in, GError **error);
int command_deploy(struct invocation *in, GError **error);
int command_undeploy(struct invocation *in, GError **error);
int command_abort(struct invocation *in, GError **error);
int command_clean(struct invocation *in, GError **error);
int command_unhold(struct invocation *in, GError **error);
int command_rescue(struct invocation *in, GError **error);
int command_unrescue(struct invocation *in, GError **error);
int command_power(struct invocation *in, GError **error);
int command_why(struct invocation *in, GError **error);
