/* sandbox.h: what a process gives up before the first byte of a stranger.
 *
 * All roles: no_new_privs, no core dumps, no debugger (PR_SET_DUMPABLE), limits on resources, a list of system
 * calls (seccomp), and by Landlock every file that is not named, TCP ports, and signals to other processes, as far as
 * the kernel has it.
 *
 * dialer, bmc, connector and inox-media meet strangers: a call outside their list is the end of the process.  For the
 * others it is EPERM: a library's new habit must not stop the conductor.  Either is reported.
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
	/* Without `ret_report_fd`: a forbidden call is named on standard error before the process ends. */
	bool explain;
	/* NULL, or where to leave a descriptor from which another process reads each call outside the list and
	 * answers it (seccomp_unotify(2)); the caller owns it.  The caller of such a call waits for the answer, so
	 * nothing can be done without being seen.  NULL: the kernel ends the process. */
	int *ret_report_fd;
	const unsigned
		*connect_ports; /* TCP ports that may be connected to, besides the connector's */
	unsigned connect_port_count;
};

/* Cannot be undone.  *ret_landlock tells whether the kernel has Landlock.  Errors: UNSUPPORTED when the
 * kernel lacks seccomp, IO. */
bool sandbox_enter(const struct sandbox_options *o, bool *ret_landlock,
		   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What is done about a call outside the list. */
enum sandbox_answer {
	SANDBOX_KILL, /* the process ends */
	SANDBOX_REFUSE /* the call fails: EACCES for files, which libraries try by themselves, else EPERM */
};
enum sandbox_answer sandbox_answer(enum role role, int call, int *ret_errno);
