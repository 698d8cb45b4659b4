/* crash_point.h: test builds (-Dcrash_points=true) only: a process can be told to kill itself, once, at a
 * named point, so that "killed at any instruction" is tried at the instructions that matter.
 *
 *     INOX_CRASH_AT=dialer:received:3   the dialer, before it handles its third message
 *
 * Once: the supervisor hands the wish to the first process of that role only (a sandboxed process could
 * not leave a mark).  Without the build option the calls are nothing.
 */
#pragma once

#include <glib.h>

#ifdef INOX_CRASH_POINTS
/* Which role this process has; before it, no point applies. */
void crash_point_role(const char *role);
/* Counts this point; SIGKILL if it is the one that INOX_CRASH_AT names. */
void crash_point(const char *name);
/* The environment for a process of `role` that is about to be started; takes and returns it. */
char **crash_point_environment(char **environment, const char *role);
#else
#	define crash_point_role(role)                     ((void)0)
#	define crash_point(name)                          ((void)0)
#	define crash_point_environment(environment, role) (environment)
#endif
