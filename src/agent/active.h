/* active.h: the classic mode, in which the agent asks an API who it is and sends it heartbeats.  Exists only
 * when ipa-api-url was given.
 *
 * It has a thread of its own: a call may have to resolve a name, which blocks, and a slow API must not
 * delay those whom the agent serves.  The thread never touches the agent: what a look-up finds is handed
 * to the loop's thread, which adopts it and hands back what heartbeats need.
 */
#pragma once

#include "agent.h"

struct active;

/* Starts the thread; for the loop's thread, as all of these. */
struct active *active_new(struct agent *a);
/* Ends a call that is under way within a second, unless it resolves a name. */
void active_free(struct active *v);
/* No look-up and no heartbeat is begun any more; waits for nothing. */
void active_end(struct active *v);
/* The heartbeats show this token from now on. */
void active_use_token(struct active *v, const struct secret *token);
/* A command has left the command thread.  Behind one that was answered while it ran a heartbeat follows,
 * at most one in 5 s: nobody else tells the conductor. */
void active_command_ended(struct active *v, bool was_started);
