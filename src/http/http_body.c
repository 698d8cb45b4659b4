#include "http_body.h"

#include <event2/buffer.h>

#include "errors.h"

/* What follows in chunked framing (RFC 9112, section 7.1). */
enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

#define CHUNK_LINE_MAX    256
#define TRAILER_LINES_MAX 16
#define FIRST_RESERVE     (64 * 1024)

bool http_body_start(struct http_body *b, enum http_framing framing, uint64_t length, size_t limit,
		     GError **error)
{
	if (framing == HTTP_LENGTH && length > limit)
		return inox_error_set(error, INOX_ERROR_LIMIT, "a body larger than %zu bytes",
				      limit);
	*b = (struct http_body){
		.framing = framing,
		.limit = limit,
		.stage = CHUNK_SIZE,
		.left = framing == HTTP_LENGTH ? length : 0,
		/* The announced length is a promise of a stranger: memory grows with what arrives. */
		.bytes = g_byte_array_sized_new((guint)MIN(length + 1, FIRST_RESERVE)),
	};
	return true;
}

void http_body_clear(struct http_body *b)
{
	if (b->bytes)
		g_byte_array_unref(b->bytes);
	*b = (struct http_body){.framing = HTTP_NO_BODY};
}

static enum http_progress broken(GError **error, enum inox_error code, const char *sentence)
{
	inox_error_set(error, code, "%s", sentence);
	return HTTP_BROKEN;
}

static enum http_progress complete(struct http_body *b)
{
	g_byte_array_append(b->bytes, (const guint8 *)"", 1);
	b->bytes->len--;
	return HTTP_COMPLETE;
}

/* Moves up to `most` bytes from the input to the body; false if the limit would be passed. */
static bool take(struct http_body *b, struct evbuffer *input, uint64_t most, size_t *ret_taken)
{
	size_t n = (size_t)MIN((uint64_t)evbuffer_get_length(input), most);
	size_t before = b->bytes->len;

	if (n > b->limit - before)
		return false;
	g_byte_array_set_size(b->bytes, (guint)(before + n));
	evbuffer_remove(input, b->bytes->data + before, n);
	*ret_taken = n;
	return true;
}

static enum http_progress read_length(struct http_body *b, struct evbuffer *input)
{
	size_t n = 0;

	(void)take(b, input, b->left, &n); /* the length was checked at the start */
	b->left -= n;
	return b->left == 0 ? complete(b) : HTTP_MORE;
}

static enum http_progress read_rest(struct http_body *b, struct evbuffer *input, GError **error)
{
	size_t n;

	if (!take(b, input, UINT64_MAX, &n))
		return broken(error, INOX_ERROR_LIMIT, "a body over its limit");
	return HTTP_MORE;
}

/* "1a2b" and "1a2b;extension" */
static bool parse_chunk_size(const char *line, uint64_t *ret_size)
{
	uint64_t size = 0;
	unsigned digits = 0;

	for (; g_ascii_isxdigit(*line); line++) {
		size = size << 4 | (uint64_t)g_ascii_xdigit_value(*line);
		if (++digits > 12)
			return false;
	}
	*ret_size = size;
	return digits > 0 && (*line == '\0' || *line == ';' || *line == ' ' || *line == '\t');
}

/* One line of the framing; HTTP_MORE while it is incomplete. */
static enum http_progress take_line(struct evbuffer *input, char **ret_line, GError **error)
{
	*ret_line = evbuffer_readln(input, NULL, EVBUFFER_EOL_CRLF_STRICT);
	if (*ret_line)
		return HTTP_COMPLETE;
	if (evbuffer_get_length(input) > CHUNK_LINE_MAX)
		return broken(error, INOX_ERROR_PEER, "a chunk line that does not end");
	return HTTP_MORE;
}

static enum http_progress read_size(struct http_body *b, struct evbuffer *input, GError **error)
{
	char *line;
	enum http_progress p = take_line(input, &line, error);

	if (p != HTTP_COMPLETE)
		return p;
	bool good = parse_chunk_size(line, &b->left);

	free(line);
	if (!good)
		return broken(error, INOX_ERROR_PEER, "a malformed chunk size");
	if (b->left > b->limit - b->bytes->len)
		return broken(error, INOX_ERROR_LIMIT, "a body over its limit");
	b->stage = b->left ? CHUNK_DATA : TRAILER;
	return HTTP_COMPLETE;
}

static enum http_progress read_data(struct http_body *b, struct evbuffer *input)
{
	size_t n = 0;

	(void)take(b, input, b->left, &n); /* the size was checked when it was read */
	b->left -= n;
	if (b->left)
		return HTTP_MORE;
	b->stage = CHUNK_END;
	return HTTP_COMPLETE;
}

/* The line end behind a chunk, or the lines behind the last one. */
static enum http_progress read_line(struct http_body *b, struct evbuffer *input, bool *ret_empty,
				    GError **error)
{
	char *line;
	enum http_progress p = take_line(input, &line, error);

	if (p != HTTP_COMPLETE)
		return p;
	*ret_empty = line[0] == '\0';
	free(line);
	if (!*ret_empty && (b->stage == CHUNK_END || ++b->trailer_lines > TRAILER_LINES_MAX))
		return broken(error, INOX_ERROR_PEER, "a malformed chunk");
	return HTTP_COMPLETE;
}

static enum http_progress read_chunked(struct http_body *b, struct evbuffer *input, GError **error)
{
	enum http_progress p = HTTP_COMPLETE;

	while (p == HTTP_COMPLETE) {
		bool empty = false;

		if (b->stage == CHUNK_SIZE) {
			p = read_size(b, input, error);
		} else if (b->stage == CHUNK_DATA) {
			p = read_data(b, input);
		} else {
			p = read_line(b, input, &empty, error);
			if (p == HTTP_COMPLETE && b->stage == TRAILER && empty)
				return complete(b);
			if (p == HTTP_COMPLETE && b->stage == CHUNK_END)
				b->stage = CHUNK_SIZE;
		}
	}
	return p;
}

enum http_progress http_body_read(struct http_body *b, struct evbuffer *input, GError **error)
{
	switch (b->framing) {
	case HTTP_LENGTH: return read_length(b, input);
	case HTTP_CHUNKED: return read_chunked(b, input, error);
	case HTTP_UNTIL_CLOSE: return read_rest(b, input, error);
	case HTTP_NO_BODY: break;
	}
	return complete(b);
}

enum http_progress http_body_end(struct http_body *b, GError **error)
{
	if (b->framing == HTTP_UNTIL_CLOSE)
		return complete(b);
	return broken(error, INOX_ERROR_PEER, "the connection ended inside the body");
}
