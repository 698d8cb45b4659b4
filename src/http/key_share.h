/* key_share.h: X25519 for a client that opens thousands of TLS connections a second.
 *
 * OpenSSL makes a new pair of keys for each handshake, and that is two fifths of what a handshake with a
 * pre-shared key costs.  This provider (provider(7)) hands the same pair to all handshakes that begin within a
 * second, and wipes it after the last of them.  The arithmetic is OpenSSL's own.
 *
 * What is given up: forward secrecy begins a second after the handshake instead of at its end (this process
 * has all pre-shared keys in memory anyway), and whoever sees two connections of the same second can tell that
 * they come from the same client.  X25519 needs no fresh key per peer: a bad share of a peer learns nothing.
 */
#pragma once

#include <openssl/types.h>

/* Selects this provider's X25519 and for everything else the default provider. */
#define KEY_SHARE_PROPERTIES "?provider=inox"

struct key_share;

/* A library context with both providers; ends the program if OpenSSL cannot make it.  For one thread. */
struct key_share *key_share_new(void);
OSSL_LIB_CTX *key_share_peek_library(const struct key_share *k);
/* After all that was made with the library context. */
void key_share_free(struct key_share *k);
