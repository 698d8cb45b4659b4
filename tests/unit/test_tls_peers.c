/* The dialer's client against the TLS servers that stock agents may have: OpenSSL's, with each kind of certificate,
 * version, suite and group. */
#include <glib.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_session.h"

#define TURNS 20

struct kind {
	const char *name;
	const char *key, *detail; /* of the certificate: EC and its curve, RSA and its bits */
	int least, most;          /* versions */
	const char *suites;       /* of TLS 1.3; NULL: the server's own order */
	const char *ciphers;      /* of TLS 1.2 */
	const char *groups;
};

static EVP_PKEY *make_key(const struct kind *k)
{
	if (g_str_equal(k->key, "EC"))
		return EVP_EC_gen(k->detail);
	if (g_str_equal(k->key, "RSA"))
		return EVP_RSA_gen((unsigned)g_ascii_strtoull(k->detail, NULL, 10));
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, k->key, NULL);
	EVP_PKEY *key = NULL;

	g_assert_cmpint(EVP_PKEY_keygen_init(c), ==, 1);
	g_assert_cmpint(EVP_PKEY_keygen(c, &key), ==, 1);
	EVP_PKEY_CTX_free(c);
	return key;
}

static X509 *make_certificate(EVP_PKEY *key)
{
	X509 *c = X509_new();
	const EVP_MD *hash =
		EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448") ? NULL : EVP_sha256();

	g_assert_nonnull(X509_gmtime_adj(X509_getm_notBefore(c), 0));
	g_assert_nonnull(X509_gmtime_adj(X509_getm_notAfter(c), 3600));
	g_assert_cmpint(X509_set_pubkey(c, key), ==, 1);
	g_assert_cmpint(X509_sign(c, key, hash), >, 0);
	return c;
}

static SSL_CTX *make_server(const struct kind *k, char **ret_pin)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = make_key(k);
	X509 *certificate = make_certificate(key);
	g_autofree char *groups = g_strdup(k->groups);
	unsigned char *der = NULL;
	int length = i2d_X509(certificate, &der);

	*ret_pin = g_compute_checksum_for_data(G_CHECKSUM_SHA256, der, (gsize)length);
	OPENSSL_free(der);
	SSL_CTX_set_min_proto_version(context, k->least);
	SSL_CTX_set_max_proto_version(context, k->most);
	SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_dh_auto(context, 1);
	g_assert_cmpint(SSL_CTX_use_certificate(context, certificate), ==, 1);
	g_assert_cmpint(SSL_CTX_use_PrivateKey(context, key), ==, 1);
	if (k->suites)
		g_assert_cmpint(SSL_CTX_set_ciphersuites(context, k->suites), ==, 1);
	if (k->ciphers)
		g_assert_cmpint(SSL_CTX_set_cipher_list(context, k->ciphers), ==, 1);
	if (groups)
		g_assert_cmpint(SSL_CTX_set1_groups_list(context, groups), ==, 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return context;
}

/* 1: it is done, 0: it waits for the other side, -1: it gave up */
static int shake(SSL *ssl, int (*turn)(SSL *ssl))
{
	int r = turn(ssl);

	if (r == 1)
		return 1;
	return SSL_get_error(ssl, r) == SSL_ERROR_WANT_READ ? 0 : -1;
}

static bool open_channel(SSL *client, SSL *server)
{
	int c = 0, s = 0;

	for (int i = 0; i < TURNS && c >= 0 && s >= 0 && (c != 1 || s != 1); i++) {
		c = shake(client, SSL_connect);
		s = shake(server, SSL_accept);
	}
	return c == 1 && s == 1;
}

static void assert_talks(SSL *from, SSL *to)
{
	char text[8] = "";

	g_assert_cmpint(SSL_write(from, "hello", 5), ==, 5);
	g_assert_cmpint(SSL_read(to, text, sizeof(text)), ==, 5);
	g_assert_cmpstr(text, ==, "hello");
}

/* What they agreed on, as "TLSv1.3 SUITE GROUP"; NULL if they did not. */
static char *meet(const struct kind *k)
{
	g_autofree char *pin = NULL;
	SSL_CTX *context = make_server(k, &pin);
	struct tls_client *client = tls_client_new();
	SSL *from = tls_client_pinned_session(client), *to = SSL_new(context);
	char *agreed = NULL;
	int fds[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), ==, 0);
	SSL_set_fd(from, fds[0]);
	SSL_set_fd(to, fds[1]);
	if (open_channel(from, to)) {
		g_autofree char *other = g_strnfill(64, '0');

		g_assert_true(tls_client_check(from, pin, NULL));
		g_assert_false(tls_client_check(from, other, NULL));
		assert_talks(from, to);
		assert_talks(to, from);
		agreed = g_strdup_printf("%s %s %s", SSL_get_version(to), SSL_get_cipher(to),
					 OBJ_nid2sn((int)SSL_get_negotiated_group(to)));
	}
	SSL_free(from);
	SSL_free(to);
	SSL_CTX_free(context);
	tls_client_free(client);
	close(fds[0]);
	close(fds[1]);
	ERR_clear_error();
	return agreed;
}

#define TLS13 TLS1_3_VERSION
#define TLS12 TLS1_2_VERSION

static void test_taken(void)
{
	static const struct {
		struct kind kind;
		const char *agreed;
	} cases[] = {
		{{"usual", "EC", "P-256", TLS12, TLS13, NULL, NULL, NULL},
		 "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"},
		{{"curve", "EC", "P-384", TLS12, TLS13, NULL, NULL, NULL},
		 "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"},
		{{"large curve", "EC", "P-521", TLS12, TLS13, NULL, NULL, NULL},
		 "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"},
		{{"RSA", "RSA", "2048", TLS12, TLS13, NULL, NULL, NULL},
		 "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"},
		{{"RSA for PSS alone", "RSA-PSS", NULL, TLS12, TLS13, NULL, NULL, NULL},
		 "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"},
		{{"Edwards", "ED25519", NULL, TLS12, TLS13, NULL, NULL, NULL},
		 "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"},
		{{"short", "EC", "P-256", TLS13, TLS13, "TLS_AES_128_GCM_SHA256", NULL, NULL},
		 "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519"},
		{{"ChaCha", "EC", "P-256", TLS13, TLS13, "TLS_CHACHA20_POLY1305_SHA256", NULL,
		  NULL},
		 "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256 X25519"},
		/* They ask the client for another share (RFC 8446, 4.1.4). */
		{{"no X25519", "EC", "P-256", TLS13, TLS13, NULL, NULL, "P-256"},
		 "TLSv1.3 TLS_AES_256_GCM_SHA384 prime256v1"},
		{{"P-384 alone", "RSA", "3072", TLS13, TLS13, NULL, NULL, "P-384"},
		 "TLSv1.3 TLS_AES_256_GCM_SHA384 secp384r1"},
		{{"old", "EC", "P-256", TLS12, TLS12, NULL, NULL, NULL},
		 "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 X25519"},
		{{"old RSA", "RSA", "2048", TLS12, TLS12, NULL, "ECDHE-RSA-AES128-GCM-SHA256",
		  "P-256"},
		 "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 prime256v1"},
		{{"old ChaCha", "RSA", "2048", TLS12, TLS12, NULL, "ECDHE-RSA-CHACHA20-POLY1305",
		  NULL},
		 "TLSv1.2 ECDHE-RSA-CHACHA20-POLY1305 X25519"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *agreed = meet(&cases[i].kind);

		g_test_message("%s: %s", cases[i].kind.name, agreed ? agreed : "nothing");
		g_assert_cmpstr(agreed, ==, cases[i].agreed);
	}
}

/* No forward secrecy, no authenticated encryption, other kinds of keys and groups. */
static void test_refused(void)
{
	static const struct kind cases[] = {
		{"key transport", "RSA", "2048", TLS12, TLS12, NULL, "AES128-GCM-SHA256", NULL},
		{"CBC", "RSA", "2048", TLS12, TLS12, NULL, "ECDHE-RSA-AES128-SHA", NULL},
		{"finite field", "RSA", "2048", TLS12, TLS12, NULL, "DHE-RSA-AES128-GCM-SHA256",
		 NULL},
		{"Edwards 448", "ED448", NULL, TLS12, TLS13, NULL, NULL, NULL},
		{"X448 alone", "EC", "P-256", TLS13, TLS13, NULL, NULL, "X448"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *agreed = meet(&cases[i]);

		g_test_message("%s: %s", cases[i].name, agreed ? agreed : "nothing");
		g_assert_null(agreed);
	}
}

/* The whole list: what is not offered cannot be chosen, by whatever server. */
static void test_offered(void)
{
	static const char expected[] =
		"TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256 TLS_AES_128_GCM_SHA256 "
		"ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384 "
		"ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256 "
		"ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305 ";
	struct tls_client *client = tls_client_new();
	SSL *ssl = tls_client_pinned_session(client);
	STACK_OF(SSL_CIPHER) *offered = SSL_get1_supported_ciphers(ssl);
	g_autoptr(GString) names = g_string_new(NULL);

	for (int i = 0; i < sk_SSL_CIPHER_num(offered); i++)
		g_string_append_printf(names, "%s ",
				       SSL_CIPHER_get_name(sk_SSL_CIPHER_value(offered, i)));
	g_assert_cmpstr(names->str, ==, expected);
	sk_SSL_CIPHER_free(offered);
	SSL_free(ssl);
	tls_client_free(client);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/tls/peers/a pinned certificate of any usual kind opens the channel",
			test_taken);
	g_test_add_func("/tls/peers/these suites are offered and no others", test_offered);
	g_test_add_func("/tls/peers/what is weak or rare is refused", test_refused);
	return g_test_run();
}
