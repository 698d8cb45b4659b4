/* refusals.h: system calls outside a process's list, as the supervisor hears of them (sandbox.h). */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "loop.h"
#include "role.h"

struct refusals;

/* Takes the descriptor.  Each call that comes in is answered as sandbox_answer() says; the first of each kind are
 * logged with event=sandbox. */
struct refusals *refusals_new(struct loop *l, enum role role, pid_t pid, int fd);
void refusals_free(struct refusals *r); /* NULL is fine */
