/* sandbox.h: what a process gives up before the first byte of a stranger.
 *
 * All roles: no_new_privs, no core dumps, no debugger (PR_SET_DUMPABLE), and Landlock where the kernel has
 * it: only the named files and folders can be opened from then on.  dialer and bmc: a system-call
 * allow-list as well (seccomp), which makes any other call the end of the process.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "role.h"

struct sandbox_path {
	const char *path; /* a file or a folder with all below it; missing ones are left out */
	bool write;       /* create, change and remove, too */
};

struct sandbox_options {
	enum role role;
	const struct sandbox_path *paths;
	unsigned path_count;
	/* A forbidden system call is named in the log before the process ends. */
	bool explain;
};

/* Cannot be undone.  *ret_landlock tells whether the kernel has Landlock.  Errors: UNSUPPORTED when the
 * kernel lacks seccomp, IO. */
bool sandbox_enter(const struct sandbox_options *o, bool *ret_landlock,
		   GError **error) G_GNUC_WARN_UNUSED_RESULT;
