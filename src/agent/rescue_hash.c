#include "rescue_hash.h"

#include <crypt.h>
#include <errno.h>
#include <string.h>

#include "errors.h"
#include "limit.h"

#define CRYPT_LETTERS "./" G_CSET_DIGITS G_CSET_A_2_Z G_CSET_a_2_z
#define ROUNDS        "rounds="
#define ROUNDS_LEAST  1000 /* crypt(5), as the next two */
#define ROUNDS_MOST   999999999
#define COST_LEAST    4
#define COST_MOST     31

/* One field up to the next '$', or up to the end. */
static bool take_letters(const char **at, size_t least, size_t most)
{
	size_t length = strspn(*at, CRYPT_LETTERS);

	*at += length;
	return length >= least && length <= most;
}

static bool take_dollar(const char **at)
{
	return *(*at)++ == '$';
}

static bool take_number(const char **at, size_t digits, guint64 least, guint64 most)
{
	g_autofree char *text = g_strndup(*at, strspn(*at, G_CSET_DIGITS));
	guint64 value;

	*at += strlen(text);
	return (digits == 0 || strlen(text) == digits) &&
	       g_ascii_string_to_unsigned(text, 10, least, most, &value, NULL);
}

/* "[rounds=N$]salt$hash" */
static bool check_sha(const char *at, size_t hash)
{
	if (g_str_has_prefix(at, ROUNDS)) {
		at += strlen(ROUNDS);
		if (!take_number(&at, 0, ROUNDS_LEAST, ROUNDS_MOST) || !take_dollar(&at))
			return false;
	}
	return take_letters(&at, 1, 16) && take_dollar(&at) && take_letters(&at, hash, hash) &&
	       !*at;
}

/* "parameters$salt$hash" */
static bool check_yescrypt(const char *at, size_t hash)
{
	return take_letters(&at, 1, 16) && take_dollar(&at) && take_letters(&at, 1, 86) &&
	       take_dollar(&at) && take_letters(&at, hash, hash) && !*at;
}

/* "cost$" and salt and hash without anything between them */
static bool check_bcrypt(const char *at, size_t hash)
{
	return take_number(&at, 2, COST_LEAST, COST_MOST) && take_dollar(&at) &&
	       take_letters(&at, hash, hash) && !*at;
}

static const struct {
	const char *prefix;
	bool (*check)(const char *rest, size_t hash);
	size_t hash; /* letters */
} kinds[] = {
	{"$5$", check_sha, 43},
	{"$6$", check_sha, 86},
	{"$y$", check_yescrypt, 43},
	{"$2b$", check_bcrypt, 53},
};

bool rescue_hash_check(const char *text, GError **error)
{
	if (strlen(text) > LIMIT_RESCUE_PASSWORD)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "The hash of the rescue password is longer than %d bytes.",
				      LIMIT_RESCUE_PASSWORD);
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		if (!g_str_has_prefix(text, kinds[i].prefix))
			continue;
		if (kinds[i].check(text + strlen(kinds[i].prefix), kinds[i].hash))
			return true;
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The hash of the rescue password starts with %s, but is "
				      "incomplete or has something that does not belong there.",
				      kinds[i].prefix);
	}
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "The rescue password is no hash of a known kind: $5$, $6$, $y$ or "
			      "$2b$.");
}

static bool check_password(const char *password, GError **error)
{
	if (!*password)
		return inox_error_set(error, INOX_ERROR_INVALID, "The rescue password is empty.");
	if (strlen(password) >= LIMIT_RESCUE_PASSWORD)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "The rescue password has more than %d bytes.",
				      LIMIT_RESCUE_PASSWORD - 1);
	for (const char *at = password; *at; at++)
		if (g_ascii_iscntrl(*at))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "The rescue password has control characters, which "
					      "nobody can type.");
	return true;
}

char *rescue_hash_make(const char *password, GError **error)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (!check_password(password, error))
		return NULL;
	struct crypt_data *work = g_new0(struct crypt_data, 1);
	const char *made = crypt_gensalt_rn("$5$", 0, NULL, 0, setting, sizeof(setting))
				   ? crypt_rn(password, setting, work, sizeof(*work))
				   : NULL;
	char *hash = g_strdup(made);

	if (!hash)
		inox_error_set_errno(error, errno, "the rescue password cannot be hashed");
	explicit_bzero(work, sizeof(*work));
	g_free(work);
	return hash;
}
