/* http_connection.h: a server connection and the request it carries.  Private to http/. */
#pragma once

#include <event2/buffer.h>
#include <openssl/ssl.h>

#include "http_body.h"
#include "server.h"

struct bufferevent;

#define HTTP_PEER_TEXT 64 /* a numeric address, with a zone */

enum http_stage {
	HTTP_STAGE_HEAD,
	HTTP_STAGE_BODY,
	HTTP_STAGE_ANSWERING,
	HTTP_STAGE_SENDING,
	HTTP_STAGE_DRAIN,
	HTTP_STAGE_CLOSED
};

struct http_parameter {
	char *name, *value;
};

/* One per connection: a connection carries one request at a time. */
struct http_request {
	struct http_server *server;
	GList link;
	struct bufferevent *bev;
	SSL *ssl; /* NULL: plain; belongs to bev */
	char peer[HTTP_PEER_TEXT];
	struct loop_timer *timer;
	enum http_stage stage;
	bool close_after; /* the connection ends with this answer */
	bool unread_body; /* the client may still be sending */
	struct http_body_source
		source; /* of the answer; no length: there is none, or all of it is sent */
	uint64_t sent;  /* of it */

	struct http_head head;
	struct http_body body;
	char *path;
	const char *raw_query;
	GArray *parameters; /* of struct http_parameter */
	struct evbuffer *extra_headers;
	void *context;
	GDestroyNotify context_destroy;
	http_gone_fn gone;
	void *gone_ctx;
};

/* Splits head.target into path and query.  Errors: PEER, LIMIT. */
bool http_request_read_target(struct http_request *rq, GError **error);
/* Forgets everything that belongs to the request and not to the connection. */
void http_request_clear(struct http_request *rq);
const char *http_status_text(int status);
