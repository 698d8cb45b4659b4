#include "digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "errors.h"

struct digest {
	struct digest_wanted wanted;
	EVP_MD_CTX *context;
};

/* The names of os_hash_algo, with the length of the hex text. */
static const struct {
	const char *name, *openssl;
	size_t hex;
	bool weak;
	bool by_length; /* chosen by the length of a digest without a name */
} algorithms[] = {
	{"sha256", "SHA256", 64, false, true},
	{"sha512", "SHA512", 128, false, true},
	{"md5", "MD5", 32, true, true},
	{"sha1", "SHA1", 40, true, false},
	{"sha224", "SHA224", 56, false, false},
	{"sha384", "SHA384", 96, false, false},
	{"sha3_224", "SHA3-224", 56, false, false},
	{"sha3_256", "SHA3-256", 64, false, false},
	{"sha3_384", "SHA3-384", 96, false, false},
	{"sha3_512", "SHA3-512", 128, false, false},
};

static bool is_hex(const char *text, size_t length)
{
	return length > 0 && strspn(text, "0123456789abcdefABCDEF") >= length;
}

bool digest_want(const char *algorithm, const char *text, bool allow_weak,
		 struct digest_wanted *ret_wanted, GError **error)
{
	size_t i = 0, length = strlen(text);

	while (i < G_N_ELEMENTS(algorithms) &&
	       g_ascii_strcasecmp(algorithms[i].name, algorithm) != 0)
		i++;
	if (i == G_N_ELEMENTS(algorithms))
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
				      "the hash algorithm '%s' is not known", algorithm);
	if (algorithms[i].weak && !allow_weak)
		return inox_error_set(error, INOX_ERROR_DENIED,
				      "the hash algorithm %s is too weak to be accepted: give a "
				      "sha256 or sha512 digest",
				      algorithms[i].name);
	if (length != algorithms[i].hex || !is_hex(text, length))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"a %s digest has %zu hexadecimal digits, the one given has %zu "
			"characters",
			algorithms[i].name, algorithms[i].hex, length);

	g_autofree char *lower = g_ascii_strdown(text, -1);

	g_strlcpy(ret_wanted->algorithm, algorithms[i].name, sizeof(ret_wanted->algorithm));
	g_strlcpy(ret_wanted->hex, lower, sizeof(ret_wanted->hex));
	return true;
}

bool digest_want_text(const char *text, bool allow_weak, struct digest_wanted *ret_wanted,
		      GError **error)
{
	g_auto(GStrv) part = g_strsplit(text, ":", 2);

	if (g_strv_length(part) == 2)
		return digest_want(part[0], part[1], allow_weak, ret_wanted, error);
	for (size_t i = 0; i < G_N_ELEMENTS(algorithms); i++)
		if (algorithms[i].by_length && algorithms[i].hex == strlen(text))
			return digest_want(algorithms[i].name, text, allow_weak, ret_wanted, error);
	return inox_error_set(
		error, INOX_ERROR_INVALID,
		"a checksum of %zu characters is neither sha256 (64) nor sha512 (128)",
		strlen(text));
}

/* ---- checksum files */

static bool is_digest_length(size_t length)
{
	return length == 32 || length == 64 || length == 128;
}

/* "DIGEST  NAME" or "DIGEST *NAME" */
static char *read_gnu_line(const char *line, const char *name)
{
	size_t digits = strcspn(line, " \t");
	const char *rest = line + digits;

	rest += strspn(rest, " \t");
	if (*rest == '*')
		rest++;
	if (g_str_has_prefix(rest, "./"))
		rest += 2;
	if (!is_digest_length(digits) || !is_hex(line, digits) || !g_str_equal(rest, name))
		return NULL;
	return g_strndup(line, digits);
}

/* "SHA256 (NAME) = DIGEST" */
static char *read_bsd_line(const char *line, const char *name)
{
	g_autofree char *middle = g_strdup_printf(" (%s) = ", name);
	const char *found = strstr(line, middle);
	const char *digits = found ? found + strlen(middle) : "";

	if (!is_digest_length(strlen(digits)) || !is_hex(digits, strlen(digits)))
		return NULL;
	return g_strdup(digits);
}

char *digest_find_in_file(const char *content, const char *file_name, GError **error)
{
	g_auto(GStrv) lines = g_strsplit(content, "\n", -1);
	unsigned count = 0;
	const char *only = NULL;

	for (char **line = lines; *line; line++) {
		if (!*g_strstrip(*line))
			continue;
		only = *line;
		count++;
		char *found = **line == '#' ? NULL : read_gnu_line(*line, file_name);

		if (!found && **line != '#')
			found = read_bsd_line(*line, file_name);
		if (found)
			return found;
	}
	if (count == 0) {
		inox_error_set(error, INOX_ERROR_INVALID, "Empty checksum file");
		return NULL;
	}
	if (count == 1 && is_digest_length(strlen(only)) && is_hex(only, strlen(only)))
		return g_strdup(only);
	inox_error_set(error, INOX_ERROR_INVALID, "Checksum file does not contain name %s",
		       file_name);
	return NULL;
}

/* ---- computing */

struct digest *digest_new(const struct digest_wanted *wanted)
{
	struct digest *d = g_new0(struct digest, 1);
	const char *name = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(algorithms); i++)
		if (g_str_equal(algorithms[i].name, wanted->algorithm))
			name = algorithms[i].openssl;
	d->wanted = *wanted;
	d->context = EVP_MD_CTX_new();
	g_assert(name && d->context &&
		 EVP_DigestInit_ex(d->context, EVP_get_digestbyname(name), NULL) == 1);
	return d;
}

void digest_free(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->context);
	g_free(d);
}

void digest_add(struct digest *d, const void *bytes, size_t length)
{
	g_assert(EVP_DigestUpdate(d->context, bytes, length) == 1);
}

bool digest_check(struct digest *d, char **ret_hex)
{
	uint8_t bytes[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	GString *hex = g_string_new(NULL);

	g_assert(EVP_DigestFinal_ex(d->context, bytes, &length) == 1);
	for (unsigned i = 0; i < length; i++)
		g_string_append_printf(hex, "%02x", bytes[i]);
	*ret_hex = g_string_free(hex, FALSE);
	return g_str_equal(*ret_hex, d->wanted.hex);
}
