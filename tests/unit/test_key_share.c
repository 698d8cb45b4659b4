#include "tls_provider.h"

#include <glib.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#define SHARE      32
#define HANDSHAKES 10000 /* that one pair is for */

static EVP_PKEY *make(OSSL_LIB_CTX *library, uint8_t ret_share[static SHARE])
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(library, "X25519", NULL);
	unsigned char *share = NULL;
	EVP_PKEY *key = NULL;

	g_assert_cmpint(EVP_PKEY_keygen_init(c), ==, 1);
	g_assert_cmpint(EVP_PKEY_CTX_set_group_name(c, "X25519"), ==, 1);
	g_assert_cmpint(EVP_PKEY_keygen(c, &key), ==, 1);
	EVP_PKEY_CTX_free(c);
	g_assert_cmpuint(EVP_PKEY_get1_encoded_public_key(key, &share), ==, SHARE);
	memcpy(ret_share, share, SHARE);
	OPENSSL_free(share);
	return key;
}

/* As a handshake does it: an empty key with the parameters of the own one gets the peer's share. */
static EVP_PKEY *peer_of(EVP_PKEY *own, const uint8_t *share, size_t length)
{
	EVP_PKEY *peer = EVP_PKEY_new();

	g_assert_cmpint(EVP_PKEY_copy_parameters(peer, own), ==, 1);
	if (EVP_PKEY_set1_encoded_public_key(peer, share, length) == 1)
		return peer;
	EVP_PKEY_free(peer);
	return NULL;
}

static bool derive(OSSL_LIB_CTX *library, EVP_PKEY *own, EVP_PKEY *peer,
		   uint8_t secret[static SHARE])
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(library, own, NULL);
	size_t length = 0;
	bool good = EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_derive_set_peer(c, peer) == 1 &&
		    EVP_PKEY_derive(c, NULL, &length) == 1 && length == SHARE &&
		    EVP_PKEY_derive(c, secret, &length) == 1;

	EVP_PKEY_CTX_free(c);
	ERR_clear_error();
	return good;
}

static void test_same(void)
{
	struct tls_provider *t = tls_provider_new(TLS_PEERS_WITH_KEYS);
	OSSL_LIB_CTX *library = tls_provider_peek_library(t);
	uint8_t first[SHARE], share[SHARE];
	unsigned used = 1, least = HANDSHAKES;

	EVP_PKEY_free(make(library, first));
	/* On a busy machine a pair may end by its age first: then it had fewer. */
	gint64 begun = g_get_monotonic_time();

	do {
		EVP_PKEY_free(make(library, share));
	} while (memcmp(first, share, SHARE) == 0 && ++used <= HANDSHAKES);
	if (g_get_monotonic_time() - begun > G_USEC_PER_SEC / 2)
		least = 2;
	g_assert_cmpuint(used, >=, least);
	g_assert_cmpint(memcmp(first, share, SHARE), !=, 0);
	tls_provider_free(t);
}

static void test_age(void)
{
	struct tls_provider *t = tls_provider_new(TLS_PEERS_WITH_KEYS);
	OSSL_LIB_CTX *library = tls_provider_peek_library(t);
	uint8_t first[SHARE], share[SHARE];
	gint64 begun = g_get_monotonic_time(), took;
	EVP_PKEY *kept = make(library, first);

	do {
		g_usleep(20000);
		EVP_PKEY_free(make(library, share));
		took = g_get_monotonic_time() - begun;
	} while (memcmp(first, share, SHARE) == 0 && took < 10 * G_USEC_PER_SEC);
	g_assert_cmpint(memcmp(first, share, SHARE), !=, 0);
	g_assert_cmpint(took, >=, G_USEC_PER_SEC);
	EVP_PKEY_free(kept);
	tls_provider_free(t);
}

static void test_secret(void)
{
	struct tls_provider *t = tls_provider_new(TLS_PEERS_WITH_KEYS);
	OSSL_LIB_CTX *library = tls_provider_peek_library(t);
	uint8_t own_share[SHARE], other_share[SHARE], secret[SHARE], expected[SHARE];
	size_t length = SHARE;
	EVP_PKEY *own = make(library, own_share), *other = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");

	g_assert_cmpint(EVP_PKEY_get_raw_public_key(other, other_share, &length), ==, 1);
	EVP_PKEY *peer = peer_of(own, other_share, SHARE);
	EVP_PKEY *own_public = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, own_share, SHARE);

	g_assert_true(derive(library, own, peer, secret));
	g_assert_true(derive(NULL, other, own_public, expected));
	g_assert_cmpmem(secret, SHARE, expected, SHARE);
	/* A peer's key makes no secrets. */
	g_assert_false(derive(library, peer, own, secret));
	EVP_PKEY_free(own);
	EVP_PKEY_free(own_public);
	EVP_PKEY_free(other);
	EVP_PKEY_free(peer);
	tls_provider_free(t);
}

static void test_bad_shares(void)
{
	struct tls_provider *t = tls_provider_new(TLS_PEERS_WITH_KEYS);
	OSSL_LIB_CTX *library = tls_provider_peek_library(t);
	uint8_t own_share[SHARE], secret[SHARE];
	static const uint8_t low_orders[][SHARE] = {{0}, {1}};
	EVP_PKEY *own = make(library, own_share);

	for (size_t i = 0; i < G_N_ELEMENTS(low_orders); i++) {
		EVP_PKEY *peer = peer_of(own, low_orders[i], SHARE);

		g_assert_false(derive(library, own, peer, secret));
		EVP_PKEY_free(peer);
	}
	g_assert_null(peer_of(own, own_share, SHARE - 1));
	g_assert_null(peer_of(own, own_share, 0));
	/* The pair is not to be changed by what comes from outside. */
	g_assert_cmpint(EVP_PKEY_set1_encoded_public_key(own, low_orders[1], SHARE), !=, 1);
	ERR_clear_error();
	EVP_PKEY_free(own);
	tls_provider_free(t);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/key share/handshakes of a moment use one pair, and only so many",
			test_same);
	g_test_add_func("/key share/a pair is used for a second", test_age);
	g_test_add_func("/key share/the secret is that of X25519", test_secret);
	g_test_add_func("/key share/bad shares of a peer are refused", test_bad_shares);
	return g_test_run();
}
