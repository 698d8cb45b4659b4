#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "key_file.h"

#define KEY_BYTES KEY_FILE_BYTES
#define TAG_BYTES 16
#define IV_BYTES  12 /* zero: each text has a key of its own */

struct seal_key {
	EVP_PKEY *pair; /* private and public, or NULL */
	uint8_t public_bytes[KEY_BYTES];
};

void seal_key_free(struct seal_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->pair);
	g_free(k);
}

static struct seal_key *key_from_private(const uint8_t bytes[static KEY_BYTES])
{
	size_t length = KEY_BYTES;
	struct seal_key *k = g_new0(struct seal_key, 1);

	k->pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, bytes, KEY_BYTES);
	if (!k->pair || EVP_PKEY_get_raw_public_key(k->pair, k->public_bytes, &length) != 1)
		g_error("X25519 is not available");
	return k;
}

struct seal_key *seal_key_read_fd(int fd, const char *name, GError **error)
{
	uint8_t bytes[KEY_BYTES];
	struct seal_key *k =
		key_file_read_fd(fd, name, bytes, error) ? key_from_private(bytes) : NULL;

	OPENSSL_cleanse(bytes, sizeof(bytes));
	return k;
}

struct seal_key *seal_key_load_or_create(const char *path, GError **error)
{
	uint8_t bytes[KEY_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT) {
		if (RAND_bytes(bytes, sizeof(bytes)) != 1)
			g_error("the random source failed");
		bool written = key_file_write_new(path, bytes, error);

		OPENSSL_cleanse(bytes, sizeof(bytes));
		if (!written)
			return NULL;
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (fd < 0) {
		inox_error_set_errno(error, errno, "open the key file '%s'", path);
		return NULL;
	}
	struct seal_key *k = seal_key_read_fd(fd, path, error);

	close(fd);
	return k;
}

char *seal_key_public_text(const struct seal_key *k)
{
	return g_base64_encode(k->public_bytes, KEY_BYTES);
}

struct seal_key *seal_key_from_public_text(const char *text, GError **error)
{
	gsize length = 0;
	g_autofree guchar *bytes = g_base64_decode(text, &length);

	if (length != KEY_BYTES) {
		inox_error_set(error, INOX_ERROR_INVALID, "A public sealing key has %d bytes.",
			       KEY_BYTES);
		return NULL;
	}
	struct seal_key *k = g_new0(struct seal_key, 1);

	memcpy(k->public_bytes, bytes, KEY_BYTES);
	return k;
}

bool seal_is_sealed(const char *text)
{
	return g_str_has_prefix(text, SEAL_PREFIX);
}

/* The key of one text: HKDF-SHA256 over the shared secret, bound to both public keys. */
static bool derive_key(EVP_PKEY *own, const uint8_t peer_public[static KEY_BYTES],
		       const uint8_t ephemeral[static KEY_BYTES],
		       const uint8_t recipient[static KEY_BYTES], uint8_t ret_key[static KEY_BYTES])
{
	uint8_t shared[KEY_BYTES], info[2 * KEY_BYTES];
	size_t length = sizeof(shared);
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer_public, KEY_BYTES);
	EVP_PKEY_CTX *exchange = EVP_PKEY_CTX_new(own, NULL);
	bool ok = peer && exchange && EVP_PKEY_derive_init(exchange) == 1 &&
		  EVP_PKEY_derive_set_peer(exchange, peer) == 1 &&
		  EVP_PKEY_derive(exchange, shared, &length) == 1;

	memcpy(info, ephemeral, KEY_BYTES);
	memcpy(info + KEY_BYTES, recipient, KEY_BYTES);
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *hkdf = EVP_KDF_CTX_new(kdf);
	static char digest[] = "SHA256", salt[] = "inox seal v1";
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, shared, sizeof(shared)),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof(salt) - 1),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info)),
		OSSL_PARAM_construct_end(),
	};

	ok = ok && EVP_KDF_derive(hkdf, ret_key, KEY_BYTES, parameters) == 1;
	OPENSSL_cleanse(shared, sizeof(shared));
	EVP_KDF_CTX_free(hkdf);
	EVP_KDF_free(kdf);
	EVP_PKEY_CTX_free(exchange);
	EVP_PKEY_free(peer);
	return ok;
}

static const uint8_t zero_iv[IV_BYTES];

char *seal_text(const struct seal_key *k, const char *context, const char *text)
{
	uint8_t key[KEY_BYTES], ephemeral_public[KEY_BYTES];
	size_t length = KEY_BYTES, text_length = strlen(text);
	int done = 0;
	EVP_PKEY *ephemeral = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");

	if (!ephemeral || EVP_PKEY_get_raw_public_key(ephemeral, ephemeral_public, &length) != 1 ||
	    !derive_key(ephemeral, k->public_bytes, ephemeral_public, k->public_bytes, key))
		g_error("sealing failed in the crypto library");
	EVP_PKEY_free(ephemeral);

	size_t total = KEY_BYTES + text_length + TAG_BYTES;
	g_autofree uint8_t *out = g_malloc(total);
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();

	memcpy(out, ephemeral_public, KEY_BYTES);
	if (EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, zero_iv) != 1 ||
	    EVP_EncryptUpdate(cipher, NULL, &done, (const uint8_t *)context,
			      (int)strlen(context)) != 1 ||
	    EVP_EncryptUpdate(cipher, out + KEY_BYTES, &done, (const uint8_t *)text,
			      (int)text_length) != 1 ||
	    EVP_EncryptFinal_ex(cipher, out + KEY_BYTES + text_length, &done) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG_BYTES,
				out + KEY_BYTES + text_length) != 1)
		g_error("sealing failed in the crypto library");
	EVP_CIPHER_CTX_free(cipher);
	OPENSSL_cleanse(key, sizeof(key));
	g_autofree char *base64 = g_base64_encode(out, total);

	return g_strconcat(SEAL_PREFIX, base64, NULL);
}

/* `bytes` is ephemeral public key, ciphertext, tag; `text` has room for the ciphertext and a NUL. */
static bool open_bytes(const struct seal_key *k, const char *context, uint8_t *bytes, size_t length,
		       uint8_t *text)
{
	uint8_t key[KEY_BYTES];
	size_t text_length = length - KEY_BYTES - TAG_BYTES;
	int done = 0;

	if (!derive_key(k->pair, bytes, bytes, k->public_bytes, key))
		return false;
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	bool ok =
		EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, zero_iv) == 1 &&
		EVP_DecryptUpdate(cipher, NULL, &done, (const uint8_t *)context,
				  (int)strlen(context)) == 1 &&
		EVP_DecryptUpdate(cipher, text, &done, bytes + KEY_BYTES, (int)text_length) == 1 &&
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, TAG_BYTES,
				    bytes + length - TAG_BYTES) == 1 &&
		EVP_DecryptFinal_ex(cipher, text + text_length, &done) == 1;

	EVP_CIPHER_CTX_free(cipher);
	OPENSSL_cleanse(key, sizeof(key));
	return ok;
}

struct secret *seal_open(const struct seal_key *k, const char *context, const char *sealed,
			 GError **error)
{
	gsize length = 0;

	if (!k->pair) {
		inox_error_set(error, INOX_ERROR_UNSUPPORTED,
			       "This process has no key to open sealed secrets.");
		return NULL;
	}
	if (!seal_is_sealed(sealed)) {
		inox_error_set(error, INOX_ERROR_INVALID, "A stored secret is not sealed.");
		return NULL;
	}
	g_autofree guchar *bytes = g_base64_decode(sealed + strlen(SEAL_PREFIX), &length);
	struct secret *opened = NULL;

	if (length >= KEY_BYTES + TAG_BYTES) {
		size_t text_length = length - KEY_BYTES - TAG_BYTES;
		g_autofree uint8_t *text = g_malloc(text_length + 1);

		if (open_bytes(k, context, bytes, length, text))
			opened = secret_new_length((const char *)text, text_length);
		OPENSSL_cleanse(text, text_length + 1);
	}
	if (!opened)
		inox_error_set(
			error, INOX_ERROR_INVALID,
			"A stored secret does not open with this key: the key file is not the one it was sealed with.");
	return opened;
}
