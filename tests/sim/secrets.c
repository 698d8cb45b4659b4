/* Secrets and sealed texts without cryptography: what is sealed is marked and bound to its node, so that a
 * text that is not sealed, or for another node, does not open. */
#include <crypt.h>
#include <string.h>

#include "errors.h"
#include "key_file.h"
#include "seal.h"
#include "secret.h"
#include "sim.h"

struct secret {
	char *text;
};

struct secret *secret_new(const char *text)
{
	return text ? secret_new_length(text, strlen(text)) : NULL;
}

struct secret *secret_new_length(const char *text, size_t length)
{
	struct secret *s = g_new(struct secret, 1);

	s->text = g_strndup(text, length);
	return s;
}

/* 43 characters that are found wherever they should not be. */
struct secret *secret_new_token(void)
{
	char text[44];

	g_snprintf(text, sizeof(text), TOKEN_MARK "%040" G_GINT64_MODIFIER "x",
		   sim_random() | sim->tokens_made++);
	return secret_new(text);
}

struct secret *secret_dup(const struct secret *s)
{
	return s ? secret_new(s->text) : NULL;
}

void secret_free(struct secret *s)
{
	if (!s)
		return;
	g_free(s->text);
	g_free(s);
}

const char *secret_peek(const struct secret *s)
{
	return s ? s->text : NULL;
}

size_t secret_length(const struct secret *s)
{
	return s ? strlen(s->text) : 0;
}

bool secret_equal(const struct secret *s, const char *text, size_t length)
{
	return s && text && strlen(s->text) == length && memcmp(s->text, text, length) == 0;
}

void secret_wipe_text(char *text)
{
	g_free(text);
}

bool seal_is_sealed(const char *text)
{
	return g_str_has_prefix(text, SEAL_PREFIX);
}

char *seal_text(const struct seal_key *k, const char *context, const char *text)
{
	(void)k;
	return g_strconcat(SEAL_PREFIX, context, ":", text, NULL);
}

struct secret *seal_open(const struct seal_key *k, const char *context, const char *sealed,
			 GError **error)
{
	g_autofree char *front = g_strconcat(SEAL_PREFIX, context, ":", NULL);

	(void)k;
	if (g_str_has_prefix(sealed, front))
		return secret_new(sealed + strlen(front));
	inox_error_set(error, INOX_ERROR_INVALID, "it was not sealed for this node");
	return NULL;
}

/* The key of media, without a file. */
bool key_file_read(const char *path, uint8_t bytes[static KEY_FILE_BYTES], GError **error)
{
	(void)path, (void)error;
	memset(bytes, 1, KEY_FILE_BYTES);
	return true;
}

/* A rescue password is not hashed for milliseconds. */
char *crypt_rn(const char *phrase, const char *setting, void *data, int size)
{
	(void)phrase, (void)setting;
	g_strlcpy(data, "$6$salt$hash", (gsize)size);
	return data;
}
