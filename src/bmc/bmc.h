/* bmc.h: the worker that talks to BMCs: requests from the conductor, carried out by a bounded pool of
 * threads, one at a time per node and in the order they came; each is answered by one bmc_reply.
 *
 * Drivers block, so they run in threads; everything else happens on the loop.  A request owns its data,
 * is moved to a thread, and comes back through a queue that wakes the loop.
 */
#pragma once

#include <glib.h>

#include "config.h"
#include "loop.h"

struct bmc_worker;

/* Takes the descriptor; `conf` must live as long as the worker.  When the channel ends the loop is
 * stopped.  Never NULL. */
struct bmc_worker *bmc_worker_new(struct loop *l, const struct config *conf, int channel_fd);
/* Waits for the requests that are under way, at most their timeouts. */
void bmc_worker_free(struct bmc_worker *w);

typedef struct bmc_worker bmc_worker;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(bmc_worker, bmc_worker_free)
