/* crash_point.h: test builds (-Dcrash_points=true) only: a process can be told to kill itself, once, at a
 * named point, so that "killed at any instruction" is tried at the instructions that matter.
 *
 *     INOX_CRASH_AT=dialer:received:3   the dialer, before it handles its third message
 *     INOX_CRASH_FILE=/tmp/x            made first; if it is there already, nothing happens
 *
 * Without the build option the calls are nothing.
 */
#pragma once

#ifdef INOX_CRASH_POINTS
/* Which role this process has; before it, no point applies. */
void crash_point_role(const char *role);
/* Counts this point; SIGKILL if it is the one that INOX_CRASH_AT names. */
void crash_point(const char *name);
#else
#define crash_point_role(role) ((void)0)
#define crash_point(name)      ((void)0)
#endif
