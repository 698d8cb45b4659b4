/* child.h: one process of inoxd as the supervisor sees it. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "role.h"
#include "users.h"

#define CHILD_FD_FIRST 3
#define CHILD_FD_MOST  4

/* fork() and exec() of this program as `--worker ROLE`, as the role's user.  fds[i] becomes descriptor 3 + i of the child,
 * which inherits those, standard output and standard error and nothing else; they stay the caller's.
 * The child is killed when this process ends.  Returns the process id, -1 on failure. */
pid_t child_spawn(enum role role, const struct users *users, const int *fds, unsigned count,
		  GError **error);

/* An anonymous file with `bytes`, to be read from its start; -1 on failure. */
int child_file_of_text(const char *name, const char *text, GError **error);
