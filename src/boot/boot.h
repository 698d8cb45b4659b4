/* boot.h: the boot publisher: carries out boot_publish and boot_withdraw, answers with boot_reply.
 *
 * Writing to a disk and pushing over HTTP block, so the work is done by a few threads ("lanes"); the
 * requests of one node always take the same lane and so keep their order.  A lane owns its request;
 * the loop's thread gets it back when it is done.
 */
#pragma once

#include "config.h"
#include "loop.h"

struct boot_worker;

/* Takes the channel's descriptor.  The loop is stopped when the conductor's side is closed.  Errors:
 * INVALID, NOT_FOUND, DENIED, IO with the option of [boot] that cannot be used; the descriptor is then
 * closed too. */
struct boot_worker *boot_worker_new(struct loop *l, const struct config *c, int channel_fd,
				    GError **error);
/* Waits for the requests that are being carried out; those not begun are dropped. */
void boot_worker_free(struct boot_worker *w);

typedef struct boot_worker boot_worker;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(boot_worker, boot_worker_free)
