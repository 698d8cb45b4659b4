#include "verifier.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#define PREFIX     "v1:"
#define SALT_BYTES 16
#define MAC_BYTES  32

static void append_hex(GString *out, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		g_string_append_printf(out, "%02x", bytes[i]);
}

static char *print(const uint8_t salt[static SALT_BYTES], const char *token)
{
	uint8_t mac[MAC_BYTES];
	unsigned length = sizeof(mac);
	GString *out = g_string_new(PREFIX);

	if (!HMAC(EVP_sha256(), salt, SALT_BYTES, (const uint8_t *)token, strlen(token), mac,
		  &length))
		g_error("HMAC-SHA256 is not available");
	append_hex(out, salt, SALT_BYTES);
	g_string_append_c(out, ':');
	append_hex(out, mac, MAC_BYTES);
	return g_string_free(out, FALSE);
}

char *verifier_new(const char *token)
{
	uint8_t salt[SALT_BYTES];

	if (RAND_bytes(salt, sizeof(salt)) != 1)
		g_error("the random number generator failed");
	return print(salt, token);
}

static bool read_salt(const char *verifier, uint8_t salt[static SALT_BYTES])
{
	const size_t length = strlen(PREFIX) + 2 * (size_t)SALT_BYTES + 1 + 2 * (size_t)MAC_BYTES;

	if (strlen(verifier) != length || !g_str_has_prefix(verifier, PREFIX))
		return false;
	for (size_t i = 0; i < SALT_BYTES; i++) {
		int high = g_ascii_xdigit_value(verifier[strlen(PREFIX) + 2 * i]);
		int low = g_ascii_xdigit_value(verifier[strlen(PREFIX) + 2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		salt[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool verifier_matches(const char *verifier, const char *token)
{
	uint8_t salt[SALT_BYTES];

	if (!verifier || !token || !read_salt(verifier, salt))
		return false;
	g_autofree char *again = print(salt, token);

	return CRYPTO_memcmp(verifier, again, strlen(again)) == 0;
}
