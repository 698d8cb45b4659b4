/* client.c: one request on a connection of its own.
 *
 * Stages, each with a deadline of its own below the total one:
 *   CONNECT (the socket) -> HANDSHAKE (TLS only) -> ASK (sent, waiting for the first byte) -> HEAD -> BODY
 *
 * A transfer is finished in one place, finish(), always from the loop: what fails inside
 * http_client_start() is put off to the next turn.
 */
#include "client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <openssl/err.h>
#include <signal.h>
#include <string.h>

#include "errors.h"
#include "http_body.h"
#include "limit.h"
#include "planted.h"
#include "tls_session.h"
#include "wire.h"

#define DEFAULT_CONNECT    SPAN_SECONDS(10)
#define DEFAULT_FIRST_BYTE SPAN_SECONDS(60)
#define DEFAULT_TOTAL      SPAN_SECONDS(120)
#define INTERIM_MAX        4 /* "100 Continue" and the like in front of the answer */
#define FINGERPRINT_TEXT   65
/* Each transfer may hold this much of its answer.  What is above comes out of a common store, so that thousands of
 * owned agents that begin large answers and never end them cannot fill the memory. */
#define ANSWER_USUAL (16 * 1024)
#define LARGE_MOST   (256 * 1024 * 1024)
#define INTRODUCTION "/v1/commands/?wait=true"

enum stage { STAGE_CONNECT, STAGE_HANDSHAKE, STAGE_ASK, STAGE_HEAD, STAGE_BODY };

struct http_client {
	struct loop *l;
	struct tls_client *tls;
	struct http_opener opener; /* .open NULL: this process itself */
	GQueue transfers;          /* of struct http_transfer */
	size_t large, large_most;  /* bytes of answers above the usual */
};

struct http_transfer {
	struct http_client *client;
	GList link;
	http_done_fn done;
	void *ctx;

	struct dial_address to;
	enum agent_transport transport;
	char identity[TLS_IDENTITY_MAX];
	uint8_t key[TLS_PSK_BYTES];
	char fingerprint[FINGERPRINT_TEXT];
	struct evbuffer *request; /* what is left to be sent */
	bool head_only;
	bool introduces; /* to whoever answers: nothing is proven */
	size_t reply_limit;
	struct span connect_timeout, first_byte_timeout;
	struct mono total_deadline, stage_deadline;

	enum stage stage;
	enum milestone reached;
	bool sent;
	unsigned interim;
	struct loop_timer *timer;
	void *ask; /* of the client's opener, before there is a wire */
	struct wire wire;
	struct mono connected; /* 0: never */
	struct span handshake;
	struct evbuffer *input;
	struct http_head head;
	struct http_body body;
	size_t large;  /* its part of the client's */
	GError *early; /* a failure inside http_client_start() */
};

static void transfer_free(struct http_transfer *t)
{
	g_queue_unlink(&t->client->transfers, &t->link);
	t->client->large -= t->large;
	loop_timer_free(t->timer);
	if (t->ask)
		t->client->opener.cancel(t->ask);
	wire_close(&t->wire);
	evbuffer_free(t->request);
	evbuffer_free(t->input);
	http_head_clear(&t->head);
	http_body_clear(&t->body);
	g_clear_error(&t->early);
	OPENSSL_cleanse(t->key, sizeof(t->key));
	g_free(t);
}

/* `reason` NULL: the answer is whole. */
static void finish(struct http_transfer *t, const GError *reason)
{
	char to[ENDPOINT_TEXT];
	GError *error = NULL;

	dial_address_print(&t->to, to);
	if (reason)
		g_set_error(&error, reason->domain, reason->code, "%s %s", to, reason->message);
	struct http_outcome outcome = {
		.reached = t->reached,
		.status = reason ? 0 : t->head.status,
		.sent = t->sent,
		.body = !reason ? (const char *)t->body.bytes->data : "",
		.length = !reason ? t->body.bytes->len : 0,
		.bytes_in = t->wire.bytes_in,
		.bytes_out = t->wire.bytes_out,
		.handshake = t->handshake,
		.error = error,
	};
	planted_takeover(outcome.body, outcome.length);
	http_done_fn done = t->done;
	void *ctx = t->ctx;
	struct http_body body = t->body;

	/* The body outlives the transfer for as long as the caller looks at it. */
	t->body.bytes = NULL;
	transfer_free(t);
	done(ctx, &outcome);
	http_body_clear(&body);
	g_clear_error(&error);
}

static void fail(struct http_transfer *t, enum inox_error code, const char *sentence)
{
	g_autoptr(GError) reason = g_error_new_literal(INOX_ERROR, (int)code, sentence);

	finish(t, reason);
}

static void arm(struct http_transfer *t)
{
	uint64_t now = loop_now(t->client->l).us;
	uint64_t due = MIN(t->stage_deadline.us, t->total_deadline.us);

	loop_timer_arm(t->timer, (struct span){due > now ? (int64_t)(due - now) : 0});
}

static void enter(struct http_transfer *t, enum stage stage, struct span limit)
{
	t->stage = stage;
	t->stage_deadline = mono_add(loop_now(t->client->l), limit);
	arm(t);
}

static void on_timer(void *arg)
{
	static const char *const sentences[] = {
		[STAGE_CONNECT] = "did not take the connection in time",
		[STAGE_HANDSHAKE] = "did not finish the TLS handshake in time",
		[STAGE_ASK] = "did not answer in time",
		[STAGE_HEAD] = "did not finish its answer in time",
		[STAGE_BODY] = "did not finish its answer in time",
	};
	struct http_transfer *t = arg;

	if (t->early)
		finish(t, t->early);
	else
		fail(t, INOX_ERROR_TIMEOUT, sentences[t->stage]);
}

/* ---- the answer */

static bool is_decodable(const struct http_head *h)
{
	const char *coding = http_head_find(h, "Content-Encoding");

	return !coding || g_ascii_strcasecmp(coding, "identity") == 0;
}

static bool start_body(struct http_transfer *t, GError **error)
{
	enum http_framing framing;
	uint64_t length;

	if (!is_decodable(&t->head))
		return inox_error_set(error, INOX_ERROR_PEER, "a compressed body");
	if (!http_head_framing(&t->head, t->head_only, &framing, &length, error))
		return false;
	t->stage = STAGE_BODY;
	return http_body_start(&t->body, framing, length, t->reply_limit, error);
}

static bool take_head(struct http_transfer *t, size_t length, GError **error)
{
	struct evbuffer *input = t->input;
	const char *text = (const char *)evbuffer_pullup(input, (ev_ssize_t)length + 4);
	bool good = http_head_parse_answer(&t->head, text, length, error);

	evbuffer_drain(input, length + 4);
	if (!good)
		return false;
	if (t->head.status >= 200)
		return start_body(t, error);
	if (t->head.status == 101 || ++t->interim > INTERIM_MAX)
		return inox_error_set(error, INOX_ERROR_PEER, "an interim status out of place");
	http_head_clear(&t->head);
	return true;
}

/* HTTP_MORE also when an interim answer was taken: the caller looks again. */
static bool read_head(struct http_transfer *t, bool *ret_again, GError **error)
{
	struct evbuffer *input = t->input;
	struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
	bool found = end.pos >= 0;

	*ret_again = found;
	if (found ? end.pos > LIMIT_HTTP_HEADERS
		  : evbuffer_get_length(input) > LIMIT_HTTP_HEADERS + 4)
		return inox_error_set(error, INOX_ERROR_LIMIT, "a header over its limit");
	return found ? take_head(t, (size_t)end.pos, error) : true;
}

static void reject(struct http_transfer *t, const GError *reason)
{
	g_autofree char *sentence = g_strdup_printf("answered with %s", reason->message);

	fail(t, (enum inox_error)reason->code, sentence);
}

/* False if there is no room for what is held of this answer. */
static bool count_held(struct http_transfer *t)
{
	struct http_client *c = t->client;
	size_t held = evbuffer_get_length(t->input) + (t->body.bytes ? t->body.bytes->len : 0);
	size_t large = held > ANSWER_USUAL ? held - ANSWER_USUAL : 0;

	c->large += large - t->large;
	t->large = large;
	return large == 0 || c->large <= c->large_most;
}

/* Looks at what came; false when the transfer is over. */
static bool take_input(struct http_transfer *t)
{
	g_autoptr(GError) error = NULL;
	bool again = true;

	if (t->stage == STAGE_ASK) {
		t->stage = STAGE_HEAD;
		t->stage_deadline = t->total_deadline;
		arm(t);
	}
	while (t->stage == STAGE_HEAD && again)
		if (!read_head(t, &again, &error)) {
			reject(t, error);
			return false;
		}
	if (t->stage != STAGE_BODY)
		return true;
	enum http_progress p = http_body_read(&t->body, t->input, &error);

	if (p == HTTP_MORE && count_held(t))
		return true;
	if (p == HTTP_MORE)
		fail(t, INOX_ERROR_BUSY,
		     "was not heard to the end: too many large answers come at the same time");
	else if (p == HTTP_BROKEN)
		reject(t, error);
	else
		finish(t, NULL);
	return false;
}

static void on_end(struct http_transfer *t)
{
	g_autoptr(GError) error = NULL;

	if (t->stage == STAGE_ASK)
		fail(t, INOX_ERROR_PEER, "closed the connection without an answer");
	else if (t->stage != STAGE_BODY)
		fail(t, INOX_ERROR_PEER, "closed the connection inside its answer");
	else if (http_body_end(&t->body, &error) == HTTP_COMPLETE)
		finish(t, NULL);
	else
		fail(t, INOX_ERROR_PEER, "closed the connection inside its answer");
}

static void fail_connection(struct http_transfer *t)
{
	const struct wire *w = &t->wire;
	const char *why = w->tls_reason ? ERR_reason_error_string(w->tls_reason)
			  : w->number   ? g_strerror(w->number)
					: NULL;
	const char *what = t->stage == STAGE_HANDSHAKE ? "broke off the TLS handshake"
						       : "broke off the connection";
	g_autofree char *sentence = why ? g_strdup_printf("%s: %s", what, why) : g_strdup(what);

	if (w->over)
		fail(t, INOX_ERROR_LIMIT, "sends without end and says nothing");
	else
		fail(t, INOX_ERROR_PEER, sentence);
}

static void receive(struct http_transfer *t)
{
	enum wire_progress p;

	while ((p = wire_receive(&t->wire, t->input)) == WIRE_MORE)
		if (!take_input(t))
			return;
	if (p == WIRE_AGAIN)
		wire_rest(&t->wire);
	else if (p == WIRE_END)
		on_end(t);
	else
		fail_connection(t);
}

/* ---- the request */

static void exchange(struct http_transfer *t)
{
	/* Who takes no more of the request may have answered already: that is read first. */
	if (wire_send(&t->wire, t->request) == WIRE_BROKEN)
		evbuffer_drain(t->request, evbuffer_get_length(t->request));
	receive(t);
}

static void start_request(struct http_transfer *t)
{
	t->sent = true;
	enter(t, STAGE_ASK, t->first_byte_timeout);
	exchange(t);
}

static void handshake(struct http_transfer *t)
{
	const char *pin = t->transport == TRANSPORT_PINNED ? t->fingerprint : NULL;
	enum wire_progress p = wire_handshake(&t->wire);
	g_autoptr(GError) error = NULL;

	if (p == WIRE_AGAIN) {
		wire_rest(&t->wire);
		return;
	}
	if (p != WIRE_MORE) {
		fail_connection(t);
		return;
	}
	t->handshake.us = (int64_t)(loop_now(t->client->l).us - t->connected.us);
	if (!t->introduces && !tls_client_check(t->wire.ssl, pin, &error)) {
		g_autofree char *sentence = g_strdup_printf("is not trusted: %s", error->message);

		fail(t, INOX_ERROR_PEER, sentence);
		return;
	}
	t->reached = MILESTONE_TLS;
	start_request(t);
}

static SSL *make_session(struct http_transfer *t)
{
	if (t->introduces)
		return tls_client_any_session(t->client->tls);
	if (t->transport == TRANSPORT_PSK)
		return tls_client_psk_session(t->client->tls, t->identity, t->key);
	return tls_client_pinned_session(t->client->tls);
}

static void fail_connect(struct http_transfer *t, int number)
{
	g_autofree char *sentence = NULL;

	/* Only a living address refuses. */
	if (number == ECONNREFUSED || number == ECONNRESET)
		t->reached = MILESTONE_ADDRESS;
	if (number == ETIMEDOUT) {
		fail(t, INOX_ERROR_TIMEOUT, "did not take the connection in time");
		return;
	}
	sentence = number == ECONNREFUSED
			   ? g_strdup("refused the connection")
			   : g_strdup_printf("cannot be reached: %s", g_strerror(number));
	fail(t, INOX_ERROR_UNAVAILABLE, sentence);
}

static void on_connect(struct http_transfer *t)
{
	int number = wire_connected(&t->wire);

	if (number) {
		fail_connect(t, number);
		return;
	}
	t->reached = MILESTONE_PORT;
	t->connected = loop_now(t->client->l);
	if (t->transport == TRANSPORT_HTTP) {
		start_request(t);
	} else if (wire_secure(&t->wire, make_session(t))) {
		t->stage = STAGE_HANDSHAKE; /* within the time to connect */
		handshake(t);
	} else {
		fail(t, INOX_ERROR_UNAVAILABLE, "cannot be asked: out of memory");
	}
}

static void on_ready(void *ctx)
{
	struct http_transfer *t = ctx;

	if (t->stage == STAGE_CONNECT)
		on_connect(t);
	else if (t->stage == STAGE_HANDSHAKE)
		handshake(t);
	else
		exchange(t);
}

/* ---- starting */

static void fail_later(struct http_transfer *t, enum inox_error code, const char *sentence)
{
	t->early = g_error_new_literal(INOX_ERROR, (int)code, sentence);
	loop_timer_arm(t->timer, SPAN_MS(0));
}

static void on_opened(void *ctx, int fd, int number)
{
	struct http_transfer *t = ctx;

	t->ask = NULL;
	if (fd < 0)
		fail_connect(t, number);
	else
		wire_take(&t->wire, t->client->l, fd, on_ready, t);
}

static void dial(struct http_transfer *t)
{
	const struct http_opener *o = &t->client->opener;

	if (o->open) {
		struct endpoint to = {.length = 0};
		const struct sockaddr *address = dial_address_peek(&t->to, &to.length);

		memcpy(&to.address, address, to.length);
		t->wire = (struct wire){.fd = -1};
		enter(t, STAGE_CONNECT, t->connect_timeout);
		t->ask = o->open(o->with, &to, on_opened, t);
		return;
	}
	if (wire_dial(&t->wire, t->client->l, &t->to, on_ready, t)) {
		enter(t, STAGE_CONNECT, t->connect_timeout);
		return;
	}
	bool refused = t->wire.number == ECONNREFUSED;

	t->reached = refused ? MILESTONE_ADDRESS : MILESTONE_NONE;
	fail_later(t, INOX_ERROR_UNAVAILABLE,
		   t->wire.fd < 0 ? "cannot be asked: no socket"
		   : refused      ? "refused the connection"
				  : g_strerror(t->wire.number));
}

static struct span or_default(struct span asked, struct span otherwise)
{
	return asked.us > 0 ? asked : otherwise;
}

static bool is_one_word(const char *text)
{
	for (; *text; text++)
		if (!g_ascii_isgraph(*text))
			return false;
	return true;
}

static struct evbuffer *compose(const struct http_call *call)
{
	struct evbuffer *out = evbuffer_new();
	char host[ENDPOINT_TEXT];

	dial_address_print(&call->to, host);
	evbuffer_add_printf(out,
			    "%s %s HTTP/1.1\r\n"
			    "Host: %s\r\n"
			    "Accept: application/json\r\n"
			    "Accept-Encoding: identity\r\n"
			    "Connection: close\r\n",
			    call->method, call->path, host);
	if (call->body) {
		evbuffer_add_printf(out,
				    "Content-Type: application/json\r\n"
				    "Content-Length: %zu\r\n",
				    call->body_length);
	}
	evbuffer_add(out, "\r\n", 2);
	if (call->body)
		evbuffer_add(out, call->body, call->body_length);
	return out;
}

static struct http_transfer *start(struct http_client *c, const struct http_call *call,
				   bool introduces, http_done_fn done, void *ctx)
{
	struct http_transfer *t = g_new0(struct http_transfer, 1);

	t->client = c;
	t->link.data = t;
	t->done = done;
	t->ctx = ctx;
	t->to = call->to;
	t->transport = call->transport;
	t->introduces = introduces;
	t->reply_limit = call->reply_limit;
	t->head_only = g_str_equal(call->method, "HEAD");
	t->connect_timeout = or_default(call->connect_timeout, DEFAULT_CONNECT);
	t->first_byte_timeout = or_default(call->first_byte_timeout, DEFAULT_FIRST_BYTE);
	t->total_deadline =
		mono_add(loop_now(c->l), or_default(call->total_timeout, DEFAULT_TOTAL));
	t->wire.fd = -1;
	t->input = evbuffer_new();
	t->timer = loop_timer_new(c->l, on_timer, t);
	t->request = compose(call);
	if (introduces) {
		g_assert(call->transport != TRANSPORT_PINNED);
	} else if (call->transport == TRANSPORT_PSK) {
		g_strlcpy(t->identity, call->psk_identity, sizeof(t->identity));
		memcpy(t->key, call->psk_key, sizeof(t->key));
	} else if (call->transport == TRANSPORT_PINNED) {
		g_strlcpy(t->fingerprint, call->certificate_sha256, sizeof(t->fingerprint));
	}
	g_queue_push_tail_link(&c->transfers, &t->link);
	if (is_one_word(call->path) && is_one_word(call->method))
		dial(t);
	else
		fail_later(t, INOX_ERROR_INVALID, "cannot be asked: the path is not encoded");
	return t;
}

struct http_transfer *http_client_start(struct http_client *c, const struct http_call *call,
					http_done_fn done, void *ctx)
{
	return start(c, call, false, done, ctx);
}

struct http_transfer *http_client_introduce(struct http_client *c, const struct http_call *call,
					    http_done_fn done, void *ctx)
{
	struct http_call fixed = *call;

	fixed.method = "POST";
	fixed.path = INTRODUCTION;
	return start(c, &fixed, true, done, ctx);
}

void http_transfer_cancel(struct http_transfer *t)
{
	transfer_free(t);
}

struct http_client *http_client_new(struct loop *l)
{
	struct http_client *c = g_new0(struct http_client, 1);

	signal(SIGPIPE, SIG_IGN); /* an agent that goes away is an error of a write, not a death */
	c->l = l;
	c->tls = tls_client_new();
	c->large_most = LARGE_MOST;
	g_queue_init(&c->transfers);
	return c;
}

void http_client_hold_large(struct http_client *c, size_t most)
{
	c->large_most = most;
}

size_t http_client_large(const struct http_client *c)
{
	return c->large;
}

void http_client_open_with(struct http_client *c, const struct http_opener *opener)
{
	c->opener = *opener;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	while (c->transfers.head)
		transfer_free(c->transfers.head->data);
	tls_client_free(c->tls);
	g_free(c);
}
