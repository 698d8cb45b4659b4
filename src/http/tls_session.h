/* tls_session.h: OpenSSL sessions for the server's and the client's connections.  Private to http/. */
#pragma once

#include <openssl/ssl.h>

#include "tls.h"

/* A session for one accepted connection; NULL when out of memory. */
SSL *tls_server_session(struct http_tls_server *t);
/* Identity of a PSK client, once the handshake is over; NULL if it used a certificate's handshake. */
const char *tls_session_identity(const SSL *ssl);

struct tls_client; /* both kinds of client contexts */

struct tls_client *tls_client_new(void);
void tls_client_free(struct tls_client *c);
/* `identity` and `key` must live as long as the session. */
SSL *tls_client_psk_session(struct tls_client *c, const char *identity, const uint8_t *key);
SSL *tls_client_pinned_session(struct tls_client *c);
/* TLS 1.3 with whoever answers. */
SSL *tls_client_any_session(struct tls_client *c);
/* After the handshake: whether it proved what was asked for.  `certificate_sha256` NULL: that the PSK
 * was used.  Errors: PEER. */
bool tls_client_check(const SSL *ssl, const char *certificate_sha256, GError **error);
/* The first pending reason of OpenSSL, as a text that lives for ever; empties the queue. */
const char *tls_take_reason(void);
