/* pool.h: threads that run jobs which block.  The two queues here are the only data that threads share:
 * a job is moved to a thread and comes back when it is done.
 *
 * On pthreads, not on GThreadPool: ThreadSanitizer does not see GLib's own locks and reports each job.
 */
#pragma once

#include <glib.h>

struct pool;

typedef void (*pool_run_fn)(void *job, void *ctx); /* in a thread */

/* Never NULL.  `ctx` is for `run`, which only reads it. */
struct pool *pool_new(unsigned threads, pool_run_fn run, void *ctx);
/* Jobs that no thread has begun are forgotten; waits for the others.  The jobs stay the caller's. */
void pool_free(struct pool *p);
void pool_push(struct pool *p, void *job);
/* A job that is done, NULL if there is none.  pool_fd() is readable when there may be one. */
void *pool_take(struct pool *p);
int pool_fd(const struct pool *p);
