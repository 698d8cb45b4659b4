#include "tls_provider.h"

#include <glib.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/prov_ssl.h>
#include <openssl/provider.h>
#include <stdbool.h>
#include <string.h>

#include "key_schedule.h"
#include "key_share.h"
#include "provider_calls.h"

#define SECURITY_BITS 128 /* of X25519 */

static const OSSL_ALGORITHM *provider_query(void *provider, int operation, int *ret_no_cache)
{
	static const OSSL_ALGORITHM keys[] = {
		{"X25519", "", key_share_key_calls, "X25519 with a shared pair"}, {0}};
	static const OSSL_ALGORITHM exchanges[] = {
		{"X25519", "", key_share_exchange_calls, "X25519 with a shared pair"}, {0}};
	static const OSSL_ALGORITHM derivations[] = {
		{"TLS13-KDF", "", key_schedule_calls, "key schedule of TLS 1.3"}, {0}};

	(void)provider;
	*ret_no_cache = 0;
	switch (operation) {
	case OSSL_OP_KEYMGMT: return keys;
	case OSSL_OP_KEYEXCH: return exchanges;
	case OSSL_OP_KDF: return derivations;
	default: return NULL;
	}
}

/* A group of TLS is used only with the provider that names it (RFC 8446, 4.2.7). */
static int provider_capabilities(void *provider, const char *capability, OSSL_CALLBACK *add,
				 void *arg)
{
	static char tls_name[] = "x25519", name[] = "X25519"; /* OSSL_PARAM knows no const */
	static unsigned id = 0x1d, security_bits = SECURITY_BITS;
	static int tls12 = TLS1_2_VERSION, tls13 = TLS1_3_VERSION, none = -1;
	static const OSSL_PARAM group[] = {
		OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME, tls_name, sizeof(tls_name)),
		OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, name, sizeof(name)),
		OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_ALG, name, sizeof(name)),
		OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &id),
		OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, &security_bits),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &tls12),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &tls13),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &none),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &none),
		OSSL_PARAM_END};

	(void)provider;
	return g_ascii_strcasecmp(capability, "TLS-GROUP") != 0 || add(group, arg);
}

static void provider_end(void *key_share)
{
	key_share_free(key_share);
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
			 const OSSL_DISPATCH **ret_calls, void **ret_provider)
{
	static const OSSL_DISPATCH calls[] = {
		TLS_PROVIDER_CALL(OSSL_FUNC_PROVIDER_TEARDOWN, provider_end),
		TLS_PROVIDER_CALL(OSSL_FUNC_PROVIDER_QUERY_OPERATION, provider_query),
		TLS_PROVIDER_CALL(OSSL_FUNC_PROVIDER_GET_CAPABILITIES, provider_capabilities),
		TLS_PROVIDER_END};

	(void)handle;
	(void)in;
	*ret_calls = calls;
	*ret_provider = key_share_new();
	return 1;
}

/* ---- the few algorithms of the default provider */

#define FEW 5

/* Each handshake walks the names of all algorithms that its library context knows, about ten times: with the
 * default provider they are a thousand, spread over the memory.  These do not stand twice, so nobody has to
 * choose between providers. */
struct few {
	int operation;
	const char *names[FEW];
	const char *property; /* one of those that the right one has; NULL: the name says all */
};

#define OPERATIONS 9

static const struct few few_of[][OPERATIONS] = {
	[TLS_PEERS_WITH_KEYS] =
		{
			{OSSL_OP_DIGEST, {"SHA2-256"}, NULL},
			{OSSL_OP_CIPHER, {"AES-128-GCM"}, NULL},
			{OSSL_OP_MAC, {"HMAC"}, NULL},
			{OSSL_OP_RAND, {"CTR-DRBG", "SEED-SRC"}, NULL},
			{OSSL_OP_KEYMGMT, {"HMAC", "ED25519"}, NULL},
			/* A client has to offer a signature, although a server with a pre-shared key
			 * makes none. */
			{OSSL_OP_SIGNATURE, {"HMAC", "ED25519", "ECDSA"}, NULL},
		},
	[TLS_PEERS_WITH_CERTIFICATES] =
		{
			/* SHA-1 names certificates in OpenSSL's own structures. */
			{OSSL_OP_DIGEST, {"SHA2-256", "SHA2-384", "SHA2-512", "SHA1"}, NULL},
			{OSSL_OP_CIPHER, {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"}, NULL},
			{OSSL_OP_MAC, {"HMAC"}, NULL},
			{OSSL_OP_KDF, {"TLS1-PRF"}, NULL},
			{OSSL_OP_RAND, {"CTR-DRBG", "SEED-SRC"}, NULL},
			{OSSL_OP_KEYMGMT, {"HMAC", "EC", "RSA", "RSA-PSS", "ED25519"}, NULL},
			{OSSL_OP_KEYEXCH, {"ECDH"}, NULL},
			{OSSL_OP_SIGNATURE, {"HMAC", "ECDSA", "RSA", "ED25519"}, NULL},
			/* To find the right one of all decoders is what OpenSSL takes longest for in
			 * a handshake. */
			{OSSL_OP_DECODER,
			 {"EC", "RSA", "RSA-PSS", "ED25519"},
			 "structure=SubjectPublicKeyInfo"},
		},
};

static OSSL_PROVIDER *usual; /* in the usual library context, for the whole life of the program */

static bool is_named(const OSSL_ALGORITHM *a, const char *name)
{
	size_t length = strcspn(a->algorithm_names, ":");

	return strlen(name) == length && g_ascii_strncasecmp(name, a->algorithm_names, length) == 0;
}

static const OSSL_ALGORITHM *find(const OSSL_ALGORITHM *all, const char *name, const char *property)
{
	for (; all && all->algorithm_names; all++)
		if (is_named(all, name) &&
		    (!property || strstr(all->property_definition, property)))
			return all;
	return NULL;
}

static const OSSL_ALGORITHM *few_query(enum tls_peers peers, int operation, int *ret_no_cache)
{
	static OSSL_ALGORITHM tables[G_N_ELEMENTS(few_of)][OPERATIONS][FEW + 1];
	const struct few *few = few_of[peers];
	size_t i = 0, count = 0;

	while (i < OPERATIONS && few[i].operation != operation)
		i++;
	*ret_no_cache = 0;
	if (i == OPERATIONS)
		return NULL;
	const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(usual, operation, ret_no_cache);

	for (size_t k = 0; k < FEW && few[i].names[k]; k++) {
		const OSSL_ALGORITHM *found = find(all, few[i].names[k], few[i].property);

		if (found)
			tables[peers][i][count++] = *found;
	}
	return tables[peers][i];
}

/* The algorithms are called with the default provider's context, so there is no place for one of our own: a function
 * for each kind of peer. */
static const OSSL_ALGORITHM *query_for_keys(void *provider, int operation, int *ret_no_cache)
{
	(void)provider;
	return few_query(TLS_PEERS_WITH_KEYS, operation, ret_no_cache);
}

static const OSSL_ALGORITHM *query_for_certificates(void *provider, int operation,
						    int *ret_no_cache)
{
	(void)provider;
	return few_query(TLS_PEERS_WITH_CERTIFICATES, operation, ret_no_cache);
}

/* ---- its groups: for peers with certificates, that may not know X25519 */

struct offer {
	OSSL_CALLBACK *add;
	void *arg;
};

static int add_if_wanted(const OSSL_PARAM group[], void *arg)
{
	static const char *const wanted[] = {"secp256r1", "secp384r1"};
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(group, OSSL_CAPABILITY_TLS_GROUP_NAME);
	const struct offer *offer = arg;
	const char *name = NULL;

	if (!p || !OSSL_PARAM_get_utf8_string_ptr(p, &name))
		return 0;
	for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
		if (strcmp(name, wanted[i]) == 0)
			return offer->add(group, offer->arg);
	return 1;
}

static int groups_for_certificates(void *provider, const char *capability, OSSL_CALLBACK *add,
				   void *arg)
{
	struct offer offer = {add, arg};

	(void)provider;
	return OSSL_PROVIDER_get_capabilities(usual, capability, add_if_wanted, &offer);
}

static int few_init(const OSSL_DISPATCH *calls, const OSSL_DISPATCH **ret_calls,
		    void **ret_provider)
{
	*ret_calls = calls;
	*ret_provider = OSSL_PROVIDER_get0_provider_ctx(usual);
	return 1;
}

static int few_init_for_keys(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
			     const OSSL_DISPATCH **ret_calls, void **ret_provider)
{
	static const OSSL_DISPATCH calls[] = {
		TLS_PROVIDER_CALL(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query_for_keys),
		TLS_PROVIDER_END};

	(void)handle;
	(void)in;
	return few_init(calls, ret_calls, ret_provider);
}

static int few_init_for_certificates(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
				     const OSSL_DISPATCH **ret_calls, void **ret_provider)
{
	static const OSSL_DISPATCH calls[] = {
		TLS_PROVIDER_CALL(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query_for_certificates),
		TLS_PROVIDER_CALL(OSSL_FUNC_PROVIDER_GET_CAPABILITIES, groups_for_certificates),
		TLS_PROVIDER_END};

	(void)handle;
	(void)in;
	return few_init(calls, ret_calls, ret_provider);
}

struct tls_provider {
	OSSL_LIB_CTX *library;
	OSSL_PROVIDER *own, *few;
};

struct tls_provider *tls_provider_new(enum tls_peers peers)
{
	static OSSL_provider_init_fn *const init_of[] = {
		[TLS_PEERS_WITH_KEYS] = few_init_for_keys,
		[TLS_PEERS_WITH_CERTIFICATES] = few_init_for_certificates,
	};
	struct tls_provider *t = g_new0(struct tls_provider, 1);

	/* OpenSSL's table of names from before there were providers would be added to each library context.  Whoever
	 * asks for an algorithm by its name finds it all the same. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS,
			    NULL);
	if (!usual)
		usual = OSSL_PROVIDER_load(NULL, "default");
	t->library = OSSL_LIB_CTX_new();
	if (usual && t->library && OSSL_PROVIDER_add_builtin(t->library, "inox", provider_init) &&
	    OSSL_PROVIDER_add_builtin(t->library, "few", init_of[peers])) {
		t->own = OSSL_PROVIDER_load(t->library, "inox");
		t->few = OSSL_PROVIDER_load(t->library, "few");
	}
	if (!t->own || !t->few)
		g_error("OpenSSL cannot load the providers of TLS");
	return t;
}

OSSL_LIB_CTX *tls_provider_peek_library(const struct tls_provider *t)
{
	return t->library;
}

void tls_provider_free(struct tls_provider *t)
{
	if (!t)
		return;
	OSSL_PROVIDER_unload(t->own);
	OSSL_PROVIDER_unload(t->few);
	OSSL_LIB_CTX_free(t->library);
	g_free(t);
}
