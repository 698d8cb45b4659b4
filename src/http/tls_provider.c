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
	static int tls13 = TLS1_3_VERSION, none = -1;
	static const OSSL_PARAM group[] = {
		OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME, tls_name, sizeof(tls_name)),
		OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, name, sizeof(name)),
		OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_ALG, name, sizeof(name)),
		OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &id),
		OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, &security_bits),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &tls13),
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
static const struct {
	int operation;
	const char *names[FEW];
} few[] = {
	{OSSL_OP_DIGEST, {"SHA2-256"}},
	{OSSL_OP_CIPHER, {"AES-128-GCM"}},
	{OSSL_OP_MAC, {"HMAC"}},
	{OSSL_OP_RAND, {"CTR-DRBG", "SEED-SRC"}},
	{OSSL_OP_KEYMGMT, {"HMAC", "ED25519"}},
	/* A client has to offer a signature, although a server with a pre-shared key makes none. */
	{OSSL_OP_SIGNATURE, {"HMAC", "ED25519", "ECDSA"}},
};

static OSSL_PROVIDER *usual; /* in the usual library context, for the whole life of the program */

static bool is_named(const OSSL_ALGORITHM *a, const char *name)
{
	size_t length = strcspn(a->algorithm_names, ":");

	return strlen(name) == length && g_ascii_strncasecmp(name, a->algorithm_names, length) == 0;
}

static const OSSL_ALGORITHM *find(const OSSL_ALGORITHM *all, const char *name)
{
	for (; all && all->algorithm_names; all++)
		if (is_named(all, name))
			return all;
	return NULL;
}

static const OSSL_ALGORITHM *few_query(void *provider, int operation, int *ret_no_cache)
{
	static OSSL_ALGORITHM tables[G_N_ELEMENTS(few)][FEW + 1];
	size_t i = 0, count = 0;

	(void)provider;
	while (i < G_N_ELEMENTS(few) && few[i].operation != operation)
		i++;
	*ret_no_cache = 0;
	if (i == G_N_ELEMENTS(few))
		return NULL;
	const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(usual, operation, ret_no_cache);

	for (size_t k = 0; k < FEW && few[i].names[k]; k++) {
		const OSSL_ALGORITHM *found = find(all, few[i].names[k]);

		if (found)
			tables[i][count++] = *found;
	}
	return tables[i];
}

static int few_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
		    const OSSL_DISPATCH **ret_calls, void **ret_provider)
{
	static const OSSL_DISPATCH calls[] = {
		TLS_PROVIDER_CALL(OSSL_FUNC_PROVIDER_QUERY_OPERATION, few_query), TLS_PROVIDER_END};

	(void)handle;
	(void)in;
	*ret_calls = calls;
	*ret_provider = OSSL_PROVIDER_get0_provider_ctx(usual);
	return 1;
}

struct tls_provider {
	OSSL_LIB_CTX *library;
	OSSL_PROVIDER *own, *few;
};

struct tls_provider *tls_provider_new(void)
{
	struct tls_provider *t = g_new0(struct tls_provider, 1);

	/* OpenSSL's table of names from before there were providers would be added to each library context.  Whoever
	 * asks for an algorithm by its name finds it all the same. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS,
			    NULL);
	if (!usual)
		usual = OSSL_PROVIDER_load(NULL, "default");
	t->library = OSSL_LIB_CTX_new();
	if (usual && t->library && OSSL_PROVIDER_add_builtin(t->library, "inox", provider_init) &&
	    OSSL_PROVIDER_add_builtin(t->library, "few", few_init)) {
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
