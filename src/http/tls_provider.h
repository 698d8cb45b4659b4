/* tls_provider.h: the parts of TLS 1.3 that OpenSSL does too slowly for a client that opens thousands of
 * connections a second with pre-shared keys, as a provider (provider(7)).
 *
 * X25519 with shared pairs of keys (key_share.h) and the key schedule (key_schedule.h); with OpenSSL's own
 * both together are two thirds of the client's instructions.  Everything else is the default provider's.
 */
#pragma once

#include <openssl/types.h>

/* Selects this provider where it has the algorithm, and the default provider for everything else. */
#define TLS_PROVIDER_PROPERTIES "?provider=inox"

struct tls_provider;

/* A library context with both providers; ends the program if OpenSSL cannot make it.  For one thread. */
struct tls_provider *tls_provider_new(void);
OSSL_LIB_CTX *tls_provider_peek_library(const struct tls_provider *t);
/* After all that was made with the library context. */
void tls_provider_free(struct tls_provider *t);
