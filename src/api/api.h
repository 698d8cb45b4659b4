/* api.h: the REST API: Ironic's bare-metal API, microversions 1.1 to 1.110, and our own few routes.
 *
 * One loop, one thread; SQLite is called inline.  A request is checked and committed here; when it gave
 * the conductor work, `poke` is called with the node's UUID after the commit.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "config.h"
#include "loop.h"
#include "seal.h"
#include "store.h"

struct api;

typedef void (*api_poke_fn)(void *ctx, const char *node_uuid);

/* Borrows everything for its life; `public_half` seals the secrets of driver_info.  Errors: INVALID
 * when the configuration names a hardware type that is not built in. */
struct api *api_new(struct loop *l, const struct config *c, struct store *s,
		    const struct seal_key *public_half, api_poke_fn poke, void *ctx,
		    GError **error);
/* Serves a listening socket; takes the descriptor. */
bool api_accept_on(struct api *a, int listen_fd, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How often processes of this role were refused this system call so far, for /metrics; `killed`: and ended for it. */
void api_take_refusals(struct api *a, const char *role, const char *call, bool killed,
		       uint64_t count);
void api_free(struct api *a);

typedef struct api api;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(api, api_free)
