/* fetch_link.h: one TCP or TLS connection of the downloader; blocking, with time limits. */
#pragma once

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>

#include "fetch.h"
#include "fetch_parse.h"

struct fetch_link;

/* Resolves, connects to the first address that answers, and does the handshake.  Errors: UNAVAILABLE
 * (refused, no such name, no route), TIMEOUT, PEER (TLS), BUSY when cancelled. */
struct fetch_link *fetch_link_open(const struct fetch_url *url, const struct fetch_options *options,
				   GError **error);
void fetch_link_free(struct fetch_link *l);
bool fetch_link_write(struct fetch_link *l, const char *bytes, size_t length,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* At least one byte, or *ret_got = 0 at the end of the stream. */
bool fetch_link_read(struct fetch_link *l, void *buffer, size_t length, size_t *ret_got,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Our address on this connection, numeric; false if the socket does not tell. */
bool fetch_link_own_address(const struct fetch_link *l, char out[static INET6_ADDRSTRLEN]);

typedef struct fetch_link fetch_link;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(fetch_link, fetch_link_free)
