#include "fetch_parse.h"

#include <string.h>

#include "errors.h"
#include "limit.h"
#include "log.h"

void fetch_url_clear(struct fetch_url *u)
{
	g_free(u->host);
	g_free(u->target);
	g_free(u->shown);
	*u = (struct fetch_url){.host = NULL};
}

bool fetch_url_same_origin(const struct fetch_url *a, const struct fetch_url *b)
{
	return a->tls == b->tls && a->port == b->port && g_ascii_strcasecmp(a->host, b->host) == 0;
}

static bool is_plain_text(const char *text)
{
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return false;
	return strlen(text) <= LIMIT_URL;
}

static bool parse_port(const char *text, unsigned *ret_port)
{
	guint64 port;

	if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL))
		return false;
	*ret_port = (unsigned)port;
	return true;
}

/* "name", "name:port", "[v6]" or "[v6]:port". */
static bool parse_authority(const char *text, size_t length, struct fetch_url *u, GError **error)
{
	g_autofree char *authority = g_strndup(text, length);
	bool bracketed = authority[0] == '[';
	char *end = bracketed ? strchr(authority, ']') : strchr(authority, ':');

	if (strchr(authority, '@'))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "a URL with a user name or password in it is not accepted");
	if (bracketed && !end)
		return inox_error_set(error, INOX_ERROR_INVALID, "the URL's address lacks a ']'");
	if (end && bracketed)
		*end++ = '\0';
	if (end && *end == ':') {
		*end = '\0';
		if (!parse_port(end + 1, &u->port))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "the URL's port must be a number from 1 to 65535");
	} else if (end && *end) {
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the URL has text behind its address");
	}
	u->host = g_strdup(authority + (bracketed ? 1 : 0));
	if (!*u->host || strpbrk(u->host, "/\\[]%"))
		return inox_error_set(error, INOX_ERROR_INVALID, "the URL names no valid host");
	return true;
}

bool fetch_url_parse(const char *text, struct fetch_url *ret_url, GError **error)
{
	g_auto(fetch_url) u = {.host = NULL};
	const char *rest;

	if (!is_plain_text(text))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the URL holds a space or a character that is not plain "
				      "ASCII, or is longer than %d bytes",
				      LIMIT_URL);
	if (g_ascii_strncasecmp(text, "http://", 7) == 0)
		rest = text + 7;
	else if (g_ascii_strncasecmp(text, "https://", 8) == 0)
		rest = text + 8;
	else
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the URL must start with http:// or https://");
	u.tls = rest == text + 8;
	u.port = u.tls ? 443 : 80;

	size_t length = strcspn(rest, "/?#");

	if (!parse_authority(rest, length, &u, error))
		return false;
	rest += length;

	g_autofree char *target = g_strndup(rest, strcspn(rest, "#"));
	g_autofree char *path = g_strndup(rest, strcspn(rest, "?#"));

	u.target = g_strdup_printf("%s%s", *target == '/' ? "" : "/", target);
	u.shown = g_strdup_printf(strchr(u.host, ':') ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
				  u.tls ? "https" : "http", u.host, u.port, *path ? path : "/");
	*ret_url = u;
	u = (struct fetch_url){.host = NULL};
	return true;
}

void fetch_head_clear(struct fetch_head *h)
{
	g_free(h->etag);
	g_free(h->location);
	g_free(h->encoding);
	*h = (struct fetch_head){.etag = NULL};
}

size_t fetch_head_find_end(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] != '\n')
			continue;
		if (i + 1 < length && bytes[i + 1] == '\n')
			return i + 2;
		if (i + 2 < length && bytes[i + 1] == '\r' && bytes[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

static bool parse_int64(const char *text, int64_t *ret_value)
{
	gint64 value;

	if (!g_ascii_isdigit(*text) ||
	    !g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, &value, NULL))
		return false;
	*ret_value = value;
	return true;
}

static bool take_length(struct fetch_head *h, const char *value, GError **error)
{
	int64_t length;

	if (!parse_int64(value, &length) || (h->length >= 0 && h->length != length))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the server's Content-Length is not one number");
	h->length = length;
	return true;
}

static bool take_transfer(struct fetch_head *h, const char *value, GError **error)
{
	if (g_ascii_strcasecmp(value, "chunked") != 0 || h->chunked)
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the server uses a transfer coding that is not 'chunked'");
	h->chunked = true;
	return true;
}

/* "bytes 100-199/1000" or "bytes 100-199/" followed by a star, RFC 9110 section 14.4. */
static bool take_range(struct fetch_head *h, const char *value, GError **error)
{
	g_auto(GStrv) part = g_strsplit_set(value, " -/", 5);

	if (g_strv_length(part) != 4 || g_ascii_strcasecmp(part[0], "bytes") != 0 ||
	    !parse_int64(part[1], &h->range_start))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the server's Content-Range cannot be read");
	if (!parse_int64(part[3], &h->range_total) && !g_str_equal(part[3], "*"))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the server's Content-Range has no valid size");
	return true;
}

static bool take_etag(struct fetch_head *h, const char *value, GError **error G_GNUC_UNUSED)
{
	g_free(h->etag);
	h->etag = g_strdup(value);
	return true;
}

static bool take_location(struct fetch_head *h, const char *value, GError **error G_GNUC_UNUSED)
{
	g_free(h->location);
	h->location = g_strdup(value);
	return true;
}

static bool take_encoding(struct fetch_head *h, const char *value, GError **error G_GNUC_UNUSED)
{
	if (g_ascii_strcasecmp(value, "identity") == 0)
		return true;
	g_free(h->encoding);
	h->encoding = log_clean_text(value, strlen(value), 40);
	return true;
}

static const struct {
	const char *name;
	bool (*take)(struct fetch_head *h, const char *value, GError **error);
} fields[] = {
	{"content-length", take_length}, {"transfer-encoding", take_transfer},
	{"content-range", take_range},   {"etag", take_etag},
	{"location", take_location},     {"content-encoding", take_encoding},
};

static bool parse_field(struct fetch_head *h, char *line, GError **error)
{
	char *colon = strchr(line, ':');

	if (!colon || colon == line || strcspn(line, " \t") < (size_t)(colon - line))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the server sent a header line without a name");
	*colon = '\0';
	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
		if (g_ascii_strcasecmp(fields[i].name, line) == 0)
			return fields[i].take(h, g_strstrip(colon + 1), error);
	return true;
}

/* "HTTP/1.1 206 Partial Content" */
static bool parse_status(struct fetch_head *h, const char *line, GError **error)
{
	if (!g_str_has_prefix(line, "HTTP/1.") || !g_ascii_isdigit(line[7]) || line[8] != ' ' ||
	    !g_ascii_isdigit(line[9]) || !g_ascii_isdigit(line[10]) || !g_ascii_isdigit(line[11]) ||
	    (line[12] != ' ' && line[12] != '\0'))
		return inox_error_set(error, INOX_ERROR_PEER, "the server does not speak HTTP/1");
	h->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
	return true;
}

bool fetch_head_parse(const char *bytes, size_t length, struct fetch_head *ret_head, GError **error)
{
	g_auto(fetch_head) h = {.length = -1, .range_start = -1, .range_total = -1};

	if (length > LIMIT_HTTP_HEADERS)
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the server's headers are longer than %d bytes",
				      LIMIT_HTTP_HEADERS);
	if (memchr(bytes, '\0', length))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the server's headers hold a zero byte");

	g_autofree char *text = g_strndup(bytes, length);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++)
		g_strchomp(*line);
	if (!lines[0] || !parse_status(&h, lines[0], error))
		return lines[0] ? false
				: inox_error_set(error, INOX_ERROR_PEER,
						 "the server sent an empty head");
	for (char **line = lines + 1; *line && **line; line++)
		if (!parse_field(&h, *line, error))
			return false;
	if (h.chunked)
		h.length = -1; /* RFC 9112 section 6.3: the transfer coding wins */
	*ret_head = h;
	h = (struct fetch_head){.etag = NULL};
	return true;
}

static bool refuse_chunk(GError **error)
{
	return inox_error_set(error, INOX_ERROR_PEER, "the server's chunked body is malformed");
}

static bool chunk_size_byte(struct fetch_chunks *c, uint8_t byte, GError **error)
{
	int digit = g_ascii_xdigit_value((char)byte);

	if (digit >= 0 && c->digits < 15) {
		c->left = c->left * 16 + (uint64_t)digit;
		c->digits++;
		return true;
	}
	if (c->digits == 0)
		return refuse_chunk(error);
	switch (byte) {
	case ';':
	case ' ':
	case '\t':
	case '\r': c->state = FETCH_CHUNK_EXTENSION; return true;
	case '\n': c->state = c->left > 0 ? FETCH_CHUNK_DATA : FETCH_CHUNK_TRAILER; return true;
	default: return refuse_chunk(error);
	}
}

/* One byte of what is not data. */
static bool chunk_byte(struct fetch_chunks *c, uint8_t byte, GError **error)
{
	if (++c->overall > LIMIT_HTTP_HEADERS)
		return refuse_chunk(error);
	switch (c->state) {
	case FETCH_CHUNK_SIZE: return chunk_size_byte(c, byte, error);
	case FETCH_CHUNK_EXTENSION:
		if (byte == '\n')
			c->state = c->left > 0 ? FETCH_CHUNK_DATA : FETCH_CHUNK_TRAILER;
		return true;
	case FETCH_CHUNK_DATA_END:
		if (byte != '\n')
			return byte == '\r' ? true : refuse_chunk(error);
		c->state = FETCH_CHUNK_SIZE;
		c->digits = 0;
		return true;
	case FETCH_CHUNK_TRAILER:
		if (byte == '\n' && c->line == 0)
			c->state = FETCH_CHUNK_DONE;
		else if (byte == '\n')
			c->line = 0;
		else if (byte != '\r')
			c->line++;
		return true;
	case FETCH_CHUNK_DATA:
	case FETCH_CHUNK_DONE: break;
	}
	g_assert_not_reached();
}

bool fetch_chunks_decode(struct fetch_chunks *c, const uint8_t *in, size_t in_length,
			 size_t *ret_used, uint8_t *out, size_t out_length, size_t *ret_got,
			 GError **error)
{
	size_t used = 0, got = 0;

	while (used < in_length && c->state != FETCH_CHUNK_DONE) {
		if (c->state != FETCH_CHUNK_DATA) {
			if (!chunk_byte(c, in[used++], error))
				return false;
			continue;
		}
		size_t part = MIN(MIN(in_length - used, out_length - got), c->left);

		if (part == 0)
			break;
		memcpy(out + got, in + used, part);
		used += part;
		got += part;
		c->left -= part;
		if (c->left == 0) {
			c->state = FETCH_CHUNK_DATA_END;
			c->overall = 0;
		}
	}
	*ret_used = used;
	*ret_got = got;
	return true;
}
