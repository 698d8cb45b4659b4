/* child.h: another program, run without a shell, watched through a pidfd.
 *
 * The program leads a process group of its own and is killed by the kernel (PR_SET_PDEATHSIG) when this
 * process ends in whatever way; only descriptor CHILD_FD, if one is given, and 0 to 2 are inherited.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "loop.h"

#define CHILD_FD 3

struct child;

struct child_spec {
	char *const *argv; /* argv[0] is searched in PATH */
	char *const *envp; /* NULL: as this process's */
	const char
		*output; /* file that standard output and error are appended to; NULL: inherited */
	int fd;          /* becomes CHILD_FD; stays the caller's; -1: none */
};

/* status as of waitpid().  The child is gone; free it here or later. */
typedef void (*child_exit_fn)(void *ctx, int status);

/* Errors: IO, NOT_FOUND, DENIED when the program cannot be executed. */
struct child *child_start(struct loop *l, const struct child_spec *spec, child_exit_fn on_exit,
			  void *ctx, GError **error);
/* To the whole process group; nothing once the child has ended. */
void child_signal(struct child *c, int signal);
/* NULL is fine.  Waits up to `grace` for the end after SIGTERM, then kills. */
void child_end(struct child *c, struct span grace);
