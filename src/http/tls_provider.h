/* tls_provider.h: the parts of TLS that OpenSSL does too slowly for a client that opens thousands of connections a
 * second, as a provider (provider(7)).
 *
 * X25519 with shared pairs of keys (key_share.h) and TLS 1.3's key schedule (key_schedule.h); everything else is
 * the default provider's, but only what such a client needs:
 * - of peers with pre-shared keys, TLS_AES_128_GCM_SHA256;
 * - of peers with certificates (EC, RSA, Ed25519), the suites of TLS 1.3 and 1.2 with AES-GCM or ChaCha20-Poly1305,
 *   and the groups P-256 and P-384 beside X25519.
 * So a look of the dialer takes half of the instructions that it takes with OpenSSL alone, and a stranger meets
 * less of OpenSSL.
 */
#pragma once

#include <openssl/types.h>

struct tls_provider;

enum tls_peers { TLS_PEERS_WITH_KEYS, TLS_PEERS_WITH_CERTIFICATES };

/* A library context for clients of such peers; ends the program if OpenSSL cannot make it.  For one thread. */
struct tls_provider *tls_provider_new(enum tls_peers peers);
OSSL_LIB_CTX *tls_provider_peek_library(const struct tls_provider *t);
/* After all that was made with the library context. */
void tls_provider_free(struct tls_provider *t);
