#include "media_record.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

#include "errors.h"
#include "plain.h"

#define FIRST_LINE "inox-media 1"

/* ---- checks that both directions share */

static bool check_patches(const struct media_record *r, GError **error)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < r->count; i++) {
		const struct media_patch *p = &r->patches[i];

		if (p->length == 0 || p->length > LIMIT_MEDIA_RECORD)
			return inox_error_set(error, INOX_ERROR_LIMIT,
					      "patch %u has not 1 to %d bytes", i + 1,
					      LIMIT_MEDIA_RECORD);
		if (p->offset < end)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "patch %u begins before the one in front of it ends",
					      i + 1);
		if (p->offset > r->size || p->length > r->size - p->offset)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "patch %u reaches over the end of the base", i + 1);
		end = p->offset + p->length;
	}
	return true;
}

static bool check(const struct media_record *r, GError **error)
{
	if (r->size == 0 || r->size > LIMIT_MEDIA_ISO)
		return inox_error_set(error, INOX_ERROR_LIMIT, "the base has not 1 to %d bytes",
				      LIMIT_MEDIA_ISO);
	if (!plain_is_path(r->base))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the base's name is not a plain relative path");
	if (r->count > LIMIT_MEDIA_PATCHES)
		return inox_error_set(error, INOX_ERROR_LIMIT, "there are more than %d patches",
				      LIMIT_MEDIA_PATCHES);
	return check_patches(r, error);
}

/* ---- printing */

static void append_digest(GString *head, const uint8_t digest[static MEDIA_DIGEST_BYTES])
{
	g_string_append(head, "sha256 ");
	for (unsigned i = 0; i < MEDIA_DIGEST_BYTES; i++)
		g_string_append_printf(head, "%02x", digest[i]);
	g_string_append_c(head, '\n');
}

uint8_t *media_record_print(const struct media_record *r, size_t *ret_length, GError **error)
{
	if (!check(r, error))
		return NULL;
	g_autoptr(GString) head = g_string_new(FIRST_LINE "\n");

	g_string_append_printf(head, "node %s\nbase %s\nsize %" PRIu64 "\n", r->node.s, r->base,
			       r->size);
	append_digest(head, r->digest);
	size_t length = 0;

	for (unsigned i = 0; i < r->count; i++) {
		g_string_append_printf(head, "patch %" PRIu64 " %zu\n", r->patches[i].offset,
				       r->patches[i].length);
		length += r->patches[i].length;
	}
	g_string_append_c(head, '\n');
	if (head->len + length > LIMIT_MEDIA_RECORD) {
		inox_error_set(error, INOX_ERROR_LIMIT, "it has %zu bytes: %d are taken",
			       head->len + length, LIMIT_MEDIA_RECORD);
		return NULL;
	}
	uint8_t *bytes = g_malloc(head->len + length), *to = bytes + head->len;

	memcpy(bytes, head->str, head->len);
	for (unsigned i = 0; i < r->count; i++) {
		memcpy(to, r->patches[i].bytes, r->patches[i].length);
		to += r->patches[i].length;
	}
	*ret_length = head->len + length;
	return bytes;
}

/* ---- parsing */

struct reader {
	const char *at, *end;
	unsigned line;
};

static bool fail(const struct reader *in, const char *what, GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID, "line %u is not '%s'", in->line, what);
}

/* Cuts a line off; no NUL is in it.  The text is our own copy. */
static char *next_line(struct reader *in)
{
	char *line = (char *)(uintptr_t)in->at;
	char *feed = memchr(in->at, '\n', (size_t)(in->end - in->at));

	in->line++;
	if (!feed || memchr(line, '\0', (size_t)(feed - line)))
		return NULL;
	*feed = '\0';
	in->at = feed + 1;
	return line;
}

/* A decimal number up to `most`; *text moves behind it. */
static bool take_number(const char **text, uint64_t most, uint64_t *ret)
{
	const char *c = *text;
	uint64_t n = 0;

	if (*c == '0' && g_ascii_isdigit(c[1]))
		return false;
	for (; g_ascii_isdigit(*c); c++) {
		n = n * 10 + (uint64_t)(*c - '0');
		if (n > most)
			return false;
	}
	if (c == *text)
		return false;
	*text = c;
	*ret = n;
	return true;
}

static const char *value_of(const char *line, const char *name)
{
	size_t length = strlen(name);

	return line && strncmp(line, name, length) == 0 && line[length] == ' ' ? line + length + 1
									       : NULL;
}

static bool parse_digest(const char *text, uint8_t ret[static MEDIA_DIGEST_BYTES])
{
	if (strlen(text) != 2 * MEDIA_DIGEST_BYTES)
		return false;
	for (unsigned i = 0; i < MEDIA_DIGEST_BYTES; i++) {
		const char *pair = text + (size_t)2 * i;

		if (!strchr("0123456789abcdef", pair[0]) || !strchr("0123456789abcdef", pair[1]))
			return false;
		ret[i] = (uint8_t)(g_ascii_xdigit_value(pair[0]) << 4 |
				   g_ascii_xdigit_value(pair[1]));
	}
	return true;
}

static bool parse_head(struct reader *in, struct media_record *r, GError **error)
{
	const char *line = next_line(in), *value;

	if (!line || strcmp(line, FIRST_LINE) != 0)
		return fail(in, FIRST_LINE, error);
	value = value_of(next_line(in), "node");
	/* In the form that is printed: there is one text for each record. */
	if (!value || !uuid_parse(value, &r->node, NULL) || strcmp(value, r->node.s) != 0)
		return fail(in, "node UUID", error);
	value = value_of(next_line(in), "base");
	if (!value || strlen(value) > LIMIT_MEDIA_NAME || !plain_is_path(value))
		return fail(in, "base PATH", error);
	g_strlcpy(r->base, value, sizeof(r->base));
	value = value_of(next_line(in), "size");
	if (!value || !take_number(&value, LIMIT_MEDIA_ISO, &r->size) || *value)
		return fail(in, "size BYTES", error);
	value = value_of(next_line(in), "sha256");
	if (!value || !parse_digest(value, r->digest))
		return fail(in, "sha256 DIGEST", error);
	return true;
}

static bool parse_patches(struct reader *in, struct media_record *r, GError **error)
{
	const char *line;

	while ((line = next_line(in)) && *line) {
		const char *value = value_of(line, "patch");
		uint64_t offset, length;

		if (r->count == LIMIT_MEDIA_PATCHES)
			return inox_error_set(error, INOX_ERROR_LIMIT,
					      "there are more than %d patches",
					      LIMIT_MEDIA_PATCHES);
		if (!value || !take_number(&value, LIMIT_MEDIA_ISO, &offset) || *value++ != ' ' ||
		    !take_number(&value, LIMIT_MEDIA_RECORD, &length) || *value)
			return fail(in, "patch OFFSET LENGTH", error);
		r->patches[r->count++] = (struct media_patch){offset, (size_t)length, NULL};
	}
	return line || fail(in, "patch OFFSET LENGTH", error);
}

static bool place_bytes(const struct reader *in, struct media_record *r, GError **error)
{
	const uint8_t *at = (const uint8_t *)in->at;
	size_t left = (size_t)(in->end - in->at);

	for (unsigned i = 0; i < r->count; i++) {
		if (r->patches[i].length > left)
			return inox_error_set(error, INOX_ERROR_INVALID, "it ends too early");
		r->patches[i].bytes = at;
		at += r->patches[i].length;
		left -= r->patches[i].length;
	}
	return left == 0 ||
	       inox_error_set(error, INOX_ERROR_INVALID, "%zu bytes are behind its end", left);
}

bool media_record_parse(const uint8_t *bytes, size_t length, struct media_record *ret,
			GError **error)
{
	g_auto(media_record) r = {.count = 0};

	if (length > LIMIT_MEDIA_RECORD)
		return inox_error_set(error, INOX_ERROR_LIMIT, "it has more than %d bytes",
				      LIMIT_MEDIA_RECORD);
	r.text = g_malloc(length + 1);
	r.text_length = length;
	if (length > 0)
		memcpy(r.text, bytes, length);
	struct reader in = {.at = (const char *)r.text, .end = (const char *)r.text + length};

	if (!parse_head(&in, &r, error) || !parse_patches(&in, &r, error) || !check(&r, error) ||
	    !place_bytes(&in, &r, error))
		return false;
	*ret = r;
	r.text = NULL;
	return true;
}

void media_record_clear(struct media_record *r)
{
	if (r->text)
		OPENSSL_cleanse(r->text, r->text_length);
	g_clear_pointer(&r->text, g_free);
	r->count = 0;
}

void media_record_apply(const struct media_record *r, uint64_t offset, uint8_t *buffer,
			size_t length)
{
	for (unsigned i = 0; i < r->count; i++) {
		const struct media_patch *p = &r->patches[i];
		uint64_t from = MAX(offset, p->offset);
		uint64_t to = MIN(offset + length, p->offset + p->length);

		if (from < to)
			memcpy(buffer + (from - offset), p->bytes + (from - p->offset),
			       (size_t)(to - from));
	}
}
