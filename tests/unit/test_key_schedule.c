#include <glib.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdbool.h>
#include <string.h>

#include "tls_provider.h"

#define HASH      32 /* bytes of SHA-256 */
#define HASH_MOST 48 /* of SHA-384 */
#define ROUNDS    4000

struct piece {
	uint8_t *data; /* NULL: the parameter is left out */
	size_t length;
};

struct wish {
	int mode;
	const char *digest;
	const char *label;
	struct piece key, salt, data;
};

static OSSL_LIB_CTX *library;

static OSSL_PARAM piece_param(const char *name, const struct piece *p)
{
	return OSSL_PARAM_construct_octet_string(name, p->data, p->length);
}

/* The way in which OpenSSL's TLS asks. */
static bool derive(OSSL_LIB_CTX *l, const struct wish *w, uint8_t *out, size_t length)
{
	EVP_KDF *kdf = EVP_KDF_fetch(l, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	EVP_KDF_CTX *c = EVP_KDF_CTX_new(kdf);
	static char prefix[] = "tls13 ";
	g_autofree char *digest = g_strdup(w->digest), *label = g_strdup(w->label);
	OSSL_PARAM params[8], *p = params;
	int mode = w->mode;

	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	if (w->key.data)
		*p++ = piece_param(OSSL_KDF_PARAM_KEY, &w->key);
	if (w->salt.data)
		*p++ = piece_param(OSSL_KDF_PARAM_SALT, &w->salt);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, strlen(prefix));
	if (w->label)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, label,
							 strlen(label));
	if (w->data.data)
		*p++ = piece_param(OSSL_KDF_PARAM_DATA, &w->data);
	*p = OSSL_PARAM_construct_end();
	bool good = EVP_KDF_derive(c, out, length, params) == 1;

	EVP_KDF_CTX_free(c);
	EVP_KDF_free(kdf);
	ERR_clear_error();
	return good;
}

static void read_hex(const char *text, uint8_t *out)
{
	for (; *text; text += 2)
		*out++ = (uint8_t)(g_ascii_xdigit_value(text[0]) << 4 |
				   g_ascii_xdigit_value(text[1]));
}

static void assert_is(const uint8_t *got, size_t length, const char *expected)
{
	uint8_t bytes[HASH];

	g_assert_cmpuint(strlen(expected), ==, 2 * length);
	read_hex(expected, bytes);
	g_assert_cmpint(memcmp(got, bytes, length), ==, 0);
}

/* RFC 8448, 3: the secrets of a simple handshake. */
static void test_published(void)
{
	uint8_t early[HASH], agreed[HASH], handshake[HASH], hash[HASH], traffic[HASH], key[16],
		iv[12];
	struct wish w = {
		.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .digest = "SHA2-256", .label = "derived"};

	g_assert_true(derive(library, &w, early, HASH));
	assert_is(early, HASH, "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
	read_hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d", agreed);
	w.salt = (struct piece){early, HASH};
	w.key = (struct piece){agreed, HASH};
	g_assert_true(derive(library, &w, handshake, HASH));
	assert_is(handshake, HASH,
		  "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
	read_hex("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8", hash);
	w = (struct wish){.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY,
			  .digest = "SHA2-256",
			  .label = "s hs traffic",
			  .key = {handshake, HASH},
			  .data = {hash, HASH}};
	g_assert_true(derive(library, &w, traffic, HASH));
	assert_is(traffic, HASH,
		  "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
	w = (struct wish){.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY,
			  .digest = "SHA2-256",
			  .label = "key",
			  .key = {traffic, HASH}};
	g_assert_true(derive(library, &w, key, sizeof(key)));
	assert_is(key, sizeof(key), "3fce516009c21727d0f2e4e86ee403bc");
	w.label = "iv";
	g_assert_true(derive(library, &w, iv, sizeof(iv)));
	assert_is(iv, sizeof(iv), "5d313eb2671276ee13000b30");
}

static struct piece random_piece(uint8_t bytes[static HASH_MOST], size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)g_test_rand_int_range(0, 256);
	return g_test_rand_int_range(0, 4) ? (struct piece){bytes, length}
					   : (struct piece){NULL, 0};
}

static void test_same(void)
{
	static const char *const labels[] = {
		"derived",      "key",
		"iv",           "finished",
		"c hs traffic", "a label that is rather long for the key schedule of TLS"};
	static const struct {
		const char *digest;
		size_t size;
	} hashes[] = {{"SHA2-256", 32}, {"SHA256", 32}, {"SHA2-384", 48}, {"SHA384", 48}};
	uint8_t key[HASH_MOST], salt[HASH_MOST], data[HASH_MOST], got[HASH_MOST],
		expected[HASH_MOST];
	unsigned derived[G_N_ELEMENTS(hashes)] = {0};

	for (int i = 0; i < ROUNDS; i++) {
		bool extracts = g_test_rand_int_range(0, 2);
		size_t which = (size_t)i % G_N_ELEMENTS(hashes), size = hashes[which].size;
		size_t length = extracts ? size : (size_t)g_test_rand_int_range(1, (int)size + 1);
		struct wish w = {
			.mode = extracts ? EVP_KDF_HKDF_MODE_EXTRACT_ONLY
					 : EVP_KDF_HKDF_MODE_EXPAND_ONLY,
			.digest = hashes[which].digest,
			.label = labels[g_test_rand_int_range(0, (int)G_N_ELEMENTS(labels))],
			.key = random_piece(key, size),
			.salt = random_piece(salt, size),
			.data = random_piece(data,
					     (size_t)g_test_rand_int_range(1, (int)size + 1))};
		bool good = derive(library, &w, got, length);

		g_assert_cmpint(good, ==, derive(NULL, &w, expected, length));
		if (good)
			g_assert_cmpint(memcmp(got, expected, length), ==, 0);
		derived[which] += good;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(hashes); i++)
		g_assert_cmpuint(derived[i], >, ROUNDS / 2 / G_N_ELEMENTS(hashes));
}

static void test_refused(void)
{
	uint8_t key[HASH] = {0}, big[300] = {0}, out[2 * HASH];
	g_autofree char *long_label = g_strnfill(250, 'x');
	const struct wish good = {.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY,
				  .digest = "SHA2-256",
				  .label = "key",
				  .key = {key, HASH}};
	struct wish w = good;

	g_assert_true(derive(library, &w, out, HASH));
	g_assert_false(derive(library, &w, out, HASH + 1));
	w.digest = "SHA2-512";
	g_assert_false(derive(library, &w, out, HASH));
	w.digest = "SHA2-384";
	g_assert_true(derive(library, &w, out, HASH_MOST));
	g_assert_false(derive(library, &w, out, HASH_MOST + 1));
	w = good, w.label = NULL;
	g_assert_false(derive(library, &w, out, HASH));
	w = good, w.label = long_label;
	g_assert_false(derive(library, &w, out, HASH));
	w = good, w.data = (struct piece){big, 256};
	g_assert_false(derive(library, &w, out, HASH));
	w = good, w.key = (struct piece){big, 65};
	g_assert_false(derive(library, &w, out, HASH));
	w = good, w.key.data = NULL;
	g_assert_false(derive(library, &w, out, HASH));
	w = good, w.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
	g_assert_false(derive(library, &w, out, HASH));
	w.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
	g_assert_false(derive(library, &w, out, HASH - 1));
}

/* What handshakes walk stays short. */
static void test_few(void)
{
	EVP_MD *sha256 = EVP_MD_fetch(library, "SHA256", NULL);
	EVP_MD *md5 = EVP_MD_fetch(library, "MD5", NULL);

	g_assert_nonnull(sha256);
	g_assert_null(md5);
	EVP_MD_free(sha256);
	ERR_clear_error();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	struct tls_provider *t = tls_provider_new(TLS_PEERS_WITH_KEYS);

	library = tls_provider_peek_library(t);
	g_test_add_func("/key schedule/the secrets of a published handshake", test_published);
	g_test_add_func("/key schedule/any secret is the one that OpenSSL derives", test_same);
	g_test_add_func("/key schedule/what TLS does not ask for is refused", test_refused);
	g_test_add_func("/key schedule/the library context has a few algorithms only", test_few);
	int result = g_test_run();

	tls_provider_free(t);
	return result;
}
