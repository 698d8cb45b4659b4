/* server.h: evhttp wrapped: one handler, limits, optional TLS (PSK, certificate, or both on one port).
 *
 * A request belongs to the handler until http_request_reply(); it may be answered later, from the same
 * loop.  When the client goes away first, on_gone is called and the request must not be used again.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "identity.h"
#include "loop.h"

struct http_server;
struct http_request;
struct http_tls_server;

typedef void (*http_handler_fn)(void *ctx, struct http_request *rq);
typedef void (*http_gone_fn)(void *ctx);

struct http_server_options {
	size_t body_limit;           /* larger requests are answered 413 and closed */
	size_t header_limit;         /* bytes; 0: LIMIT_HTTP_HEADERS */
	unsigned connection_limit;   /* further ones are closed at once; 0: 1024 */
	struct span idle_timeout;    /* 0: 60 s; also the limit for one read of a request */
	const char *server_name;     /* value of "Server:", NULL for none */
	struct http_tls_server *tls; /* NULL: plain HTTP; borrowed */
	bool close_always;           /* one request per connection */
	/* Optional: called once the head of a request with a body is known, before the body is read.  It
	 * may answer already (the body is then dropped); the handler is not called in that case. */
	http_handler_fn on_head;
};

struct http_server *http_server_new(struct loop *l, const struct http_server_options *options,
				    http_handler_fn handler, void *ctx);
void http_server_free(struct http_server *s);
/* May be called several times.  Errors: IO, DENIED or BUSY (address in use), with the address. */
bool http_server_listen(struct http_server *s, const struct endpoint *at,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes a listening descriptor that was opened before a sandbox was entered. */
bool http_server_accept_on(struct http_server *s, int fd, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- the request; all results are borrowed and live as long as the request */
const char *http_request_method(const struct http_request *rq); /* "GET", ... upper case */
const char *http_request_path(const struct http_request *rq);   /* percent-decoded, without query */
const char *http_request_raw_query(
	const struct http_request *rq); /* "" if there is none; may hold a token: never log */
/* First value of a query parameter, decoded; NULL if absent. */
const char *http_request_query(const struct http_request *rq, const char *name);
/* Name and value of the i-th query parameter; false past the end. */
bool http_request_query_at(const struct http_request *rq, unsigned i, const char **ret_name,
			   const char **ret_value);
const char *http_request_header(const struct http_request *rq,
				const char *name); /* NULL if absent */
const char *http_request_body(const struct http_request *rq, size_t *ret_length);
const char *http_request_peer(const struct http_request *rq); /* numeric address */
bool http_request_is_tls(const struct http_request *rq);
/* PSK identity of the connection, NULL if it has none. */
const char *http_request_psk_identity(const struct http_request *rq);
void http_request_set_context(struct http_request *rq, void *ctx, GDestroyNotify destroy);
void *http_request_peek_context(const struct http_request *rq);
void http_request_on_gone(struct http_request *rq, http_gone_fn fn, void *ctx);

/* ---- the answer */
void http_request_add_header(struct http_request *rq, const char *name, const char *value);
/* Sends and gives the request up.  `reason` NULL: the standard phrase.  `body` is copied; NULL for
 * none.  For HEAD the body is left out and its length kept. */
void http_request_reply(struct http_request *rq, int status, const char *reason,
			const char *content_type, const char *body, size_t length);

/* A body that is made while it is sent, of known length. */
struct http_body_source {
	uint64_t length;
	/* Fills `buffer` with the `length` bytes from `offset` on.  False: they cannot be had, and the connection is cut
	 * off, so that nobody takes what came before for the whole. */
	bool (*read)(void *ctx, uint64_t offset, uint8_t *buffer, size_t length);
	void *ctx;
	GDestroyNotify destroy; /* of ctx; NULL: none */
};
/* As http_request_reply(), with the standard phrase.  `source` is copied; its ctx is given up in any case.  At most 64 KiB of it are
 * in memory at a time.  A client that takes less than 64 KiB in a second, with idle_timeout to spare, is cut off. */
void http_request_reply_from(struct http_request *rq, int status, const char *content_type,
			     const struct http_body_source *source);

typedef struct http_server http_server;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(http_server, http_server_free)
