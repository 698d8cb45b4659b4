/* http_head.h: the head of an HTTP/1.x message (RFC 9112), parsed strictly: CR LF line ends, no folded
 * lines, no control characters, one Content-Length or chunked but never both.  Private to http/.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define HTTP_HEADERS_MAX 64

enum http_framing {
	HTTP_NO_BODY,
	HTTP_LENGTH,     /* Content-Length */
	HTTP_CHUNKED,    /* Transfer-Encoding: chunked */
	HTTP_UNTIL_CLOSE /* an answer without either */
};

struct http_field {
	const char *name, *value;
};

struct http_head {
	char *text;         /* owns every text below */
	const char *method; /* requests */
	const char *target;
	int status;     /* answers */
	unsigned minor; /* HTTP/1.minor */
	unsigned n_fields;
	struct http_field fields[HTTP_HEADERS_MAX];
};

/* `text` is a head without the empty line that ends it.  Errors: PEER with a sentence, LIMIT. */
bool http_head_parse_request(struct http_head *h, const char *text, size_t length, GError **error);
bool http_head_parse_answer(struct http_head *h, const char *text, size_t length, GError **error);
void http_head_clear(struct http_head *h); /* wipes: a target may hold a token */
const char *http_head_find(const struct http_head *h, const char *name);
/* Whether a comma-separated header holds the word, in any case. */
bool http_head_has_word(const struct http_head *h, const char *name, const char *word);
/* How the body ends.  For answers `no_body` says that there is none, as after HEAD. */
bool http_head_framing(const struct http_head *h, bool no_body, enum http_framing *ret_framing,
		       uint64_t *ret_length, GError **error);

typedef struct http_head http_head;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(http_head, http_head_clear)
