/* channel_tls.c: the agents' ends of the channel: our PSK scheme and the pinned certificate, all agents
 * with the same contexts, and one certificate for all. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "link.h"

struct channel_tls {
	struct server *server;
	SSL_CTX *psk, *pinned;
	SSL_CTX *swapped, *old; /* with another certificate; TLS 1.2 only */
};

/* A session that stands for the agent's key. */
static SSL_SESSION *session_of(SSL *ssl, struct link *l)
{
	static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
	SSL_SESSION *session = SSL_SESSION_new();
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
	uint8_t key[TLS_PSK_BYTES];

	fleet_psk(l->server->fleet, l->agent, key);
	if (l->fault == FAULT_WRONG_PSK)
		key[0] ^= 1;
	if (session && cipher && SSL_SESSION_set1_master_key(session, key, sizeof(key)) &&
	    SSL_SESSION_set_cipher(session, cipher) &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

static int on_find_session(SSL *ssl, const unsigned char *identity, size_t length,
			   SSL_SESSION **ret_session)
{
	struct link *l = SSL_get_app_data(ssl);
	struct uuid node = fleet_node(l->server->fleet, l->agent);
	char own[TLS_IDENTITY_MAX];

	*ret_session = NULL;
	tls_psk_identity(&node, fleet_epoch(l->server->fleet, l->agent), own);
	if (length == strlen(own) && memcmp(identity, own, length) == 0)
		*ret_session = session_of(ssl, l);
	return 1;
}

static SSL_CTX *context_new(int least_version)
{
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());

	if (!c)
		return NULL;
	SSL_CTX_set_min_proto_version(c, least_version);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
				       SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_num_tickets(c, 0);
	SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM");
	return c;
}

static bool use_certificate(SSL_CTX *c, const char *certificate_pem, const char *key_pem)
{
	BIO *certificate_bio = BIO_new_mem_buf(certificate_pem, -1);
	BIO *key_bio = BIO_new_mem_buf(key_pem, -1);
	X509 *certificate = PEM_read_bio_X509(certificate_bio, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
	bool good = c && certificate && key && SSL_CTX_use_certificate(c, certificate) == 1 &&
		    SSL_CTX_use_PrivateKey(c, key) == 1;

	X509_free(certificate);
	EVP_PKEY_free(key);
	BIO_free(certificate_bio);
	BIO_free(key_bio);
	return good;
}

static bool use_own_certificate(SSL_CTX *c)
{
	g_autofree char *certificate_pem = NULL;
	char *key_pem = NULL;

	if (!tls_make_certificate("somebody else", "127.0.0.1", &certificate_pem, &key_pem, NULL))
		return false;
	bool good = use_certificate(c, certificate_pem, key_pem);

	secret_wipe_text(key_pem);
	return good;
}

struct channel_tls *channel_tls_new(struct server *s, const char *certificate_pem,
				    const char *key_pem)
{
	struct channel_tls *t = g_new0(struct channel_tls, 1);

	t->server = s;
	t->psk = context_new(TLS1_3_VERSION);
	t->pinned = context_new(TLS1_2_VERSION);
	t->swapped = context_new(TLS1_2_VERSION);
	t->old = context_new(TLS1_2_VERSION);
	if (!t->psk || !use_certificate(t->pinned, certificate_pem, key_pem) ||
	    !use_certificate(t->old, certificate_pem, key_pem) ||
	    !use_own_certificate(t->swapped)) {
		channel_tls_free(t);
		return NULL;
	}
	SSL_CTX_set_max_proto_version(t->old, TLS1_2_VERSION);
	SSL_CTX_set_options(t->old, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	SSL_CTX_set_psk_find_session_callback(t->psk, on_find_session);
	return t;
}

void channel_tls_free(struct channel_tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->psk);
	SSL_CTX_free(t->pinned);
	SSL_CTX_free(t->swapped);
	SSL_CTX_free(t->old);
	g_free(t);
}

static SSL_CTX *context_of(const struct channel_tls *t, enum fault fault,
			   enum agent_transport transport)
{
	if (fault == FAULT_CERTIFICATE || fault == FAULT_CERTIFICATE_PSK)
		return t->swapped;
	if (fault == FAULT_TLS_1_2 || fault == FAULT_RENEGOTIATION)
		return t->old;
	return transport == TRANSPORT_PSK ? t->psk : t->pinned;
}

SSL *channel_tls_session(struct channel_tls *t, struct link *l, enum agent_transport transport)
{
	if (transport == TRANSPORT_HTTP)
		return NULL;
	SSL *ssl = SSL_new(context_of(t, l->fault, transport));

	if (!ssl || SSL_set_fd(ssl, l->fd) != 1)
		g_error("OpenSSL cannot make a session: %s",
			ERR_reason_error_string(ERR_peek_error()));
	SSL_set_app_data(ssl, l);
	return ssl;
}
