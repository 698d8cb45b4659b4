/* tls.h: the two ways a channel to an agent is secured (doc/architecture.md, "The channel").
 *
 * PSK: TLS 1.3 only, psk_dhe_ke, X25519, key = HKDF-SHA256(token, "inox agent psk v1"), identity
 * "<node uuid>:<epoch>"; RFC 8446 section 4.2.11 (external PSK).  Pinned: TLS 1.2 or 1.3 and the SHA-256
 * of the leaf certificate.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "secret.h"

#define TLS_PSK_BYTES    32
#define TLS_IDENTITY_MAX 128

struct http_tls_server;

/* Key for a PSK identity; false if it is unknown (the handshake then fails). */
typedef bool (*tls_psk_fn)(void *ctx, const char *identity, uint8_t ret_key[static TLS_PSK_BYTES]);

struct http_tls_server_options {
	tls_psk_fn psk; /* NULL: no PSK clients */
	void *ctx;
	const char *certificate_pem; /* texts; both NULL: PSK only */
	const char *private_key_pem;
};

struct http_tls_server *http_tls_server_new(const struct http_tls_server_options *options,
					    GError **error);
void http_tls_server_free(struct http_tls_server *t);
/* Connections that begin from now on see this certificate; for a server that was made with one.  The
 * old one stays if this one cannot be used (INVALID). */
bool http_tls_server_use_certificate(struct http_tls_server *t, const char *certificate_pem,
				     const char *private_key_pem,
				     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The channel key of a token. */
void tls_psk_of_token(const struct secret *token, uint8_t ret_key[static TLS_PSK_BYTES]);
void tls_psk_identity(const struct uuid *node, uint64_t epoch, char out[static TLS_IDENTITY_MAX]);

/* A self-signed certificate for agents that serve pinned TLS: P-256, one year, subject alternative name
 * `address`, which may be a host name.  The caller frees both texts (the key with secret_wipe_text). */
bool tls_make_certificate(const char *common_name, const char *address, char **ret_certificate_pem,
			  char **ret_private_key_pem, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether a client that dials `host` (numeric or a name) would take the certificate as its own; false
 * for a text that is none. */
bool tls_certificate_is_for(const char *certificate_pem, const char *host);
