/* quick_tls.h: the agent's end of our PSK channel and nothing else: TLS 1.3 (RFC 8446) with one cipher
 * (TLS_AES_128_GCM_SHA256), one group (X25519) and one external PSK.
 *
 * Through OpenSSL's own server an agent costs as much as the dialer that looks at it, and a machine that is to
 * show what a dialer can do would be busy with its agents.  Nine tenths are saved here: the agents
 * share one X25519 key and remember the secrets it made with the clients' last shares (a dialer has one share for
 * a second), and the rest is a few hashes.  The other side sees no difference.  Never for a
 * program that has a secret to keep: connections that were recorded can be read by whoever has that key.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "tls.h"

struct quick_tls;  /* what all connections share */
struct quick_link; /* one connection; may be used again */

#define QUICK_AGAIN  (-1) /* not ready: wait as quick_wants_write() says */
#define QUICK_BROKEN (-2)

/* NULL if OpenSSL cannot make the key. */
struct quick_tls *quick_tls_new(void);
void quick_tls_free(struct quick_tls *t);

struct quick_link *quick_link_new(struct quick_tls *t);
void quick_link_free(struct quick_link *q);
/* A new connection; copies the identity and the key. */
void quick_link_start(struct quick_link *q, int fd, const char *identity,
		      const uint8_t psk[static TLS_PSK_BYTES]);
/* 1 when the other side has proved that it knows the key. */
int quick_accept(struct quick_link *q);
/* Bytes of the other side, 0 at its end. */
int quick_read(struct quick_link *q, void *to, size_t room);
/* All of `length` (at most 16384) or QUICK_AGAIN: then it is called again with the same bytes.  `last`: nothing
 * follows, the end is announced with it. */
int quick_write(struct quick_link *q, const void *from, size_t length, bool last);
bool quick_wants_write(const struct quick_link *q);
