/* fetch_parse.h: the parts of the downloader that read a stranger's bytes, without any I/O: URLs,
 * response heads (RFC 9112 sections 4 and 5) and chunked bodies (section 7.1).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct fetch_url {
	bool tls;
	char *host; /* name or numeric address, IPv6 without brackets */
	unsigned port;
	char *target; /* path and query, starts with '/' */
	char *shown;  /* for sentences: no user information, no query */
};

/* Takes http and https URLs without user information, spaces or control characters; a fragment is
 * dropped.  Error: INVALID; the sentence never repeats a query. */
bool fetch_url_parse(const char *text, struct fetch_url *ret_url,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;
void fetch_url_clear(struct fetch_url *u);
/* Same scheme, host and port. */
bool fetch_url_same_origin(const struct fetch_url *a, const struct fetch_url *b);

struct fetch_head {
	int status;
	int64_t length; /* of the body; -1: not said */
	bool chunked;
	int64_t range_start, range_total; /* Content-Range; -1: not said */
	char *etag;                       /* NULL: none */
	char *location;                   /* NULL: none */
	char *encoding;                   /* Content-Encoding other than identity; NULL: none */
};

/* Length of the head at the start of `bytes`, the empty line included; 0 if its end is not there. */
size_t fetch_head_find_end(const char *bytes, size_t length);
/* Parses a whole head.  Error: PEER, with a sentence that names what is wrong. */
bool fetch_head_parse(const char *bytes, size_t length, struct fetch_head *ret_head,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
void fetch_head_clear(struct fetch_head *h);

enum fetch_chunk_state {
	FETCH_CHUNK_SIZE,
	FETCH_CHUNK_EXTENSION,
	FETCH_CHUNK_DATA,
	FETCH_CHUNK_DATA_END,
	FETCH_CHUNK_TRAILER,
	FETCH_CHUNK_DONE,
};

/* A decoder of a chunked body; starts zeroed. */
struct fetch_chunks {
	enum fetch_chunk_state state;
	uint64_t left;        /* bytes of this chunk */
	unsigned digits;      /* of the size so far */
	size_t line, overall; /* bytes of this trailer line, and of everything that is not data */
};

/* Moves bytes from `in` to `out` until one of them is used up or the body has ended.  Error: PEER. */
bool fetch_chunks_decode(struct fetch_chunks *c, const uint8_t *in, size_t in_length,
			 size_t *ret_used, uint8_t *out, size_t out_length, size_t *ret_got,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct fetch_url fetch_url;
typedef struct fetch_head fetch_head;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(fetch_url, fetch_url_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(fetch_head, fetch_head_clear)
