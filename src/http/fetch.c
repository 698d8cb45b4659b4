#include "fetch.h"

#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "fetch_link.h"
#include "fetch_parse.h"
#include "limit.h"
#include "secret.h"

#define PAUSE_SLICE_MS 100
#define SPARE_BYTES    (64 * 1024)

struct fetch {
	struct fetch_options options;
	struct secret *authorization; /* these three are behind options */
	char *ca_file, *proxy;
	struct fetch_url url;
	struct fetch_link *stream;
	struct fetch_chunks chunks;
	bool chunked, started;
	int64_t total;    /* of the body; -1: not said */
	uint64_t offset;  /* bytes given to the caller */
	uint64_t skip;    /* bytes to drop because the server began again at the start */
	char *etag;       /* of the first answer */
	unsigned retries; /* left */
	uint8_t *spare;   /* bytes that came with the head, or of a chunked body */
	size_t spare_at, spare_end;
};

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	fetch_link_free(f->stream);
	fetch_url_clear(&f->url);
	secret_free(f->authorization);
	g_free(f->ca_file);
	g_free(f->proxy);
	g_free(f->etag);
	g_free(f->spare);
	g_free(f);
}

int64_t fetch_total(const struct fetch *f)
{
	return f->total;
}

const char *fetch_shown_url(const struct fetch *f)
{
	return f->url.shown;
}

/* ---- request and head */

static bool send_request(struct fetch *f, GError **error)
{
	const struct fetch_url *u = &f->url;
	bool v6 = strchr(u->host, ':') != NULL;
	g_autoptr(GString) r = g_string_new("GET ");

	if (f->proxy && !u->tls)
		g_string_append_printf(r, v6 ? "http://[%s]:%u" : "http://%s:%u", u->host, u->port);
	g_string_append_printf(
		r, v6 ? "%s HTTP/1.1\r\nHost: [%s]:%u\r\n" : "%s HTTP/1.1\r\nHost: %s:%u\r\n",
		u->target, u->host, u->port);
	g_string_append(r, "User-Agent: inox-agent/" INOX_VERSION "\r\nAccept: */*\r\n"
			   "Accept-Encoding: identity\r\nConnection: close\r\n");
	if (f->offset > 0)
		g_string_append_printf(r, "Range: bytes=%" G_GUINT64_FORMAT "-\r\n", f->offset);
	if (f->offset > 0 && f->etag && f->etag[0] == '"')
		g_string_append_printf(r, "If-Range: %s\r\n", f->etag);
	if (f->authorization)
		g_string_append_printf(r, "Authorization: %s\r\n", secret_peek(f->authorization));
	g_string_append(r, "\r\n");

	bool sent = fetch_link_write(f->stream, r->str, r->len, error);

	explicit_bzero(r->str, r->len);
	return sent;
}

/* Leaves what followed the head in `spare`. */
static bool read_head(struct fetch *f, struct fetch_head *ret_head, GError **error)
{
	size_t end, got;

	f->spare_at = f->spare_end = 0;
	while ((end = fetch_head_find_end((const char *)f->spare, f->spare_end)) == 0) {
		if (f->spare_end >= LIMIT_HTTP_HEADERS)
			return inox_error_set(error, INOX_ERROR_PEER,
					      "the headers of %s are longer than %d bytes",
					      f->url.shown, LIMIT_HTTP_HEADERS);
		if (!fetch_link_read(f->stream, f->spare + f->spare_end, SPARE_BYTES - f->spare_end,
				     &got, error))
			return false;
		if (got == 0)
			return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
					      "%s closed the connection without an answer",
					      f->url.shown);
		f->spare_end += got;
	}
	f->spare_at = end;
	if (!fetch_head_parse((const char *)f->spare, end, ret_head, error)) {
		g_prefix_error(error, "%s: ", f->url.shown);
		return false;
	}
	return true;
}

static bool refuse_status(const struct fetch *f, const struct fetch_head *h, GError **error)
{
	enum inox_error code = h->status >= 500 ? INOX_ERROR_UNAVAILABLE : INOX_ERROR_DENIED;

	return inox_error_set(error, code, "%s answered with HTTP status %d", f->url.shown,
			      h->status);
}

static bool follow(struct fetch *f, const struct fetch_head *h, GError **error)
{
	g_auto(fetch_url) next = {.host = NULL};
	const char *to = h->location ? h->location : "";
	g_autofree char *joined = NULL;

	if (to[0] == '/' && to[1] != '/')
		joined = g_strdup_printf(
			strchr(f->url.host, ':') ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
			f->url.tls ? "https" : "http", f->url.host, f->url.port, to);
	if (!fetch_url_parse(joined ? joined : to, &next, error)) {
		g_prefix_error(error, "%s redirects to an address that is no URL: ", f->url.shown);
		return false;
	}
	if (!fetch_url_same_origin(&f->url, &next))
		return inox_error_set(error, INOX_ERROR_DENIED,
				      "%s redirects to %s, which is another server: give the final "
				      "URL instead",
				      f->url.shown, next.shown);
	fetch_url_clear(&f->url);
	f->url = next;
	next = (struct fetch_url){.host = NULL};
	return true;
}

static bool refuse_changed(const struct fetch *f, GError **error)
{
	return inox_error_set(error, INOX_ERROR_PEER,
			      "%s changed on the server while it was downloaded", f->url.shown);
}

/* A later answer must be about the same bytes as the first. */
static bool check_resumed(struct fetch *f, const struct fetch_head *h, GError **error)
{
	bool partial = h->status == 206;
	int64_t total = partial ? h->range_total : h->length;

	if (g_strcmp0(f->etag, h->etag) != 0)
		return refuse_changed(f, error);
	if (f->total >= 0 && total >= 0 && total != f->total)
		return refuse_changed(f, error);
	if (partial && h->range_start != (int64_t)f->offset)
		return inox_error_set(error, INOX_ERROR_PEER,
				      "%s answered with another range than the one asked for",
				      f->url.shown);
	f->skip = partial ? 0 : f->offset;
	return true;
}

static bool accept_head(struct fetch *f, const struct fetch_head *h, GError **error)
{
	if (h->encoding)
		return inox_error_set(error, INOX_ERROR_PEER,
				      "%s is sent with the content coding '%s', which was not "
				      "asked for",
				      f->url.shown, h->encoding);
	if (h->status != 200 && !(h->status == 206 && f->offset > 0))
		return refuse_status(f, h, error);
	if (f->started && !check_resumed(f, h, error))
		return false;
	f->chunked = h->chunked;
	f->chunks = (struct fetch_chunks){.state = FETCH_CHUNK_SIZE};
	if (!f->started) {
		f->total = h->length;
		f->etag = g_strdup(h->etag);
		f->started = true;
	}
	return true;
}

/* Asks for the body from f->offset on. */
static bool ask(struct fetch *f, GError **error)
{
	for (unsigned redirects = 0; redirects <= FETCH_REDIRECTS; redirects++) {
		g_auto(fetch_head) h = {.etag = NULL};

		g_clear_pointer(&f->stream, fetch_link_free);
		f->stream = fetch_link_open(&f->url, &f->options, error);
		if (!f->stream || !send_request(f, error) || !read_head(f, &h, error))
			return false;
		if (h.status < 301 || h.status > 308 || h.status == 304)
			return accept_head(f, &h, error);
		if (!follow(f, &h, error))
			return false;
	}
	return inox_error_set(error, INOX_ERROR_DENIED, "%s redirects more than %d times",
			      f->url.shown, FETCH_REDIRECTS);
}

/* ---- trying again */

static bool pause_before_retry(struct fetch *f, GError **error)
{
	for (unsigned ms = 0; ms < f->options.retry_pause_ms; ms += PAUSE_SLICE_MS) {
		if (f->options.cancelled && f->options.cancelled(f->options.ctx))
			return inox_error_set(error, INOX_ERROR_BUSY,
					      "the download from %s was cancelled", f->url.shown);
		g_usleep(1000 * MIN(PAUSE_SLICE_MS, f->options.retry_pause_ms - ms));
	}
	return true;
}

static bool can_retry(const struct fetch *f, const GError *e)
{
	return f->retries > 0 && (g_error_matches(e, INOX_ERROR, INOX_ERROR_UNAVAILABLE) ||
				  g_error_matches(e, INOX_ERROR, INOX_ERROR_TIMEOUT));
}

/* Asks until it works; `failed` (taken; may be NULL) is why the last connection ended. */
static bool ask_again(struct fetch *f, GError *failed, GError **error)
{
	while (!failed || can_retry(f, failed)) {
		if (failed) {
			f->retries--;
			g_clear_error(&failed);
			if (!pause_before_retry(f, error))
				return false;
		}
		if (ask(f, &failed))
			return true;
	}
	g_propagate_error(error, failed);
	if (f->offset > 0)
		g_prefix_error(error, "after %" G_GUINT64_FORMAT " bytes: ", f->offset);
	return false;
}

struct fetch *fetch_open(const char *url, const struct fetch_options *options, GError **error)
{
	g_autoptr(fetch) f = g_new0(struct fetch, 1);

	f->options = *options;
	f->total = -1;
	f->retries = options->retries;
	f->spare = g_malloc(SPARE_BYTES);
	f->options.authorization = NULL;
	f->authorization = secret_new(options->authorization);
	f->options.ca_file = f->ca_file = g_strdup(options->ca_file);
	f->options.proxy = f->proxy = g_strdup(options->proxy);
	if (options->authorization && strpbrk(options->authorization, "\r\n")) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "the authorization value holds a line break");
		return NULL;
	}
	if (!fetch_url_parse(url, &f->url, error) || !ask_again(f, NULL, error))
		return NULL;
	return g_steal_pointer(&f);
}

/* ---- body */

/* Raw bytes of the stream: first what is spare. */
static bool read_stream(struct fetch *f, void *buffer, size_t length, size_t *ret_got,
			GError **error)
{
	size_t have = f->spare_end - f->spare_at;

	if (have == 0)
		return fetch_link_read(f->stream, buffer, length, ret_got, error);
	*ret_got = MIN(have, length);
	memcpy(buffer, f->spare + f->spare_at, *ret_got);
	f->spare_at += *ret_got;
	return true;
}

static bool refuse_short(const struct fetch *f, GError **error)
{
	if (f->total < 0)
		return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
				      "%s closed the connection early: got %" G_GUINT64_FORMAT
				      " bytes",
				      f->url.shown, f->offset);
	return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
			      "%s closed the connection early: got %" G_GUINT64_FORMAT
			      " of %" G_GINT64_FORMAT " bytes",
			      f->url.shown, f->offset, f->total);
}

static bool read_chunked(struct fetch *f, void *buffer, size_t length, size_t *ret_got,
			 GError **error)
{
	for (;;) {
		size_t used, got;

		if (!fetch_chunks_decode(&f->chunks, f->spare + f->spare_at,
					 f->spare_end - f->spare_at, &used, buffer, length, &got,
					 error))
			return false;
		f->spare_at += used;
		if (got > 0 || f->chunks.state == FETCH_CHUNK_DONE) {
			*ret_got = got;
			return true;
		}
		if (!fetch_link_read(f->stream, f->spare, SPARE_BYTES, &got, error))
			return false;
		if (got == 0)
			return refuse_short(f, error);
		f->spare_at = 0;
		f->spare_end = got;
	}
}

static bool read_sized(struct fetch *f, void *buffer, size_t length, size_t *ret_got,
		       GError **error)
{
	uint64_t left = f->total < 0 ? UINT64_MAX : (uint64_t)f->total - f->offset + f->skip;

	*ret_got = 0;
	if (left == 0)
		return true;
	if (!read_stream(f, buffer, (size_t)MIN(left, length), ret_got, error))
		return false;
	return *ret_got > 0 || f->total < 0 ? true : refuse_short(f, error);
}

/* One read of this connection, without the bytes that the caller has already. */
static bool read_once(struct fetch *f, void *buffer, size_t length, size_t *ret_got, GError **error)
{
	size_t got;

	for (;;) {
		bool ok = f->chunked ? read_chunked(f, buffer, length, &got, error)
				     : read_sized(f, buffer, length, &got, error);

		if (!ok)
			return false;
		if (got == 0 && f->skip > 0)
			return refuse_changed(f, error);
		if (got > f->skip)
			break;
		f->skip -= got;
		if (got == 0)
			break;
	}
	*ret_got = got - (size_t)f->skip;
	if (f->skip > 0)
		memmove(buffer, (uint8_t *)buffer + f->skip, *ret_got);
	f->skip = 0;
	return true;
}

bool fetch_read(struct fetch *f, void *buffer, size_t length, size_t *ret_got, GError **error)
{
	GError *failed = NULL;

	while (!read_once(f, buffer, length, ret_got, &failed)) {
		if (!can_retry(f, failed)) {
			g_propagate_error(error, failed);
			return false;
		}
		if (!ask_again(f, g_steal_pointer(&failed), error))
			return false;
	}
	f->offset += *ret_got;
	return true;
}

char *fetch_text(const char *url, const struct fetch_options *options, size_t limit,
		 size_t *ret_length, GError **error)
{
	g_autoptr(fetch) f = fetch_open(url, options, error);
	g_autoptr(GByteArray) body = g_byte_array_new();
	g_autofree uint8_t *part = g_malloc(SPARE_BYTES);
	size_t got = 1;

	while (f && got > 0) {
		if (!fetch_read(f, part, SPARE_BYTES, &got, error))
			return NULL;
		g_byte_array_append(body, part, (guint)got);
		if (body->len > limit) {
			inox_error_set(error, INOX_ERROR_LIMIT, "%s is longer than %zu bytes",
				       f->url.shown, limit);
			return NULL;
		}
	}
	if (!f)
		return NULL;
	*ret_length = body->len;
	g_byte_array_append(body, (const uint8_t *)"", 1);
	return (char *)g_byte_array_free(g_steal_pointer(&body), FALSE);
}
