/* child.h: the processes that inox-fleet starts: serving processes (forked) and workers of inoxd. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "role.h"

/* A worker of inoxd, real and sandboxed: what its supervisor would start. */
struct worker_child {
	pid_t pid;
	int supervisor_fd; /* our end of its channel; the caller's */
};

#define CHILD_EXTRA_MOST 2

/* Runs `fn` in a child that dies with this process; -1 with IO. */
pid_t child_fork(int (*fn)(const void *ctx), const void *ctx, GError **error);
/* `inoxd`: path of the program; `configuration`: text of an inox.conf, of which the worker gets its part;
 * `extra`: its descriptors from 5 on, which stay the caller's. */
bool child_start_worker(const char *inoxd, enum role role, const char *configuration,
			const int *extra, unsigned count, struct worker_child *ret_child,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* SIGTERM, and SIGKILL after `patience_ms`; returns the status of waitpid(). */
int child_stop(pid_t pid, unsigned patience_ms);
/* Nanoseconds of CPU time so far, and bytes in memory; 0 if the process is gone. */
uint64_t child_cpu_ns(pid_t pid);
uint64_t child_resident_bytes(pid_t pid);
