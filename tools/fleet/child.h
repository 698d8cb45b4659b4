/* child.h: the processes that inox-fleet starts: serving processes (forked) and dialers (inoxd). */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A real, sandboxed dialer: what the supervisor of inoxd would start. */
struct dialer_child {
	pid_t pid;
	int supervisor_fd, conductor_fd; /* our ends of its channels; the caller's */
};

/* Runs `fn` in a child that dies with this process; -1 with IO. */
pid_t child_fork(int (*fn)(const void *ctx), const void *ctx, GError **error);
/* `inoxd`: path of the program; `configuration`: text of an inox.conf, of which the dialer gets its part. */
bool child_start_dialer(const char *inoxd, const char *configuration,
			struct dialer_child *ret_child, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* SIGTERM, and SIGKILL after `patience_ms`; returns the status of waitpid(). */
int child_stop(pid_t pid, unsigned patience_ms);
/* Nanoseconds of CPU time so far, and bytes in memory; 0 if the process is gone. */
uint64_t child_cpu_ns(pid_t pid);
uint64_t child_resident_bytes(pid_t pid);
