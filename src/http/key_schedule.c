/* SHA-2 without the layer that can exchange it: that layer costs more than the hash of a few bytes. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "key_schedule.h"

#include <glib.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>

#include "provider_calls.h"

#define HASH_MOST  48  /* bytes of a hash */
#define BLOCK_MOST 128 /* bytes that a hash takes at a time */
#define LABEL_MOST 255 /* bytes of the label with its prefix, and of the context (RFC 8446, 7.1) */

struct piece {
	const void *data;
	size_t length;
};

/* ---- the two hashes of TLS 1.3's suites; they wipe what they worked with */

static void hash_sha256(const struct piece *pieces, size_t count, uint8_t *ret_hash)
{
	SHA256_CTX c;

	SHA256_Init(&c);
	for (size_t i = 0; i < count; i++)
		SHA256_Update(&c, pieces[i].data, pieces[i].length);
	SHA256_Final(ret_hash, &c);
}

static void hash_sha384(const struct piece *pieces, size_t count, uint8_t *ret_hash)
{
	SHA512_CTX c;

	SHA384_Init(&c);
	for (size_t i = 0; i < count; i++)
		SHA384_Update(&c, pieces[i].data, pieces[i].length);
	SHA384_Final(ret_hash, &c);
}

struct hash {
	const char *names[2];
	size_t size, block; /* bytes */
	void (*of)(const struct piece *pieces, size_t count, uint8_t *ret_hash);
};

static const struct hash hashes[] = {
	{{"SHA2-256", "SHA256"}, 32, 64, hash_sha256},
	{{"SHA2-384", "SHA384"}, HASH_MOST, BLOCK_MOST, hash_sha384},
};

static const struct hash *find_hash(const char *name)
{
	for (size_t i = 0; name && i < G_N_ELEMENTS(hashes); i++)
		for (size_t k = 0; k < G_N_ELEMENTS(hashes[i].names); k++)
			if (g_ascii_strcasecmp(name, hashes[i].names[k]) == 0)
				return &hashes[i];
	return NULL;
}

/* ---- HMAC and HKDF (RFC 2104, RFC 5869) */

/* What a caller wants derived. */
struct wish {
	int mode;
	const struct hash *hash;
	struct piece key, salt, prefix, label, data;
};

/* A key of up to a block. */
static bool hmac(const struct hash *h, const struct piece *key, const struct piece *text,
		 uint8_t *ret_mac)
{
	uint8_t pad[BLOCK_MOST], inner[HASH_MOST];
	const struct piece inside[] = {{pad, h->block}, *text},
			   outside[] = {{pad, h->block}, {inner, h->size}};

	if (key->length > h->block)
		return false;
	memset(pad, 0x36, sizeof(pad));
	for (size_t i = 0; i < key->length; i++)
		pad[i] ^= ((const uint8_t *)key->data)[i];
	h->of(inside, G_N_ELEMENTS(inside), inner);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	h->of(outside, G_N_ELEMENTS(outside), ret_mac);
	OPENSSL_cleanse(pad, sizeof(pad));
	OPENSSL_cleanse(inner, sizeof(inner));
	return true;
}

/* HKDF-Expand-Label (RFC 8446, 7.1): up to a hash's size. */
static bool expand_label(const struct wish *w, const struct piece *secret,
			 const struct piece *context, uint8_t *out, size_t length)
{
	uint8_t info[2 + 2 * (1 + LABEL_MOST) + 1], block[HASH_MOST], *at = info;
	size_t label = w->prefix.length + w->label.length;

	if (length > w->hash->size || w->prefix.length > LABEL_MOST ||
	    w->label.length > LABEL_MOST || label > LABEL_MOST || context->length > LABEL_MOST)
		return false;
	*at++ = 0;
	*at++ = (uint8_t)length;
	*at++ = (uint8_t)label;
	at = mempcpy(at, w->prefix.data, w->prefix.length);
	at = mempcpy(at, w->label.data, w->label.length);
	*at++ = (uint8_t)context->length;
	at = mempcpy(at, context->data, context->length);
	*at++ = 1; /* the first block of HKDF-Expand, and the only one */

	const struct piece text = {info, (size_t)(at - info)};
	bool good = hmac(w->hash, secret, &text, block);

	if (good)
		memcpy(out, block, length);
	OPENSSL_cleanse(block, sizeof(block));
	return good;
}

/* A step to the next secret of the schedule: key is what comes in, salt the secret before. */
static bool next_secret(const struct wish *w, uint8_t *out, size_t length)
{
	static const uint8_t zeros[HASH_MOST];
	const size_t size = w->hash->size;
	uint8_t nothing[HASH_MOST], derived[HASH_MOST];
	const struct piece context = {nothing, size};
	const struct piece in = w->key.data ? w->key : (struct piece){zeros, size};
	struct piece salt = {zeros, size};

	if (length != size)
		return false;
	if (w->salt.data) {
		w->hash->of(NULL, 0, nothing);
		if (!expand_label(w, &w->salt, &context, derived, size))
			return false;
		salt.data = derived;
	}
	bool good = hmac(w->hash, &salt, &in, out);

	OPENSSL_cleanse(derived, sizeof(derived));
	return good;
}

/* ---- what OpenSSL calls */

static bool take_param(struct wish *w, const OSSL_PARAM *p)
{
	const struct {
		const char *name;
		struct piece *piece;
	} pieces[] = {{OSSL_KDF_PARAM_KEY, &w->key},
		      {OSSL_KDF_PARAM_SALT, &w->salt},
		      {OSSL_KDF_PARAM_PREFIX, &w->prefix},
		      {OSSL_KDF_PARAM_LABEL, &w->label},
		      {OSSL_KDF_PARAM_DATA, &w->data}};

	for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++)
		if (strcmp(p->key, pieces[i].name) == 0) {
			if (p->data)
				*pieces[i].piece = (struct piece){p->data, p->data_size};
			return p->data_type == OSSL_PARAM_OCTET_STRING;
		}
	if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
		return OSSL_PARAM_get_int(p, &w->mode);
	if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0) {
		const char *name = NULL;

		w->hash = OSSL_PARAM_get_utf8_string_ptr(p, &name) ? find_hash(name) : NULL;
		return w->hash;
	}
	return true;
}

static int derive(void *context, unsigned char *out, size_t length, const OSSL_PARAM params[])
{
	struct wish w = {.mode = -1, .data = {"", 0}};

	(void)context;
	for (const OSSL_PARAM *p = params; p && p->key; p++)
		if (!take_param(&w, p))
			return 0;
	if (!w.hash || !w.prefix.data || !w.label.data)
		return 0;
	switch (w.mode) {
	case EVP_KDF_HKDF_MODE_EXTRACT_ONLY: return next_secret(&w, out, length);
	case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
		return w.key.data && expand_label(&w, &w.key, &w.data, out, length);
	default: return 0;
	}
}

/* A derivation keeps nothing from one call to the next: any pointer will do. */
static void *context_new(void *provider)
{
	return provider;
}

static void context_free(void *context)
{
	(void)context;
}

const OSSL_DISPATCH key_schedule_calls[] = {TLS_PROVIDER_CALL(OSSL_FUNC_KDF_NEWCTX, context_new),
					    TLS_PROVIDER_CALL(OSSL_FUNC_KDF_FREECTX, context_free),
					    TLS_PROVIDER_CALL(OSSL_FUNC_KDF_DERIVE, derive),
					    TLS_PROVIDER_END};
