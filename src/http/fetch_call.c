#include "fetch_call.h"

#include <string.h>

#include "clocks.h"
#include "errors.h"
#include "limit.h"

#define PART_BYTES (16 * 1024)

/* One call under way. */
struct call_state {
	const struct fetch_url *url;
	const struct fetch_call *call;
	struct mono due;
	struct fetch_link *stream;
	GByteArray *bytes; /* as they came */
	size_t head;       /* bytes of the head */
};

/* Every wait of the connection asks this, so one due time bounds them all. */
static bool is_over(void *ctx)
{
	const struct call_state *s = ctx;

	return mono_reached(s->due, mono_now()) ||
	       (s->call->cancelled && s->call->cancelled(s->call->ctx));
}

static bool send_request(struct call_state *s, GError **error)
{
	const struct fetch_url *u = s->url;
	const struct fetch_call *c = s->call;
	size_t length = c->body ? strlen(c->body) : 0;
	/* Large enough at once: a copy that is left behind when it grows would keep the token. */
	g_autoptr(GString) r = g_string_sized_new(strlen(u->target) + strlen(u->host) +
						  strlen(c->headers) + length + 512);

	g_string_append_printf(r,
			       strchr(u->host, ':') ? "%s %s HTTP/1.1\r\nHost: [%s]:%u\r\n"
						    : "%s %s HTTP/1.1\r\nHost: %s:%u\r\n",
			       c->method, u->target, u->host, u->port);
	g_string_append_printf(r,
			       "User-Agent: inox-agent/" INOX_VERSION "\r\n"
			       "Accept: application/json\r\nAccept-Encoding: identity\r\n"
			       "Connection: close\r\n%s",
			       c->headers);
	if (c->body)
		g_string_append_printf(
			r, "Content-Type: application/json\r\nContent-Length: %zu\r\n", length);
	g_string_append_printf(r, "\r\n%s", c->body ? c->body : "");

	bool sent = fetch_link_write(s->stream, r->str, r->len, error);

	explicit_bzero(r->str, r->len);
	return sent;
}

/* More bytes of the answer; *ret_got = 0 at its end. */
static bool read_more(struct call_state *s, size_t *ret_got, GError **error)
{
	size_t most = LIMIT_HTTP_HEADERS + s->call->reply_limit, have = s->bytes->len;

	if (have > most)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "%s answers with more than %zu bytes", s->url->shown, most);
	g_byte_array_set_size(s->bytes, (guint)(have + PART_BYTES));
	bool good = fetch_link_read(s->stream, s->bytes->data + have, PART_BYTES, ret_got, error);

	g_byte_array_set_size(s->bytes, (guint)(have + (good ? *ret_got : 0)));
	return good;
}

static bool refuse_short(const struct call_state *s, GError **error)
{
	return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
			      "%s closed the connection in the middle of its answer",
			      s->url->shown);
}

static bool read_head(struct call_state *s, struct fetch_head *ret_head, GError **error)
{
	size_t got = 0;

	while ((s->head = fetch_head_find_end((const char *)s->bytes->data, s->bytes->len)) == 0) {
		if (s->bytes->len > LIMIT_HTTP_HEADERS)
			return inox_error_set(error, INOX_ERROR_PEER,
					      "the headers of %s are longer than %d bytes",
					      s->url->shown, LIMIT_HTTP_HEADERS);
		if (!read_more(s, &got, error))
			return false;
		if (got == 0)
			return refuse_short(s, error);
	}
	if (!fetch_head_parse((const char *)s->bytes->data, s->head, ret_head, error)) {
		g_prefix_error(error, "%s: ", s->url->shown);
		return false;
	}
	if (ret_head->encoding)
		return inox_error_set(
			error, INOX_ERROR_PEER,
			"%s answers with the content coding '%s', which was not asked for",
			s->url->shown, ret_head->encoding);
	return true;
}

/* Takes the chunks out of what came, and reads more until the last one. */
static bool read_chunks(struct call_state *s, size_t *ret_length, GError **error)
{
	struct fetch_chunks chunks = {.state = FETCH_CHUNK_SIZE};
	g_autofree uint8_t *part = g_malloc(PART_BYTES);
	size_t at = s->head, end = s->head, used, got;

	for (;;) {
		if (!fetch_chunks_decode(&chunks, s->bytes->data + at, s->bytes->len - at, &used,
					 part, PART_BYTES, &got, error))
			return false;
		/* What is decoded is shorter than what was read: a chunk has its size before it. */
		memcpy(s->bytes->data + end, part, got);
		at += used;
		end += got;
		if (chunks.state == FETCH_CHUNK_DONE)
			break;
		if (at < s->bytes->len)
			continue;
		if (!read_more(s, &got, error))
			return false;
		if (got == 0)
			return refuse_short(s, error);
	}
	explicit_bzero(part, PART_BYTES);
	*ret_length = end - s->head;
	return true;
}

static bool read_body(struct call_state *s, const struct fetch_head *h, size_t *ret_length,
		      GError **error)
{
	size_t got = 1;

	if (h->chunked)
		return read_chunks(s, ret_length, error);
	if (h->length > (int64_t)s->call->reply_limit)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "%s answers with more than %zu bytes", s->url->shown,
				      s->call->reply_limit);
	while (got > 0 && (h->length < 0 || s->bytes->len - s->head < (size_t)h->length))
		if (!read_more(s, &got, error))
			return false;
	*ret_length = s->bytes->len - s->head;
	if (h->length >= 0 && *ret_length < (size_t)h->length)
		return refuse_short(s, error);
	if (h->length >= 0)
		*ret_length = (size_t)h->length;
	return true;
}

static bool exchange(struct call_state *s, struct fetch_reply *ret_reply, GError **error)
{
	g_auto(fetch_head) head = {.etag = NULL};
	size_t length = 0;

	if (!send_request(s, error) || !read_head(s, &head, error))
		return false;
	if (head.status != 204 && head.status != 304 && !read_body(s, &head, &length, error))
		return false;
	if (length > s->call->reply_limit)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "%s answers with more than %zu bytes", s->url->shown,
				      s->call->reply_limit);
	*ret_reply = (struct fetch_reply){.status = head.status, .length = length};
	ret_reply->body = g_malloc0(length + 1);
	memcpy(ret_reply->body, s->bytes->data + s->head, length);
	if (!fetch_link_own_address(s->stream, ret_reply->own_address))
		*ret_reply->own_address = '\0';
	return true;
}

bool fetch_call(const struct fetch_url *url, const struct fetch_call *call,
		struct fetch_reply *ret_reply, GError **error)
{
	struct call_state s = {
		.url = url,
		.call = call,
		.due = mono_add(mono_now(), SPAN_SECONDS(call->timeout_s)),
		.bytes = g_byte_array_sized_new(4 * PART_BYTES),
	};
	const struct fetch_options options = {
		.ca_file = call->ca_file,
		.insecure = call->insecure,
		.stall_s = call->timeout_s,
		.cancelled = is_over,
		.ctx = &s,
	};
	GError *reason = NULL;

	s.stream = fetch_link_open(url, &options, &reason);
	bool good = s.stream && exchange(&s, ret_reply, &reason);

	fetch_link_free(s.stream);
	explicit_bzero(s.bytes->data, s.bytes->len);
	g_byte_array_unref(s.bytes);
	if (good)
		return true;
	if (g_error_matches(reason, INOX_ERROR, INOX_ERROR_BUSY) &&
	    mono_reached(s.due, mono_now())) {
		g_clear_error(&reason);
		return inox_error_set(error, INOX_ERROR_TIMEOUT, "no answer from %s in %u seconds",
				      url->shown, call->timeout_s);
	}
	g_propagate_error(error, reason);
	return false;
}

void fetch_reply_clear(struct fetch_reply *r)
{
	if (r->body)
		explicit_bzero(r->body, r->length);
	g_free(r->body);
	*r = (struct fetch_reply){.body = NULL};
}
