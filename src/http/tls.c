/* tls.c: contexts and keys.  Sessions are never resumed: no tickets, no cache, no early data, so every
 * connection proves the key of its boot anew. */
#include "tls.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "errors.h"
#include "tls_provider.h"
#include "tls_session.h"

#define PSK_INFO          "inox agent psk v1"
#define PSK_SUITES        "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
#define CERTIFICATE_DAYS  365
#define SHA256_HEX_DIGITS 64

struct http_tls_server {
	SSL_CTX *context;
	tls_psk_fn psk;
	void *ctx;
};

struct tls_client {
	struct tls_provider *for_keys, *for_certificates;
	SSL_CTX *psk, *pinned;
};

struct psk_of_client {
	const char *identity;
	const uint8_t *key;
};

static void free_slot(void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl,
		      void *argp)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	g_free(value);
}

/* Slot of a session for the identity that was found (server) or the PSK to offer (client). */
static int session_slot(void)
{
	static gsize slot; /* index + 1 */

	if (g_once_init_enter(&slot)) {
		int index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_slot);

		g_once_init_leave(&slot, (gsize)index + 1);
	}
	return (int)slot - 1;
}

const char *tls_take_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	ERR_clear_error();
	return reason ? reason : "no reason given";
}

static SSL_CTX *context_set_up(SSL_CTX *context, int least_version)
{
	if (!context)
		g_error("OpenSSL cannot make a context: %s", tls_take_reason());
	SSL_CTX_set_min_proto_version(context, least_version);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					     SSL_OP_NO_COMPRESSION |
					     SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_num_tickets(context, 0);
	return context;
}

/* OpenSSL's macro takes a text that is not constant. */
static void set_groups(SSL_CTX *context, const char *list)
{
	g_autofree char *copy = g_strdup(list);

	if (SSL_CTX_set1_groups_list(context, copy) != 1)
		g_error("OpenSSL does not know the groups %s", list);
}

/* A session that stands for the external PSK; its cipher fixes the hash to SHA-256. */
static SSL_SESSION *session_of_key(SSL *ssl, const uint8_t key[static TLS_PSK_BYTES])
{
	static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
	SSL_SESSION *session = SSL_SESSION_new();
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);

	if (session && cipher && SSL_SESSION_set1_master_key(session, key, TLS_PSK_BYTES) &&
	    SSL_SESSION_set_cipher(session, cipher) &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

/* ---- server */

static int on_find_session(SSL *ssl, const unsigned char *identity, size_t length,
			   SSL_SESSION **ret_session)
{
	struct http_tls_server *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	uint8_t key[TLS_PSK_BYTES];

	/* No session is not a failure yet: the handshake goes on with the certificate, if there is
	 * one.  The client that insists on its PSK ends it. */
	*ret_session = NULL;
	if (length == 0 || length >= TLS_IDENTITY_MAX || memchr(identity, '\0', length))
		return 1;
	g_autofree char *text = g_strndup((const char *)identity, length);
	if (!t->psk(t->ctx, text, key))
		return 1;
	*ret_session = session_of_key(ssl, key);
	OPENSSL_cleanse(key, sizeof(key));
	if (!*ret_session)
		return 0;
	g_free(SSL_get_ex_data(ssl, session_slot()));
	SSL_set_ex_data(ssl, session_slot(), g_steal_pointer(&text));
	return 1;
}

static X509 *read_certificate(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	return certificate;
}

bool http_tls_server_use_certificate(struct http_tls_server *t, const char *certificate_pem,
				     const char *private_key_pem, GError **error)
{
	X509 *certificate = read_certificate(certificate_pem);
	BIO *bio = BIO_new_mem_buf(private_key_pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

	BIO_free(bio);
	bool good = certificate && key && X509_check_private_key(certificate, key) == 1 &&
		    SSL_CTX_use_certificate(t->context, certificate) == 1 &&
		    SSL_CTX_use_PrivateKey(t->context, key) == 1;
	X509_free(certificate);
	EVP_PKEY_free(key);
	if (!good)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the certificate or its key cannot be used: %s",
				      tls_take_reason());
	return true;
}

struct http_tls_server *http_tls_server_new(const struct http_tls_server_options *options,
					    GError **error)
{
	bool certified = options->certificate_pem && options->private_key_pem;

	if (!certified && !options->psk) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "a TLS server needs a certificate or pre-shared keys");
		return NULL;
	}
	struct http_tls_server *t = g_new0(struct http_tls_server, 1);

	t->psk = options->psk;
	t->ctx = options->ctx;
	t->context = context_set_up(SSL_CTX_new(TLS_server_method()),
				    certified ? TLS1_2_VERSION : TLS1_3_VERSION);
	SSL_CTX_set_app_data(t->context, t);
	set_groups(t->context, "X25519:P-256");
	SSL_CTX_set_cipher_list(t->context, "ECDHE+AESGCM:ECDHE+CHACHA20");
	/* The suite is chosen before the keys are looked at, and ours need SHA-256: those come first. */
	SSL_CTX_set_ciphersuites(t->context, PSK_SUITES ":TLS_AES_256_GCM_SHA384");
	if (options->psk)
		SSL_CTX_set_psk_find_session_callback(t->context, on_find_session);
	if (certified && !http_tls_server_use_certificate(t, options->certificate_pem,
							  options->private_key_pem, error)) {
		http_tls_server_free(t);
		return NULL;
	}
	return t;
}

void http_tls_server_free(struct http_tls_server *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->context);
	g_free(t);
}

SSL *tls_server_session(struct http_tls_server *t)
{
	return SSL_new(t->context);
}

const char *tls_session_identity(const SSL *ssl)
{
	if (!SSL_is_init_finished(ssl) || !SSL_session_reused(ssl))
		return NULL;
	return SSL_get_ex_data(ssl, session_slot());
}

/* ---- client */

static int on_use_session(SSL *ssl, const EVP_MD *hash, const unsigned char **ret_identity,
			  size_t *ret_length, SSL_SESSION **ret_session)
{
	const struct psk_of_client *psk = SSL_get_ex_data(ssl, session_slot());

	*ret_identity = NULL;
	*ret_length = 0;
	*ret_session = NULL;
	/* After a retry the hash is fixed: a PSK of another one may not be offered. */
	if (hash && !EVP_MD_is_a(hash, "SHA256"))
		return 1;
	*ret_session = session_of_key(ssl, psk->key);
	if (!*ret_session)
		return 0;
	*ret_identity = (const unsigned char *)psk->identity;
	*ret_length = strlen(psk->identity);
	return 1;
}

/* Chains, purposes and dates mean nothing beside the pin. */
static int on_certificate(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

static SSL_CTX *client_context(const struct tls_provider *provider, int least_version)
{
	OSSL_LIB_CTX *library = tls_provider_peek_library(provider);

	return context_set_up(SSL_CTX_new_ex(library, NULL, TLS_client_method()), least_version);
}

struct tls_client *tls_client_new(void)
{
	struct tls_client *c = g_new0(struct tls_client, 1);

	c->for_keys = tls_provider_new(TLS_PEERS_WITH_KEYS);
	c->psk = client_context(c->for_keys, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(c->psk, "TLS_AES_128_GCM_SHA256");
	/* Short lists of what is never used: each handshake walks them. */
	SSL_CTX_set_cipher_list(c->psk, "ECDHE-ECDSA-AES128-GCM-SHA256");
	SSL_CTX_clear_options(c->psk, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
	set_groups(c->psk, "X25519");
	SSL_CTX_set_psk_use_session_callback(c->psk, on_use_session);
	/* No authority is known, so a server that answers with a certificate is refused. */
	SSL_CTX_set_verify(c->psk, SSL_VERIFY_PEER, NULL);
	c->for_certificates = tls_provider_new(TLS_PEERS_WITH_CERTIFICATES);
	c->pinned = client_context(c->for_certificates, TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(c->pinned, "ECDHE+AESGCM:ECDHE+CHACHA20");
	set_groups(c->pinned, "x25519:secp256r1:secp384r1");
	/* The pin is compared in tls_client_check(), before anything is sent. */
	SSL_CTX_set_verify(c->pinned, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_cert_verify_callback(c->pinned, on_certificate, NULL);
	/* One read takes all that is there, not five bytes of each record first. */
	SSL_CTX_set_read_ahead(c->psk, 1);
	SSL_CTX_set_read_ahead(c->pinned, 1);
	return c;
}

void tls_client_free(struct tls_client *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->psk);
	SSL_CTX_free(c->pinned);
	tls_provider_free(c->for_keys);
	tls_provider_free(c->for_certificates);
	g_free(c);
}

SSL *tls_client_psk_session(struct tls_client *c, const char *identity, const uint8_t *key)
{
	SSL *ssl = SSL_new(c->psk);

	if (!ssl)
		return NULL;
	struct psk_of_client *psk = g_new0(struct psk_of_client, 1);

	psk->identity = identity;
	psk->key = key;
	SSL_set_ex_data(ssl, session_slot(), psk);
	return ssl;
}

SSL *tls_client_pinned_session(struct tls_client *c)
{
	return SSL_new(c->pinned);
}

SSL *tls_client_any_session(struct tls_client *c)
{
	SSL *ssl = SSL_new(c->pinned);

	if (ssl)
		SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
	return ssl;
}

static bool pin_matches(const SSL *ssl, const char *certificate_sha256)
{
	X509 *leaf = SSL_get1_peer_certificate(ssl);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	char text[2 * EVP_MAX_MD_SIZE + 1] = "";

	if (!leaf)
		return false;
	if (X509_digest(leaf, EVP_sha256(), digest, &length) != 1)
		length = 0;
	X509_free(leaf);
	for (unsigned i = 0; i < length; i++)
		g_snprintf(text + (size_t)2 * i, 3, "%02x", digest[i]);
	return strlen(text) == SHA256_HEX_DIGITS &&
	       g_ascii_strcasecmp(text, certificate_sha256) == 0;
}

bool tls_client_check(const SSL *ssl, const char *certificate_sha256, GError **error)
{
	if (!certificate_sha256 && !SSL_session_reused(ssl))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the other side did not use the pre-shared key");
	if (certificate_sha256 && !pin_matches(ssl, certificate_sha256))
		return inox_error_set(
			error, INOX_ERROR_PEER,
			"the other side showed a certificate that is not the pinned one");
	return true;
}

/* ---- keys and certificates */

/* Looking up an algorithm costs more than using it: HMAC is looked up once, and copied for each use. */
static EVP_MAC_CTX *hmac_template(void)
{
	static gsize template;

	if (g_once_init_enter(&template)) {
		char hash[] = "SHA256";
		OSSL_PARAM parameters[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, hash, 0),
			OSSL_PARAM_construct_end(),
		};
		EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
		EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);

		if (!context || EVP_MAC_CTX_set_params(context, parameters) != 1)
			g_error("OpenSSL has no HMAC-SHA256: %s", tls_take_reason());
		EVP_MAC_free(mac);
		g_once_init_leave(&template, (gsize)context);
	}
	return (EVP_MAC_CTX *)template;
}

static void hmac(const uint8_t key[static TLS_PSK_BYTES], const char *text, size_t length,
		 uint8_t ret_tag[static TLS_PSK_BYTES])
{
	EVP_MAC_CTX *context = EVP_MAC_CTX_dup(hmac_template());
	size_t written = 0;

	if (!context || EVP_MAC_init(context, key, TLS_PSK_BYTES, NULL) != 1 ||
	    EVP_MAC_update(context, (const uint8_t *)text, length) != 1 ||
	    EVP_MAC_final(context, ret_tag, &written, TLS_PSK_BYTES) != 1)
		g_error("OpenSSL cannot derive a key: %s", tls_take_reason());
	EVP_MAC_CTX_free(context);
}

/* HKDF (RFC 5869): extract with an empty salt, which is one of zeros, and the first block of expand. */
void tls_psk_of_token(const struct secret *token, uint8_t ret_key[static TLS_PSK_BYTES])
{
	static const uint8_t salt[TLS_PSK_BYTES];
	static const char info[] = PSK_INFO "\x01";
	uint8_t extracted[TLS_PSK_BYTES];

	hmac(salt, secret_peek(token), secret_length(token), extracted);
	hmac(extracted, info, sizeof(info) - 1, ret_key);
	OPENSSL_cleanse(extracted, sizeof(extracted));
}

void tls_psk_identity(const struct uuid *node, uint64_t epoch, char out[static TLS_IDENTITY_MAX])
{
	g_snprintf(out, TLS_IDENTITY_MAX, "%s:%" G_GUINT64_FORMAT, node->s, (guint64)epoch);
}

static bool add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	bool good = extension && X509_add_ext(certificate, extension, -1) == 1;

	X509_EXTENSION_free(extension);
	return good;
}

bool tls_certificate_is_for(const char *certificate_pem, const char *host)
{
	X509 *certificate = read_certificate(certificate_pem);
	int r = 0;

	if (certificate)
		r = g_hostname_is_ip_address(host) ? X509_check_ip_asc(certificate, host, 0)
						   : X509_check_host(certificate, host, 0, 0, NULL);
	X509_free(certificate);
	return r == 1;
}

static bool fill_certificate(X509 *certificate, EVP_PKEY *key, const char *common_name,
			     const char *address)
{
	X509_NAME *name = X509_get_subject_name(certificate);
	g_autofree char *alternative =
		g_strdup_printf(g_hostname_is_ip_address(address) ? "IP:%s" : "DNS:%s", address);
	uint64_t serial = (uint64_t)g_random_int() << 31 | g_random_int();

	/* A day of slack: the clock of a machine that has just booted may be behind. */
	return X509_set_version(certificate, X509_VERSION_3) == 1 &&
	       ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(certificate), -24 * 3600) &&
	       X509_gmtime_adj(X509_getm_notAfter(certificate), CERTIFICATE_DAYS * 24L * 3600) &&
	       X509_set_pubkey(certificate, key) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const guchar *)common_name,
					  -1, -1, 0) == 1 &&
	       X509_set_issuer_name(certificate, name) == 1 &&
	       add_extension(certificate, NID_subject_alt_name, alternative) &&
	       X509_sign(certificate, key, EVP_sha256()) > 0;
}

static char *take_pem(BIO *bio)
{
	char *bytes;
	long length = BIO_get_mem_data(bio, &bytes);
	char *text = g_strndup(bytes, (gsize)MAX(length, 0));

	BIO_free(bio);
	return text;
}

bool tls_make_certificate(const char *common_name, const char *address, char **ret_certificate_pem,
			  char **ret_private_key_pem, GError **error)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	BIO *certificate_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_secmem());
	bool good = key && certificate &&
		    fill_certificate(certificate, key, common_name, address) &&
		    PEM_write_bio_X509(certificate_pem, certificate) == 1 &&
		    PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) == 1;

	X509_free(certificate);
	EVP_PKEY_free(key);
	if (!good) {
		BIO_free(certificate_pem);
		BIO_free(key_pem);
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "a certificate for %.64s cannot be made: %s", address,
				      tls_take_reason());
	}
	*ret_certificate_pem = take_pem(certificate_pem);
	*ret_private_key_pem = take_pem(key_pem);
	return true;
}
