#include "key_share.h"

#include <glib.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "clocks.h"
#include "provider_calls.h"

#define SHARE         32 /* bytes of a public key and of a shared secret (RFC 7748) */
#define BITS          253
#define SECURITY_BITS 128
#define LIFE          SPAN_SECONDS(1)
#define HANDSHAKES    10000 /* of one pair */

/* A pair of keys, and what makes secrets with it. */
struct pair {
	unsigned refs;
	EVP_PKEY *key;
	EVP_PKEY *peer; /* of the present exchange: making one costs more than changing one */
	EVP_PKEY_CTX *derive;
	uint8_t share[SHARE];
	struct mono made;
	unsigned used;
};

struct key_share {
	struct pair *pair; /* the present one, NULL before the first */
};

/* What OpenSSL holds as a key: a pair of ours, or the public key of a peer. */
struct key {
	struct pair *pair; /* NULL: a peer's */
	bool is_set;
	uint8_t share[SHARE];
};

/* ---- pairs */

static void pair_unref(struct pair *p)
{
	if (!p || --p->refs > 0)
		return;
	EVP_PKEY_CTX_free(p->derive);
	EVP_PKEY_free(p->peer);
	EVP_PKEY_free(p->key); /* wipes it */
	g_free(p);
}

static struct pair *pair_new(void)
{
	struct pair *p = g_new0(struct pair, 1);
	size_t length = SHARE;

	p->refs = 1;
	p->made = mono_now();
	p->key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	p->derive = p->key ? EVP_PKEY_CTX_new(p->key, NULL) : NULL;
	if (p->derive && EVP_PKEY_derive_init(p->derive) == 1 &&
	    EVP_PKEY_get_raw_public_key(p->key, p->share, &length) == 1 && length == SHARE)
		p->peer = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, p->share, SHARE);
	if (p->peer)
		return p;
	pair_unref(p);
	return NULL;
}

static bool is_worn(const struct pair *p)
{
	return !p || p->used >= HANDSHAKES || mono_reached(mono_add(p->made, LIFE), mono_now());
}

/* NULL if OpenSSL cannot make one. */
static struct pair *take_pair(struct key_share *k)
{
	if (is_worn(k->pair)) {
		pair_unref(k->pair);
		k->pair = pair_new();
	}
	if (!k->pair)
		return NULL;
	k->pair->used++;
	k->pair->refs++;
	return k->pair;
}

struct key_share *key_share_new(void)
{
	return g_new0(struct key_share, 1);
}

void key_share_free(struct key_share *k)
{
	if (!k)
		return;
	pair_unref(k->pair);
	g_free(k);
}

static bool pair_derive(struct pair *p, const uint8_t share[static SHARE],
			uint8_t ret_secret[static SHARE])
{
	size_t length = SHARE;

	/* OpenSSL refuses the shares that give a secret of zeros. */
	return EVP_PKEY_set1_encoded_public_key(p->peer, share, SHARE) == 1 &&
	       EVP_PKEY_derive_set_peer_ex(p->derive, p->peer, 0) == 1 &&
	       EVP_PKEY_derive(p->derive, ret_secret, &length) == 1 && length == SHARE;
}

/* ---- keys (provider-keymgmt(7)) */

static void *key_new(void *provider)
{
	(void)provider;
	return g_new0(struct key, 1);
}

static void key_free(void *key)
{
	struct key *k = key;

	if (k)
		pair_unref(k->pair);
	g_free(k);
}

/* X25519 has no parameters: whoever asks for those alone gets an empty key. */
static void *key_dup(const void *key, int selection)
{
	const struct key *from = key;
	struct key *k = key_new(NULL);

	if (!(selection & OSSL_KEYMGMT_SELECT_KEYPAIR))
		return k;
	*k = *from;
	if (k->pair)
		k->pair->refs++;
	return k;
}

static int key_has(const void *key, int selection)
{
	const struct key *k = key;

	if (!k || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY && !k->pair))
		return 0;
	return !(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) || k->is_set;
}

static int key_get_params(void *key, OSSL_PARAM params[])
{
	static const struct {
		const char *name;
		int value;
	} numbers[] = {{OSSL_PKEY_PARAM_BITS, BITS},
		       {OSSL_PKEY_PARAM_SECURITY_BITS, SECURITY_BITS},
		       {OSSL_PKEY_PARAM_MAX_SIZE, SHARE}};
	const struct key *k = key;
	OSSL_PARAM *p;

	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
		if ((p = OSSL_PARAM_locate(params, numbers[i].name)) &&
		    !OSSL_PARAM_set_int(p, numbers[i].value))
			return 0;
	p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);
	return !p || (k->is_set && OSSL_PARAM_set_octet_string(p, k->share, SHARE));
}

static const OSSL_PARAM *key_gettable_params(void *provider)
{
	static const OSSL_PARAM known[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
		OSSL_PARAM_END};

	(void)provider;
	return known;
}

static int key_set_params(void *key, const OSSL_PARAM params[])
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);
	struct key *k = key;

	if (!p)
		return 1;
	if (k->pair || p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size != SHARE)
		return 0;
	memcpy(k->share, p->data, SHARE);
	k->is_set = true;
	return 1;
}

static const OSSL_PARAM *key_settable_params(void *provider)
{
	static const OSSL_PARAM known[] = {
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
		OSSL_PARAM_END};

	(void)provider;
	return known;
}

struct generation {
	struct key_share *from;
	bool is_pair; /* else X25519's parameters are asked for, and there are none */
};

static void *generation_init(void *key_share, int selection, const OSSL_PARAM params[])
{
	struct generation *g = g_new0(struct generation, 1);

	(void)params;
	g->from = key_share;
	g->is_pair = selection & OSSL_KEYMGMT_SELECT_KEYPAIR;
	return g;
}

/* The group is named, and there is only one. */
static int generation_set_params(void *generation, const OSSL_PARAM params[])
{
	(void)generation;
	(void)params;
	return 1;
}

static const OSSL_PARAM *generation_settable_params(void *generation, void *provider)
{
	static const OSSL_PARAM known[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_END};

	(void)generation;
	(void)provider;
	return known;
}

static void *generation_carry_out(void *generation, OSSL_CALLBACK *progress, void *arg)
{
	const struct generation *g = generation;

	(void)progress;
	(void)arg;
	if (!g->is_pair)
		return key_new(NULL);
	struct pair *p = take_pair(g->from);

	if (!p)
		return NULL;
	struct key *k = key_new(NULL);

	k->pair = p;
	k->is_set = true;
	memcpy(k->share, p->share, SHARE);
	return k;
}

static void generation_end(void *generation)
{
	g_free(generation);
}

const OSSL_DISPATCH key_share_key_calls[] = {
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_NEW, key_new),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_FREE, key_free),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_DUP, key_dup),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_HAS, key_has),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable_params),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_SET_PARAMS, key_set_params),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, key_settable_params),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_GEN_INIT, generation_init),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, generation_set_params),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, generation_settable_params),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_GEN, generation_carry_out),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYMGMT_GEN_CLEANUP, generation_end),
	TLS_PROVIDER_END};

/* ---- exchange (provider-keyexch(7)) */

struct exchange {
	const struct key *own, *peer;
};

static void *exchange_new(void *provider)
{
	(void)provider;
	return g_new0(struct exchange, 1);
}

static void exchange_free(void *exchange)
{
	g_free(exchange);
}

static int exchange_init(void *exchange, void *key, const OSSL_PARAM params[])
{
	struct exchange *e = exchange;
	const struct key *own = key;

	(void)params;
	*e = (struct exchange){.own = own};
	return own && own->pair;
}

static int exchange_set_peer(void *exchange, void *key)
{
	struct exchange *e = exchange;

	e->peer = key;
	return e->peer && e->peer->is_set;
}

/* Asked first for the length alone. */
static int exchange_derive(void *exchange, unsigned char *secret, size_t *ret_length, size_t room)
{
	const struct exchange *e = exchange;

	*ret_length = SHARE;
	if (!secret)
		return 1;
	return e->own && e->peer && room >= SHARE &&
	       pair_derive(e->own->pair, e->peer->share, secret);
}

const OSSL_DISPATCH key_share_exchange_calls[] = {
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYEXCH_NEWCTX, exchange_new),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYEXCH_FREECTX, exchange_free),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYEXCH_INIT, exchange_init),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYEXCH_SET_PEER, exchange_set_peer),
	TLS_PROVIDER_CALL(OSSL_FUNC_KEYEXCH_DERIVE, exchange_derive),
	TLS_PROVIDER_END};
