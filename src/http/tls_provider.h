/* tls_provider.h: the parts of TLS 1.3 that OpenSSL does too slowly for a client that opens thousands of
 * connections a second with pre-shared keys, as a provider (provider(7)).
 *
 * X25519 with shared pairs of keys (key_share.h) and the key schedule (key_schedule.h); everything else is the
 * default provider's, but only what a client with a pre-shared key and TLS_AES_128_GCM_SHA256 needs.  So a look of
 * the dialer takes half of the instructions that it takes with OpenSSL alone.
 */
#pragma once

#include <openssl/types.h>

struct tls_provider;

/* A library context for clients with pre-shared keys; ends the program if OpenSSL cannot make it.  For one thread. */
struct tls_provider *tls_provider_new(void);
OSSL_LIB_CTX *tls_provider_peek_library(const struct tls_provider *t);
/* After all that was made with the library context. */
void tls_provider_free(struct tls_provider *t);
