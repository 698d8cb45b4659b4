/* conductor.h: moves nodes: turns what workers say, what the API has committed and what the clock shows into
 * events, folds them into rows, and starts what the rows then still need.
 *
 * It holds no copy of a node.  Killed at any instruction and started again, it looks at every row in
 * motion and goes on.
 */
#pragma once

#include <glib.h>

#include "config.h"
#include "loop.h"
#include "role.h"
#include "seal.h"
#include "store.h"

struct conductor;

/* Borrows loop, configuration, store and key for its life.  `poke_fd` is a datagram socket on which the API
 * sends UUIDs of nodes, -1: none; it stays the caller's.  Looks at every node in motion at once.
 * INVALID if an option does not fit (address_pool, kernel_append_params), or what the store says. */
struct conductor *conductor_new(struct loop *l, const struct config *conf, struct store *s,
				const struct seal_key *key, int poke_fd, GError **error);
/* Takes the channel to a worker (ROLE_DIALER, ROLE_BMC, ROLE_BOOT): at the start, and again after a worker
 * was restarted, which knows nothing: what it has to know is sent again. */
void conductor_attach(struct conductor *c, enum role worker, int channel_fd);
/* The same for one of [agent]dialers; conductor_attach() is for the first. */
void conductor_attach_dialer(struct conductor *c, unsigned index, int channel_fd);
void conductor_free(struct conductor *c); /* NULL is fine */

typedef struct conductor conductor;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(conductor, conductor_free)
