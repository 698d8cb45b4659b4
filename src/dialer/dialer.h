/* dialer.h: the process that watches agents: dials them, parses what they say, and tells the conductor
 * what changed.
 *
 * It holds no state that is not told again: the conductor sends dialer_watch for every node after a
 * restart.
 */
#pragma once

#include <glib.h>

#include "config.h"
#include "connect.h"
#include "loop.h"

struct dialer;

/* Takes the descriptor; `c` must live as long as the dialer.  When the channel ends the loop is stopped.
 * Never NULL. */
struct dialer *dialer_new(struct loop *l, const struct config *c, int channel_fd);
/* Connections come from the connector; `client` must live as long as the dialer. */
void dialer_connect_with(struct dialer *d, struct connect_client *client);
void dialer_free(struct dialer *d); /* NULL is fine */

typedef struct dialer dialer;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(dialer, dialer_free)
