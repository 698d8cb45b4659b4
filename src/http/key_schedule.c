/* SHA-256 without the layer that can exchange it: that layer costs more than the hash of a few bytes. */
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

#define HASH       32 /* bytes of SHA-256 */
#define BLOCK      64
#define LABEL_MOST 255 /* bytes of the label with its prefix, and of the context (RFC 8446, 7.1) */

struct piece {
	const void *data;
	size_t length;
};

/* What a caller wants derived. */
struct wish {
	int mode;
	const char *digest;
	struct piece key, salt, prefix, label, data;
};

/* ---- HMAC and HKDF (RFC 2104, RFC 5869) */

static void hash(const struct piece *pieces, size_t count, uint8_t ret_hash[static HASH])
{
	SHA256_CTX c;

	SHA256_Init(&c);
	for (size_t i = 0; i < count; i++)
		SHA256_Update(&c, pieces[i].data, pieces[i].length);
	SHA256_Final(ret_hash, &c); /* wipes it */
}

/* A key of up to a block. */
static bool hmac(const struct piece *key, const struct piece *text, uint8_t ret_mac[static HASH])
{
	uint8_t pad[BLOCK], inner[HASH];
	const struct piece inside[] = {{pad, BLOCK}, *text},
			   outside[] = {{pad, BLOCK}, {inner, HASH}};

	if (key->length > BLOCK)
		return false;
	memset(pad, 0x36, BLOCK);
	for (size_t i = 0; i < key->length; i++)
		pad[i] ^= ((const uint8_t *)key->data)[i];
	hash(inside, G_N_ELEMENTS(inside), inner);
	for (size_t i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	hash(outside, G_N_ELEMENTS(outside), ret_mac);
	OPENSSL_cleanse(pad, BLOCK);
	OPENSSL_cleanse(inner, HASH);
	return true;
}

/* HKDF-Expand-Label (RFC 8446, 7.1): up to HASH bytes. */
static bool expand_label(const struct wish *w, const struct piece *secret,
			 const struct piece *context, uint8_t *out, size_t length)
{
	uint8_t info[2 + 2 * (1 + LABEL_MOST) + 1], block[HASH], *at = info;
	size_t label = w->prefix.length + w->label.length;

	if (length > HASH || w->prefix.length > LABEL_MOST || w->label.length > LABEL_MOST ||
	    label > LABEL_MOST || context->length > LABEL_MOST)
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
	bool good = hmac(secret, &text, block);

	if (good)
		memcpy(out, block, length);
	OPENSSL_cleanse(block, HASH);
	return good;
}

/* A step to the next secret of the schedule: key is what comes in, salt the secret before. */
static bool next_secret(const struct wish *w, uint8_t *out, size_t length)
{
	static const uint8_t zeros[HASH];
	uint8_t nothing[HASH], derived[HASH];
	const struct piece context = {nothing, HASH};
	const struct piece in = w->key.data ? w->key : (struct piece){zeros, HASH};
	struct piece salt = {zeros, HASH};

	if (length != HASH)
		return false;
	if (w->salt.data) {
		hash(NULL, 0, nothing);
		if (!expand_label(w, &w->salt, &context, derived, HASH))
			return false;
		salt.data = derived;
	}
	bool good = hmac(&salt, &in, out);

	OPENSSL_cleanse(derived, HASH);
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
	if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0)
		return OSSL_PARAM_get_utf8_string_ptr(p, &w->digest);
	return true;
}

static bool is_sha256(const char *name)
{
	return name && (g_ascii_strcasecmp(name, "SHA2-256") == 0 ||
			g_ascii_strcasecmp(name, "SHA256") == 0);
}

static int derive(void *context, unsigned char *out, size_t length, const OSSL_PARAM params[])
{
	struct wish w = {.mode = -1, .data = {"", 0}};

	(void)context;
	for (const OSSL_PARAM *p = params; p && p->key; p++)
		if (!take_param(&w, p))
			return 0;
	if (!is_sha256(w.digest) || !w.prefix.data || !w.label.data)
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
