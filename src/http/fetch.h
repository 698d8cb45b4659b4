/* fetch.h: the agent's downloader: HTTP/1.1 over TCP or TLS, one stream, blocking, for a thread of its own.
 *
 * Why not evhttp: its bodies arrive in evbuffers at the loop's pace, while the image pipeline wants bytes
 * in its own aligned buffers and at the disk's pace.  A blocking read into the caller's buffer is both the
 * back-pressure and the copy that is saved.
 *
 * Rules: the program connects where it was told and nowhere else, so only redirects within the same scheme,
 * host and port are followed, at most FETCH_REDIRECTS of them.  Content codings are refused: the bytes that
 * are hashed are the bytes that travelled.  A connection that breaks is resumed with a range request if
 * the server's validator still matches.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define FETCH_REDIRECTS 3

struct fetch_options {
	const char *ca_file; /* PEM bundle; NULL: the system's */
	bool insecure;       /* do not check the server's certificate */
	const char
		*authorization;  /* value of the Authorization header; NULL: none.  Never logged */
	const char *proxy;       /* http://HOST:PORT; NULL: none.  https goes through CONNECT */
	unsigned stall_s;        /* longest time without a byte; 0: 60 */
	unsigned retries;        /* broken connections that are made again */
	unsigned retry_pause_ms; /* before each of them */
	bool (*cancelled)(void *ctx); /* asked several times a second; may be NULL */
	void *ctx;
};

struct fetch;

/* Sends the request and reads the head of a 200 answer.  Errors: INVALID (URL), UNAVAILABLE (refused, no
 * such name, status 5xx), DENIED (other status, redirect to elsewhere), TIMEOUT (stalled), PEER
 * (broken protocol, TLS), BUSY (cancelled).  No sentence holds a query or credentials. */
struct fetch *fetch_open(const char *url, const struct fetch_options *options, GError **error);
void fetch_free(struct fetch *f);
/* Body bytes in all; -1 if the server did not say. */
int64_t fetch_total(const struct fetch *f);
/* URL without query: for sentences; borrowed. */
const char *fetch_shown_url(const struct fetch *f);
/* At least one byte, or *ret_got = 0 at the end of the body.  An end before fetch_total() bytes that could
 * not be resumed is the error UNAVAILABLE "... got N of M bytes". */
bool fetch_read(struct fetch *f, void *buffer, size_t length, size_t *ret_got,
		GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A whole body of at most `limit` bytes, NUL-terminated.  The caller frees it.  Error also: LIMIT. */
char *fetch_text(const char *url, const struct fetch_options *options, size_t limit,
		 size_t *ret_length, GError **error);

typedef struct fetch fetch;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(fetch, fetch_free)
