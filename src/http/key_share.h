/* key_share.h: X25519 for a client that opens thousands of TLS connections a second.
 *
 * OpenSSL makes a new pair of keys for each handshake, and that is two fifths of what a handshake with a
 * pre-shared key costs.  Here the same pair is for all handshakes that begin within a second, and it is wiped
 * after the last of them.  The arithmetic is OpenSSL's own.
 *
 * What is given up: forward secrecy begins a second after the handshake instead of at its end (this process
 * has the tokens of all its agents in memory anyway), and whoever sees two connections of the same second can tell that
 * they come from the same client.  X25519 needs no fresh key per peer: a bad share of a peer learns nothing.
 */
#pragma once

#include <openssl/core.h>

struct key_share;

/* What OpenSSL hands to each of these calls as the provider's context. */
struct key_share *key_share_new(void);
void key_share_free(struct key_share *k);

/* provider-keymgmt(7), provider-keyexch(7) */
extern const OSSL_DISPATCH key_share_key_calls[], key_share_exchange_calls[];
