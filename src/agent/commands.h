/* commands.h: the commands that were accepted in this boot, the thread that runs them one at a time, and
 * those who wait for one.  Functions belong to the loop's thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "agent.h"

#define COMMANDS_KEPT   32 /* finished ones; the oldest is forgotten first */
#define COMMANDS_WAITED 4 /* answers that are held back at a time; further ones are given at once */

/* One answer: an HTTP status and a body (borrowed). */
typedef void (*command_reply_fn)(void *ctx, int status, const json_t *body);

/* Who asks: reply() is called exactly once unless commands_forget() comes first. */
struct command_asker {
	command_reply_fn reply;
	void *ctx;
	bool wait; /* not before the command has ended */
};

struct command_list *commands_new(struct agent *a);
/* Ends the running command (by its cancel flag) and the thread, then forgets everything. */
void commands_free(struct command_list *list);

/* Runs what the body asks for.  The asker is answered inside this function, or when the command has
 * ended if it is a held one or he waits. */
void commands_run(struct command_list *list, const char *body, size_t length,
		  struct command_asker asker);
/* One result, now or when the command has ended. */
void commands_show(struct command_list *list, const char *id, struct command_asker asker);
json_t *commands_json(struct command_list *list);       /* {"commands": [...]}; new reference */
bool commands_is_busy(const struct command_list *list); /* one is on the thread */
/* The one behind `ctx` does not wait any more. */
void commands_forget(struct command_list *list, const void *ctx);

/* {"faultcode", "faultstring"}; new reference. */
json_t *commands_fault(int status, const char *sentence);
