/* refusals.h: system calls outside a process's list, as the supervisor hears of them (sandbox.h). */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "channel.h"
#include "loop.h"
#include "role.h"

struct refusals;
struct refusal_counts;

/* How often which role did what, for all of its processes. */
struct refusal_counts *refusal_counts_new(void);
void refusal_counts_free(struct refusal_counts *c);
/* Tells what has changed since it was told (all of it if `again`), as MESSAGE_sandbox_count. */
void refusal_counts_tell(struct refusal_counts *c, struct channel *to, bool again);

/* Takes the descriptor; borrows the counts.  Each call that comes in is answered as sandbox_answer() says and
 * counted; the first of each kind are logged with event=sandbox. */
struct refusals *refusals_new(struct loop *l, struct refusal_counts *counts, enum role role,
			      pid_t pid, int fd);
void refusals_free(struct refusals *r); /* NULL is fine */
