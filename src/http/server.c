/* server.c: connections on libevent's buffered events.
 *
 * The parts of evhttp's server that strangers push against cannot be bounded from outside in libevent 2.1:
 * the number of connections, the time a head may take, and what happens when a client goes away or
 * sends more while its request is being answered.  So the connection is ours; bytes, TLS and timers are
 * libevent's.
 *
 * A connection is always in one stage, and `timer` holds the deadline of that stage:
 *
 *   HEAD -> BODY -> ANSWERING (the handler has the request) -> SENDING -> HEAD again, or DRAIN -> closed
 *
 * DRAIN takes and drops what the client still sends after an early answer, so that the answer is not
 * lost to a reset.
 */
#include "server.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "errors.h"
#include "http_connection.h"
#include "limit.h"
#include "tls_session.h"

#define DEFAULT_CONNECTIONS 1024
#define DEFAULT_IDLE        SPAN_SECONDS(60)
#define INPUT_WINDOW        (64 * 1024)
#define BACKLOG             128
#define SLOWEST_BODY        (64 * 1024) /* bytes per second; who is slower is cut off */
#define DRAIN_TIME          SPAN_SECONDS(2)
#define ACCEPT_PAUSE        SPAN_MS(200)
#define SOURCE_PIECE        (64 * 1024)

struct http_server {
	struct loop *l;
	struct http_server_options options;
	char *server_name;
	http_handler_fn handler;
	void *ctx;
	GPtrArray *listeners;            /* of struct evconnlistener */
	struct loop_timer *accept_timer; /* armed while accepting pauses: no descriptors left */
	GQueue connections;              /* of struct http_request */
};

static void end_source(struct http_request *rq)
{
	if (rq->source.destroy)
		rq->source.destroy(rq->source.ctx);
	rq->source = (struct http_body_source){.length = 0};
	rq->sent = 0;
}

static void end_request(struct http_request *rq)
{
	if (rq->context_destroy)
		rq->context_destroy(rq->context);
	rq->context = NULL;
	rq->context_destroy = NULL;
	rq->gone = NULL;
	http_request_clear(rq);
}

static void close_connection(struct http_request *rq)
{
	http_gone_fn gone = rq->stage == HTTP_STAGE_ANSWERING ? rq->gone : NULL;

	rq->stage = HTTP_STAGE_CLOSED;
	if (gone)
		gone(rq->gone_ctx);
	end_request(rq);
	end_source(rq);
	g_queue_unlink(&rq->server->connections, &rq->link);
	loop_timer_free(rq->timer);
	bufferevent_free(rq->bev);
	evbuffer_free(rq->extra_headers);
	g_free(rq);
}

static void start_head(struct http_request *rq)
{
	rq->stage = HTTP_STAGE_HEAD;
	rq->close_after = false;
	loop_timer_arm(rq->timer, rq->server->options.idle_timeout);
}

static void start_drain(struct http_request *rq)
{
	rq->stage = HTTP_STAGE_DRAIN;
	loop_timer_arm(rq->timer, DRAIN_TIME);
	evbuffer_drain(bufferevent_get_input(rq->bev), INPUT_WINDOW);
	/* With TLS the end of the stream is announced when the session is freed. */
	if (!rq->ssl)
		shutdown(bufferevent_getfd(rq->bev), SHUT_WR);
}

/* ---- the answer */

static void append_date(struct evbuffer *out)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[64];

	gmtime_r(&now, &tm);
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	evbuffer_add_printf(out, "Date: %s\r\n", text);
}

/* Everything in front of the body. */
static void add_head(struct http_request *rq, int status, const char *reason,
		     const char *content_type, uint64_t length)
{
	struct evbuffer *out = bufferevent_get_output(rq->bev);
	bool bodiless = status == 204 || status == 304;

	g_assert(rq->stage == HTTP_STAGE_ANSWERING);
	rq->close_after = rq->close_after || rq->unread_body;
	evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", status,
			    reason ? reason : http_status_text(status));
	if (content_type && !bodiless)
		evbuffer_add_printf(out, "Content-Type: %s\r\n", content_type);
	evbuffer_add_buffer(out, rq->extra_headers);
	if (!bodiless)
		evbuffer_add_printf(out, "Content-Length: %" PRIu64 "\r\n", length);
	if (rq->close_after)
		evbuffer_add_printf(out, "Connection: close\r\n");
	append_date(out);
	if (rq->server->server_name)
		evbuffer_add_printf(out, "Server: %s\r\n", rq->server->server_name);
	evbuffer_add(out, "\r\n", 2);
}

static void start_sending(struct http_request *rq)
{
	rq->stage = HTTP_STAGE_SENDING;
	loop_timer_disarm(rq->timer); /* the buffered event's own write timeout watches progress */
	end_request(rq);
}

/* How long a body of this length may take. */
static struct span patience(const struct http_server_options *o, uint64_t length)
{
	return (struct span){o->idle_timeout.us +
			     (int64_t)(length * G_USEC_PER_SEC / SLOWEST_BODY)};
}

static bool is_head(const struct http_request *rq)
{
	return rq->head.method && g_str_equal(rq->head.method, "HEAD");
}

void http_request_reply(struct http_request *rq, int status, const char *reason,
			const char *content_type, const char *body, size_t length)
{
	bool bodiless = status == 204 || status == 304;

	add_head(rq, status, reason, content_type, body ? length : 0);
	if (body && !is_head(rq) && !bodiless)
		evbuffer_add(bufferevent_get_output(rq->bev), body, length);
	start_sending(rq);
}

void http_request_reply_from(struct http_request *rq, int status, const char *content_type,
			     const struct http_body_source *source)
{
	bool head = is_head(rq);

	add_head(rq, status, NULL, content_type, source->length);
	rq->source = *source;
	rq->sent = 0;
	if (head || source->length == 0)
		end_source(rq);
	/* The first piece is read when the head has left: not in here, where the caller still has the request. */
	start_sending(rq);
	/* Any progress satisfies the write timeout, and the source must not be held for ever. */
	loop_timer_arm(rq->timer, patience(&rq->server->options, rq->source.length));
}

static void send_piece(struct http_request *rq)
{
	size_t length = (size_t)MIN(rq->source.length - rq->sent, (uint64_t)SOURCE_PIECE);
	g_autofree uint8_t *piece = g_malloc(length);

	if (!rq->source.read(rq->source.ctx, rq->sent, piece, length)) {
		close_connection(rq);
		return;
	}
	rq->sent += length;
	if (rq->sent == rq->source.length)
		end_source(rq);
	evbuffer_add(bufferevent_get_output(rq->bev), piece, length);
}

/* An answer of the server itself, for a request that no handler sees. */
static void refuse(struct http_request *rq, int status, const char *sentence)
{
	g_autofree char *text = g_strdup_printf("%s\n", sentence);

	rq->stage = HTTP_STAGE_ANSWERING;
	rq->close_after = true;
	rq->unread_body = true;
	http_request_reply(rq, status, NULL, "text/plain; charset=utf-8", text, strlen(text));
}

static void refuse_error(struct http_request *rq, int limit_status, const GError *reason)
{
	bool limit = reason->code == INOX_ERROR_LIMIT;
	g_autofree char *sentence = g_strdup_printf("The request has %s.", reason->message);

	refuse(rq, limit ? limit_status : 400, sentence);
}

/* ---- reading */

static void hand_over(struct http_request *rq)
{
	loop_timer_disarm(rq->timer);
	rq->stage = HTTP_STAGE_ANSWERING;
	rq->server->handler(rq->server->ctx, rq);
}

static void read_body(struct http_request *rq)
{
	g_autoptr(GError) error = NULL;

	switch (http_body_read(&rq->body, bufferevent_get_input(rq->bev), &error)) {
	case HTTP_MORE: return;
	case HTTP_BROKEN: refuse_error(rq, 413, error); return;
	case HTTP_COMPLETE: rq->unread_body = false; hand_over(rq);
	}
}

static bool start_body(struct http_request *rq, enum http_framing framing, uint64_t length,
		       GError **error)
{
	const struct http_server_options *o = &rq->server->options;

	if (!http_body_start(&rq->body, framing, length, o->body_limit, error))
		return false;
	uint64_t most = framing == HTTP_LENGTH ? length : o->body_limit;

	rq->stage = HTTP_STAGE_BODY;
	rq->unread_body = framing != HTTP_NO_BODY;
	loop_timer_arm(rq->timer, patience(o, most));
	return true;
}

/* Asks the program whether the body is worth reading, and the client for it. */
static void begin_body(struct http_request *rq)
{
	const char *expect = http_head_find(&rq->head, "Expect");

	if (expect && g_ascii_strcasecmp(expect, "100-continue") != 0) {
		refuse(rq, 417, "The request has an unknown expectation.");
		return;
	}
	if (rq->unread_body && rq->server->options.on_head) {
		rq->stage = HTTP_STAGE_ANSWERING;
		rq->server->options.on_head(rq->server->ctx, rq);
		if (rq->stage != HTTP_STAGE_ANSWERING)
			return;
		rq->stage = HTTP_STAGE_BODY;
	}
	if (rq->unread_body && expect && rq->head.minor > 0)
		bufferevent_write(rq->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	read_body(rq);
}

static void take_head(struct http_request *rq, struct evbuffer *input, size_t length)
{
	g_autoptr(GError) error = NULL;
	enum http_framing framing;
	uint64_t body_length = 0;
	const char *text = (const char *)evbuffer_pullup(input, (ev_ssize_t)length + 4);
	bool good = http_head_parse_request(&rq->head, text, length, &error);

	evbuffer_drain(input, length + 4);
	if (!good) {
		refuse_error(rq, 431, error);
		return;
	}
	rq->close_after = rq->server->options.close_always || rq->head.minor == 0 ||
			  http_head_has_word(&rq->head, "Connection", "close");
	if (!http_request_read_target(rq, &error)) {
		refuse_error(rq, 431, error);
		return;
	}
	if (!http_head_framing(&rq->head, false, &framing, &body_length, &error) ||
	    !start_body(rq, framing, body_length, &error)) {
		refuse_error(rq, 413, error);
		return;
	}
	begin_body(rq);
}

static void read_head(struct http_request *rq)
{
	struct evbuffer *input = bufferevent_get_input(rq->bev);
	size_t limit = rq->server->options.header_limit;

	/* Empty lines in front of a request are skipped (RFC 9112, section 2.2). */
	while (evbuffer_get_length(input) >= 2 && memcmp(evbuffer_pullup(input, 2), "\r\n", 2) == 0)
		evbuffer_drain(input, 2);
	struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);

	/* A TLS client at a plain port would wait for us, and we for it. */
	if (evbuffer_get_length(input) > 0 && !g_ascii_isalpha(*evbuffer_pullup(input, 1)))
		refuse(rq, 400, "This is no HTTP request.");
	else if (end.pos >= 0 && (size_t)end.pos <= limit)
		take_head(rq, input, (size_t)end.pos);
	else if (end.pos >= 0 || evbuffer_get_length(input) > limit)
		refuse(rq, 431, "The request has a header over its limit.");
}

/* A pipelined request is read when the one before it has been answered. */
static void read_on(struct http_request *rq)
{
	if (rq->stage == HTTP_STAGE_HEAD)
		read_head(rq);
	else if (rq->stage == HTTP_STAGE_BODY)
		read_body(rq);
	else if (rq->stage == HTTP_STAGE_DRAIN)
		evbuffer_drain(bufferevent_get_input(rq->bev), INPUT_WINDOW);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
	(void)bev;
	read_on(arg);
}

/* The output is empty. */
static void on_sent(struct bufferevent *bev, void *arg)
{
	struct http_request *rq = arg;

	/* Called once without reason, too, when writing is enabled. */
	if (rq->stage != HTTP_STAGE_SENDING || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
		return;
	if (rq->source.length > 0) {
		send_piece(rq);
	} else if (rq->close_after && rq->unread_body) {
		start_drain(rq);
	} else if (rq->close_after) {
		close_connection(rq);
	} else {
		start_head(rq);
		read_on(rq);
	}
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct http_request *rq = arg;
	bool end = what & BEV_EVENT_EOF;

	if (what & BEV_EVENT_CONNECTED)
		return;
	/* A client that has closed its half still gets the answer that is being sent. */
	if (end && rq->stage == HTTP_STAGE_SENDING) {
		rq->close_after = true;
		rq->unread_body = false;
		bufferevent_disable(bev, EV_READ);
		return;
	}
	close_connection(rq);
}

static void on_deadline(void *arg)
{
	struct http_request *rq = arg;

	/* An idle connection is closed without a word; a half-sent request gets an answer. */
	if (rq->stage == HTTP_STAGE_BODY)
		refuse(rq, 408, "The request took too long.");
	else
		close_connection(rq);
}

/* ---- accepting */

static struct bufferevent *make_bufferevent(struct http_server *s, int fd, SSL **ret_ssl)
{
	struct event_base *base = loop_peek_event_base(s->l);
	int flags = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;

	if (!s->options.tls)
		return bufferevent_socket_new(base, fd, flags);
	SSL *ssl = tls_server_session(s->options.tls);

	if (!ssl)
		return NULL;
	struct bufferevent *bev =
		bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, flags);

	if (!bev)
		SSL_free(ssl);
	*ret_ssl = ssl;
	return bev;
}

static void print_peer(const struct sockaddr *address, int length, char out[static HTTP_PEER_TEXT])
{
	char host[HTTP_PEER_TEXT] = "?";

	(void)getnameinfo(address, (socklen_t)length, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
	/* A client of a socket for both families: its IPv4 address is what people know. */
	bool mapped = g_str_has_prefix(host, "::ffff:") && strchr(host, '.');

	g_strlcpy(out, mapped ? host + strlen("::ffff:") : host, HTTP_PEER_TEXT);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
		      int length, void *arg)
{
	struct http_server *s = arg;
	SSL *ssl = NULL;
	struct bufferevent *bev = NULL;

	(void)listener;
	if (s->connections.length < s->options.connection_limit)
		bev = make_bufferevent(s, fd, &ssl);
	if (!bev) {
		close(fd);
		return;
	}
	struct http_request *rq = g_new0(struct http_request, 1);
	struct timeval idle = {.tv_sec = s->options.idle_timeout.us / 1000000,
			       .tv_usec = s->options.idle_timeout.us % 1000000};
	int on = 1;

	rq->server = s;
	rq->bev = bev;
	rq->ssl = ssl;
	rq->link.data = rq;
	rq->extra_headers = evbuffer_new();
	print_peer(address, length, rq->peer);
	rq->timer = loop_timer_new(s->l, on_deadline, rq);
	g_queue_push_tail_link(&s->connections, &rq->link);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	bufferevent_setwatermark(bev, EV_READ, 0, INPUT_WINDOW);
	bufferevent_set_timeouts(bev, NULL, &idle);
	bufferevent_setcb(bev, on_readable, on_sent, on_event, rq);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	start_head(rq);
}

static void on_accept_timer(void *arg)
{
	struct http_server *s = arg;

	for (guint i = 0; i < s->listeners->len; i++)
		evconnlistener_enable(g_ptr_array_index(s->listeners, i));
}

/* Out of descriptors or memory: trying again at once would spin. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct http_server *s = arg;

	evconnlistener_disable(listener);
	loop_timer_arm(s->accept_timer, ACCEPT_PAUSE);
}

struct http_server *http_server_new(struct loop *l, const struct http_server_options *options,
				    http_handler_fn handler, void *ctx)
{
	struct http_server *s = g_new0(struct http_server, 1);

	signal(SIGPIPE, SIG_IGN); /* a client that goes away is an error of a write, not a death */
	s->l = l;
	s->options = *options;
	if (s->options.header_limit == 0)
		s->options.header_limit = LIMIT_HTTP_HEADERS;
	if (s->options.connection_limit == 0)
		s->options.connection_limit = DEFAULT_CONNECTIONS;
	if (s->options.idle_timeout.us == 0)
		s->options.idle_timeout = DEFAULT_IDLE;
	s->server_name = g_strdup(options->server_name);
	s->handler = handler;
	s->ctx = ctx;
	s->listeners = g_ptr_array_new_with_free_func((GDestroyNotify)evconnlistener_free);
	s->accept_timer = loop_timer_new(l, on_accept_timer, s);
	g_queue_init(&s->connections);
	return s;
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	g_ptr_array_unref(s->listeners);
	loop_timer_free(s->accept_timer);
	while (s->connections.head)
		close_connection(s->connections.head->data);
	g_free(s->server_name);
	g_free(s);
}

bool http_server_accept_on(struct http_server *s, int fd, GError **error)
{
	unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC;

	evutil_make_socket_nonblocking(fd);
	struct evconnlistener *listener =
		evconnlistener_new(loop_peek_event_base(s->l), on_accept, s, flags, 0, fd);

	if (!listener)
		return inox_error_set(error, INOX_ERROR_IO, "the listening socket cannot be used");
	evconnlistener_set_error_cb(listener, on_accept_error);
	g_ptr_array_add(s->listeners, listener);
	return true;
}

static bool set_listen_error(const struct endpoint *at, int number, GError **error)
{
	char text[ENDPOINT_TEXT];

	endpoint_print(at, text);
	if (number == EADDRINUSE)
		return inox_error_set(error, INOX_ERROR_BUSY, "%s is in use by another program",
				      text);
	return inox_error_set_errno(error, number, "cannot listen on %s", text);
}

bool http_server_listen(struct http_server *s, const struct endpoint *at, GError **error)
{
	int fd = socket(at->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0;

	if (fd < 0)
		return set_listen_error(at, errno, error);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* "::" is every address, of both families; for other addresses this changes nothing. */
	if (at->address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)&at->address, at->length) != 0 ||
	    listen(fd, BACKLOG) != 0) {
		int number = errno;

		close(fd);
		return set_listen_error(at, number, error);
	}
	return http_server_accept_on(s, fd, error);
}
