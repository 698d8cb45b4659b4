#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "errors.h"
#include "fingerprint.h"
#include "http_fixture.h"
#include "tls.h"

/* HKDF-SHA256 of the token in test_keys(), computed with another program. */
#define HKDF_TEXT "6976c1ae9842a61e4288612a76fa1c7601cfce211deacfb2cfe90dc17dd931d0"
#define IDENTITY  "6d85703a-565d-469a-96ce-30b6de53079d:7"

static bool find_key(void *ctx, const char *identity, uint8_t ret_key[static TLS_PSK_BYTES])
{
	(void)ctx;
	if (!g_str_equal(identity, IDENTITY))
		return false;
	memset(ret_key, 7, TLS_PSK_BYTES);
	return true;
}

struct vault {
	struct http_tls_server *psk_only, *certified, *both;
	char *certificate, *key;
};

static struct vault vault_new(void)
{
	struct vault v = {.psk_only = NULL};

	g_assert_true(tls_make_certificate("agent", "127.0.0.1", &v.certificate, &v.key, NULL));
	v.psk_only = http_tls_server_new(&(struct http_tls_server_options){.psk = find_key}, NULL);
	v.certified = http_tls_server_new(
		&(struct http_tls_server_options){.certificate_pem = v.certificate,
						  .private_key_pem = v.key},
		NULL);
	v.both = http_tls_server_new(
		&(struct http_tls_server_options){.psk = find_key,
						  .certificate_pem = v.certificate,
						  .private_key_pem = v.key},
		NULL);
	g_assert_nonnull(v.psk_only);
	g_assert_nonnull(v.certified);
	g_assert_nonnull(v.both);
	return v;
}

static void vault_clear(struct vault *v)
{
	http_tls_server_free(v->psk_only);
	http_tls_server_free(v->certified);
	http_tls_server_free(v->both);
	g_free(v->certificate);
	secret_wipe_text(v->key);
}

static struct answer ask_tls(struct http_tls_server *tls, enum agent_transport transport,
			     const char *identity, uint8_t key_byte, const char *pin)
{
	struct http_server_options options = rack_plain;

	options.tls = tls;
	struct rack *r = rack_new(&options);
	struct http_call call = rack_call(r);
	uint8_t key[TLS_PSK_BYTES];

	memset(key, key_byte, sizeof(key));
	call.transport = transport;
	call.psk_identity = identity;
	call.psk_key = key;
	call.certificate_sha256 = pin;
	struct answer a = rack_ask(r, &call);

	if (a.code >= 0) {
		g_assert_cmpuint(r->requests, ==, 0);
		g_assert_cmpint(a.code, ==, INOX_ERROR_PEER);
		g_assert_cmpint(a.reached, ==, MILESTONE_PORT);
	}
	rack_free(r);
	return a;
}

static void test_psk(void)
{
	struct vault v = vault_new();
	struct answer a = ask_tls(v.psk_only, TRANSPORT_PSK, IDENTITY, 7, NULL);

	g_assert_cmpstr(a.body, ==, "GET /x q=1 body=0: psk=" IDENTITY);
	g_assert_cmpint(a.reached, ==, MILESTONE_TLS);
	answer_clear(&a);
	a = ask_tls(v.both, TRANSPORT_PSK, IDENTITY, 7, NULL);
	g_assert_cmpstr(a.body, ==, "GET /x q=1 body=0: psk=" IDENTITY);
	answer_clear(&a);
	vault_clear(&v);
}

static void assert_not_sent(struct answer a)
{
	g_assert_cmpint(a.code, ==, INOX_ERROR_PEER);
	g_assert_false(a.sent);
	answer_clear(&a);
}

static void test_psk_refused(void)
{
	struct vault v = vault_new();

	assert_not_sent(ask_tls(v.psk_only, TRANSPORT_PSK, IDENTITY, 8, NULL));
	assert_not_sent(ask_tls(v.psk_only, TRANSPORT_PSK, "somebody:7", 7, NULL));
	assert_not_sent(ask_tls(v.both, TRANSPORT_PSK, "somebody:7", 7, NULL));
	assert_not_sent(ask_tls(v.certified, TRANSPORT_PSK, IDENTITY, 7, NULL));
	vault_clear(&v);
}

static char *take_text(BIO *bio)
{
	char *bytes;
	long length = BIO_get_mem_data(bio, &bytes);
	char *text = g_strndup(bytes, (gsize)length);

	BIO_free(bio);
	return text;
}

/* The only kind of signature that the client offers. */
static struct http_tls_server *signing_server_new(const struct vault *v)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	BIO *from = BIO_new_mem_buf(v->certificate, -1);
	X509 *certificate = PEM_read_bio_X509(from, NULL, NULL, NULL);
	BIO *to = BIO_new(BIO_s_mem()), *key_to = BIO_new(BIO_s_mem());

	g_assert_cmpint(X509_set_pubkey(certificate, key), ==, 1);
	g_assert_cmpint(X509_sign(certificate, key, NULL), >, 0);
	g_assert_cmpint(PEM_write_bio_X509(to, certificate), ==, 1);
	g_assert_cmpint(PEM_write_bio_PrivateKey(key_to, key, NULL, NULL, 0, NULL, NULL), ==, 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
	BIO_free(from);
	g_autofree char *certificate_pem = take_text(to), *key_pem = take_text(key_to);

	return http_tls_server_new(
		&(struct http_tls_server_options){.certificate_pem = certificate_pem,
						  .private_key_pem = key_pem},
		NULL);
}

/* Nobody vouches for it, it is not the key, and the client cannot even read its certificate: each alone keeps it out. */
static void test_signature_instead(void)
{
	struct vault v = vault_new();
	struct http_tls_server *signing = signing_server_new(&v);

	g_assert_nonnull(signing);
	assert_not_sent(ask_tls(signing, TRANSPORT_PSK, IDENTITY, 7, NULL));
	http_tls_server_free(signing);
	vault_clear(&v);
}

static void test_pinned(void)
{
	struct vault v = vault_new();
	g_autofree char *pin = fingerprint_of(v.certificate);
	struct answer a = ask_tls(v.both, TRANSPORT_PINNED, NULL, 0, pin);

	g_assert_cmpstr(a.body, ==, "GET /x q=1 body=0: psk=-");
	g_assert_cmpint(a.reached, ==, MILESTONE_TLS);
	answer_clear(&a);
	pin[0] = pin[0] == '0' ? '1' : '0';
	assert_not_sent(ask_tls(v.both, TRANSPORT_PINNED, NULL, 0, pin));
	assert_not_sent(ask_tls(v.psk_only, TRANSPORT_PINNED, NULL, 0, pin));
	vault_clear(&v);
}

/* A TLS server that changes its keys without end, until nobody listens any more. */
static void change_keys(int listener, const char *certificate_pem, const char *key_pem)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	BIO *bio = BIO_new_mem_buf(certificate_pem, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO *key_bio = BIO_new_mem_buf(key_pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
	SSL *ssl;

	SSL_CTX_use_certificate(context, certificate);
	SSL_CTX_use_PrivateKey(context, key);
	ssl = SSL_new(context);
	SSL_set_fd(ssl, accept(listener, NULL, NULL));
	if (SSL_accept(ssl) == 1)
		while (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
		       SSL_do_handshake(ssl) == 1)
			;
}

static void test_silent_flood(void)
{
	struct vault v = vault_new();
	struct rack *r = rack_new(&rack_plain);
	g_autofree char *pin = fingerprint_of(v.certificate);
	int fd = rack_listen(&r->at);
	struct http_call call = rack_call(r);
	pid_t child = fork();

	if (child == 0) {
		signal(SIGPIPE, SIG_IGN);
		change_keys(fd, v.certificate, v.key);
		_exit(0);
	}
	call.transport = TRANSPORT_PINNED;
	call.certificate_sha256 = pin;
	struct answer a = rack_ask(r, &call);

	g_assert_cmpint(a.code, ==, INOX_ERROR_LIMIT);
	g_assert_nonnull(strstr(a.sentence, "says nothing"));
	answer_clear(&a);
	g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
	close(fd);
	rack_free(r);
	vault_clear(&v);
}

static void test_wrong_protocol(void)
{
	struct vault v = vault_new();
	struct answer a = ask_tls(v.both, TRANSPORT_HTTP, NULL, 0, NULL);

	g_assert_cmpint(a.code, ==, INOX_ERROR_PEER);
	answer_clear(&a);
	assert_not_sent(ask_tls(NULL, TRANSPORT_PSK, IDENTITY, 7, NULL));
	vault_clear(&v);
}

static void test_keys(void)
{
	g_autoptr(secret) token = secret_new("0123456789abcdefghijABCDEFGHIJ0123456789abc");
	uint8_t key[TLS_PSK_BYTES];
	g_autoptr(GString) text = g_string_new(NULL);
	struct uuid node;
	char identity[TLS_IDENTITY_MAX];

	tls_psk_of_token(token, key);
	for (size_t i = 0; i < sizeof(key); i++)
		g_string_append_printf(text, "%02x", key[i]);
	g_assert_cmpstr(text->str, ==, HKDF_TEXT);
	g_assert_true(uuid_parse("6d85703a-565d-469a-96ce-30b6de53079d", &node, NULL));
	tls_psk_identity(&node, 7, identity);
	g_assert_cmpstr(identity, ==, IDENTITY);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http/tls/the right pre-shared key opens the channel", test_psk);
	g_test_add_func("/http/tls/a wrong key, identity or server is not asked", test_psk_refused);
	g_test_add_func("/http/tls/a signature does not replace the pre-shared key",
			test_signature_instead);
	g_test_add_func("/http/tls/a pinned certificate opens the channel and no other",
			test_pinned);
	g_test_add_func("/http/tls/who changes keys without end is cut off", test_silent_flood);
	g_test_add_func("/http/tls/plain and TLS do not mix", test_wrong_protocol);
	g_test_add_func("/http/tls/key and identity have the agreed form", test_keys);
	return g_test_run();
}
