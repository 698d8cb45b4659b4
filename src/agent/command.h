/* command.h: what a running command or step sees of the agent.
 *
 * Commands that answer at once run on the loop's thread; the others, and every step, run one at a time on
 * the command thread.  A step gets its arguments and the node as JSON that nobody changes while it runs,
 * reports how far it is, and looks at command_is_cancelled() at least once a second.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent_error.h"

struct command_context;

/* Returns the result (new reference, json_null() for none), or NULL with *error set. */
typedef json_t *(*step_fn)(struct command_context *context, const json_t *args, const json_t *node,
			   struct agent_error *error);

/* "/" on a machine, a folder with sys, proc, dev and run below it in tests.  No slash at the end,
 * except for "/" itself. */
const char *command_peek_root(const struct command_context *context);
/* True when the agent is about to end: give up, leave nothing half started. */
bool command_is_cancelled(const struct command_context *context);
/* Bytes (or units) done of total (0: unknown), for the "progress" key of the command.  `phase` is a
 * constant text.  Callable from any thread. */
void command_progress(struct command_context *context, const char *phase, uint64_t done,
		      uint64_t total);
/* What standby.get_partition_uuids answers from now on, e.g. {"root uuid": "0x8f2a11c3"}.  Takes the
 * reference.  Callable from any thread. */
void command_record_partitions(struct command_context *context, json_t *partition_uuids);

/* For tests of steps: a context that belongs to no command. */
struct command_context *command_context_new(const char *root);
void command_context_free(struct command_context *context);
void command_context_cancel(struct command_context *context);
/* What the last command_progress() said; *ret_phase is NULL if there was none. */
void command_context_read_progress(struct command_context *context, const char **ret_phase,
				   uint64_t *ret_done, uint64_t *ret_total);
/* New reference; an empty object before any command_record_partitions(). */
json_t *command_context_partitions(struct command_context *context);

typedef struct command_context command_context;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(command_context, command_context_free)
