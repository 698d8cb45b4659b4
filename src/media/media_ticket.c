#include "media_ticket.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "errors.h"
#include "secret.h"

#define UNTIL_LENGTH     10
#define UNTIL_MOST       9999999999
#define RANDOM_LENGTH    43
#define SIGNATURE_BYTES  24
#define SIGNATURE_LENGTH 32
#define FIRST            "/media/"
#define LAST             "/boot.iso"
/* What is signed says what it is for: the key may get other uses. */
#define PURPOSE "inox media 1 "

G_STATIC_ASSERT(UNTIL_LENGTH + 1 + RANDOM_LENGTH == MEDIA_PATH_LENGTH);

bool media_key_load(const char *path, struct media_key *ret_key, GError **error)
{
	return key_file_read(path, ret_key->bytes, error);
}

void media_key_clear(struct media_key *k)
{
	OPENSSL_cleanse(k->bytes, sizeof(k->bytes));
}

char *media_path_new(struct wall until)
{
	g_autoptr(secret) random = secret_new_token();

	return g_strdup_printf("%010" PRId64 "-%s", CLAMP(until.us / G_USEC_PER_SEC, 0, UNTIL_MOST),
			       secret_peek(random));
}

static bool is_path(const char *path)
{
	for (unsigned i = 0; i < UNTIL_LENGTH; i++)
		if (!g_ascii_isdigit(path[i]))
			return false;
	if (path[UNTIL_LENGTH] != '-')
		return false;
	for (unsigned i = UNTIL_LENGTH + 1; i < MEDIA_PATH_LENGTH; i++)
		if (!g_ascii_isalnum(path[i]) && path[i] != '-' && path[i] != '_')
			return false;
	return true;
}

bool media_path_is_valid(const char *path)
{
	return strlen(path) == MEDIA_PATH_LENGTH && is_path(path);
}

static gint64 until_of(const char *path)
{
	return g_ascii_strtoll(path, NULL, 10);
}

bool media_path_is_over(const char *path, struct wall then)
{
	return media_path_is_valid(path) && then.us / G_USEC_PER_SEC >= until_of(path);
}

static void sign(const struct media_key *k, const char *path, char ret[static SIGNATURE_LENGTH + 1])
{
	uint8_t text[sizeof(PURPOSE) - 1 + MEDIA_PATH_LENGTH], digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;

	memcpy(text, PURPOSE, sizeof(PURPOSE) - 1);
	memcpy(text + sizeof(PURPOSE) - 1, path, MEDIA_PATH_LENGTH);
	if (!HMAC(EVP_sha256(), k->bytes, sizeof(k->bytes), text, sizeof(text), digest, &length))
		g_error("HMAC-SHA256 is not available");
	g_autofree char *base64 = g_base64_encode(digest, SIGNATURE_BYTES);

	g_strdelimit(base64, "+", '-');
	g_strdelimit(base64, "/", '_');
	memcpy(ret, base64, SIGNATURE_LENGTH + 1);
}

char *media_ticket_print(const struct media_key *k, const char *path, GError **error)
{
	char signature[SIGNATURE_LENGTH + 1];

	if (!media_path_is_valid(path)) {
		inox_error_set(
			error, INOX_ERROR_INVALID,
			"the path of this boot was made by an older version, without the time "
			"until which it counts: begin again");
		return NULL;
	}
	sign(k, path, signature);
	return g_strconcat(FIRST + 1, path, "-", signature, LAST, NULL);
}

bool media_ticket_check(const struct media_key *k, const char *target, struct wall now,
			char ret_path[static MEDIA_PATH_LENGTH + 1], GError **error)
{
	const size_t first = strlen(FIRST),
		     whole = first + MEDIA_PATH_LENGTH + 1 + SIGNATURE_LENGTH + strlen(LAST);
	const char *path = target + first;
	char signature[SIGNATURE_LENGTH + 1];

	if (strlen(target) != whole || !g_str_has_prefix(target, FIRST) ||
	    !g_str_has_suffix(target, LAST) || !is_path(path) || path[MEDIA_PATH_LENGTH] != '-')
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "it is no path of a medium");
	sign(k, path, signature);
	if (CRYPTO_memcmp(path + MEDIA_PATH_LENGTH + 1, signature, SIGNATURE_LENGTH) != 0)
		return inox_error_set(
			error, INOX_ERROR_DENIED,
			"its signature is wrong: is the key the one of the control plane?");
	gint64 until = until_of(path);

	if (now.us / G_USEC_PER_SEC >= until)
		return inox_error_set(error, INOX_ERROR_TIMEOUT,
				      "its time was over %" PRId64 " s ago",
				      now.us / G_USEC_PER_SEC - until);
	memcpy(ret_path, path, MEDIA_PATH_LENGTH);
	ret_path[MEDIA_PATH_LENGTH] = '\0';
	return true;
}
