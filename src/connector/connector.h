/* connector.h: the process that opens connections for the workers that meet strangers (connect.h).
 *
 * It holds the ranges of the configuration and nothing else: no secret, no row, no file, and reads requests of a
 * fixed length only.
 */
#pragma once

#include "config.h"
#include "loop.h"
#include "role.h"

struct connector;

/* `c` must live as long as the connector.  Never NULL. */
struct connector *connector_new(struct loop *l, const struct config *c);
/* Requests on `fd` (a connect_pair(), taken) are checked against the ranges of `role`: ROLE_DIALER or
 * ROLE_BMC; any other role has none.  Served until the other side closes it or breaks the protocol. */
void connector_serve(struct connector *c, enum role role, int fd);
void connector_free(struct connector *c); /* NULL is fine */

typedef struct connector connector;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(connector, connector_free)
