/* http_body.h: the body of an HTTP/1.x message, collected from a connection's input up to a limit.
 * Private to http/.
 */
#pragma once

#include "http_head.h"

struct evbuffer;

enum http_progress { HTTP_MORE, HTTP_COMPLETE, HTTP_BROKEN };

struct http_body {
	enum http_framing framing;
	uint64_t left;  /* of the body or of the chunk */
	unsigned stage; /* of chunked framing */
	unsigned trailer_lines;
	size_t limit;
	GByteArray *bytes; /* NUL-terminated beyond len once complete */
};

/* False with LIMIT if the length is known and too large. */
bool http_body_start(struct http_body *b, enum http_framing framing, uint64_t length, size_t limit,
		     GError **error);
/* Takes what belongs to the body out of `input`.  Errors: LIMIT, PEER. */
enum http_progress http_body_read(struct http_body *b, struct evbuffer *input, GError **error);
/* The connection has ended: completes a body that lasts until then. */
enum http_progress http_body_end(struct http_body *b, GError **error);
void http_body_clear(struct http_body *b);
