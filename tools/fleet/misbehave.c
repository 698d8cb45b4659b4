#include "misbehave.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define SLOW_PAUSE    SPAN_MS(200)
#define ENDLESS_PAUSE ((struct span){1}) /* other connections come first */
#define FILLER        1024
#define JSON_DEPTH    3000
#define KEY_UPDATES   64
#define RECORDED_MOST 4096
#define OK_HEAD       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

static void put(struct link *l, const char *text)
{
	l->length = strlen(text);
	g_assert(l->length <= sizeof(l->out));
	memcpy(l->out, text, l->length);
}

/* ---- slow */

static bool slow_headers(struct link *l, struct span *ret_pause)
{
	static const char head[] = OK_HEAD "X-Slow: ";

	l->out[0] = l->progress < sizeof(head) - 1 ? head[l->progress] : 'x';
	l->length = 1;
	l->progress++;
	*ret_pause = SLOW_PAUSE;
	return true;
}

static bool slow_body(struct link *l, struct span *ret_pause)
{
	put(l, l->progress++ ? " " : OK_HEAD "Content-Length: 1000\r\n\r\n{");
	*ret_pause = SLOW_PAUSE;
	return true;
}

/* ---- without end */

static bool endless(struct link *l, const char *head, const char *piece, struct span *ret_pause)
{
	if (l->progress++ == 0) {
		put(l, head);
		return true;
	}
	l->length = 0;
	while (l->length + strlen(piece) < sizeof(l->out)) {
		memcpy(l->out + l->length, piece, strlen(piece));
		l->length += strlen(piece);
	}
	*ret_pause = ENDLESS_PAUSE;
	return true;
}

static bool huge_headers(struct link *l, struct span *ret_pause)
{
	return endless(l, OK_HEAD, "X-Filler: 0123456789012345678901234567890123456789\r\n",
		       ret_pause);
}

static bool huge_body(struct link *l, struct span *ret_pause)
{
	return endless(l, OK_HEAD "Content-Length: 107374182400\r\n\r\n[", "0123456789,",
		       ret_pause);
}

static bool endless_chunks(struct link *l, struct span *ret_pause)
{
	return endless(l, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n",
		       "10\r\n0123456789abcdef\r\n", ret_pause);
}

static bool interim_flood(struct link *l, struct span *ret_pause)
{
	return endless(l, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
		       ret_pause);
}

/* Each one is a record of its own, which the other side has to answer with new keys. */
static bool key_updates(struct link *l, struct span *ret_pause)
{
	for (unsigned i = 0; i < KEY_UPDATES; i++)
		if (SSL_key_update(l->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
		    SSL_do_handshake(l->ssl) != 1)
			break;
	ERR_clear_error();
	*ret_pause = SPAN_MS(1);
	return true;
}

static bool renegotiate(struct link *l, struct span *ret_pause)
{
	char ignored[16];

	if (SSL_renegotiate(l->ssl) == 1)
		SSL_do_handshake(l->ssl);
	int r = SSL_read(l->ssl, ignored, sizeof(ignored));
	int reason = SSL_get_error(l->ssl, r);

	ERR_clear_error();
	*ret_pause = SPAN_MS(5);
	return reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE;
}

static void send_slowly(struct link *l, link_refill_fn refill)
{
	l->refill = refill;
	l->progress = 0;
	l->length = 0;
	link_send(l);
}

/* ---- wrong answers */

static void answer_text(struct link *l, const char *text)
{
	put(l, text);
	link_send(l);
}

static void two_lengths(struct link *l)
{
	answer_text(l, OK_HEAD "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}");
}

static void gzip(struct link *l)
{
	answer_text(l,
		    OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x01");
}

static void deep_json(struct link *l)
{
	char body[JSON_DEPTH + 1];

	memset(body, '[', JSON_DEPTH);
	body[JSON_DEPTH] = '\0';
	answer_put(l, 200, body);
	link_send(l);
}

static void wrong_types(struct link *l)
{
	answer_put(l, 200,
		   "{\"started_at\": \"yesterday\", \"version\": 7, \"agent\": [], "
		   "\"capabilities\": {\"a\": null}, \"commands\": 3, \"id\": {}}");
	link_send(l);
}

static void bad_utf8(struct link *l)
{
	answer_put(l, 200, "{\"started_at\": 1.0, \"version\": \"\xff\xfe\xc0\x80\"}");
	link_send(l);
}

static void wrong_status(struct link *l)
{
	answer_text(l, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\n"
		       "Content-Length: 19\r\n\r\n<h1>Try again.</h1>");
}

static void other_node(struct link *l)
{
	answer_put(l, 401,
		   "{\"faultcode\": \"Client\", \"faultstring\": \"401 Unauthorized: Token "
		   "invalid.\"}");
	link_send(l);
}

/* Every other agent points at the API's port, the others at a healthy agent. */
static void redirect(struct link *l, int status)
{
	struct server *s = l->server;
	char address[ENDPOINT_TEXT] = "127.0.0.1", text[512];
	bool to_agent = l->agent & 1;

	if (to_agent)
		fleet_address(s->fleet, fleet_healthy(s->fleet) - 1, address);
	g_snprintf(text, sizeof(text),
		   "HTTP/1.1 %d Elsewhere\r\nLocation: http%s://%s:%u" MISBEHAVE_TRAP_PATH
		   "\r\nContent-Length: 0\r\n\r\n",
		   status, to_agent && l->ssl ? "s" : "", address,
		   to_agent ? fleet_plan(s->fleet)->port : s->trap_port);
	answer_text(l, text);
}

/* The clock of a machine whose battery is empty. */
static void clock_1970(struct link *l)
{
	answer_put(l, 200,
		   "{\"started_at\": 12.5, \"version\": \"" FLEET_VERSION
		   "\", \"agent\": \"inox-agent\", \"capabilities\": [\"passive\", \"psk-v1\", "
		   "\"progress\"], \"commands\": []}");
	link_send(l);
}

/* The record is made whole in memory, and half of it goes out. */
static void truncated_tls(struct link *l)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *bytes = NULL;

	answer_put(l, 200, "{\"started_at\": 1.0, \"version\": \"1\"}");
	SSL_set0_wbio(l->ssl, memory);
	SSL_write(l->ssl, l->out, (int)l->length);
	long length = BIO_get_mem_data(memory, &bytes);

	if (length > 1)
		send(l->fd, bytes, (size_t)length / 2, MSG_NOSIGNAL);
	/* The end of the session goes into memory, too: all that is seen is the end of the connection. */
	link_end(l);
}

/* ---- replay */

static long record_bytes(BIO *bio, int operation, const char *bytes, size_t length, int argi,
			 long argl, int result, size_t *processed)
{
	GByteArray *to = (void *)BIO_get_callback_arg(bio);

	(void)length;
	(void)argi;
	(void)argl;
	if (operation == (BIO_CB_WRITE | BIO_CB_RETURN) && result > 0 && processed &&
	    to->len + *processed <= RECORDED_MOST)
		g_byte_array_append(to, (const guint8 *)bytes, (guint)*processed);
	return result;
}

bool misbehave_wants_record(const struct server *s)
{
	uint32_t first, count;

	fleet_fault_range(s->fleet, FAULT_REPLAY, &first, &count);
	return count > 0 && !s->recorded;
}

void misbehave_record(struct link *l)
{
	if (!misbehave_wants_record(l->server) || l->fault ||
	    fleet_transport(l->server->fleet, l->agent) != TRANSPORT_PSK)
		return;
	l->server->recorded = g_byte_array_new();
	BIO_set_callback_arg(SSL_get_wbio(l->ssl), (char *)l->server->recorded);
	BIO_set_callback_ex(SSL_get_wbio(l->ssl), record_bytes);
}

static void replay(struct link *l)
{
	char ignored[LINK_IN];
	GByteArray *recorded = l->server->recorded;

	recv(l->fd, ignored, sizeof(ignored), 0);
	if (recorded)
		send(l->fd, recorded->data, recorded->len, MSG_NOSIGNAL);
	link_hold(l);
}

/* ---- which does what */

struct misbehaviour {
	void (*start)(struct link *l);   /* instead of a TLS handshake or a request */
	void (*request)(struct link *l); /* instead of an answer */
	link_refill_fn refill;           /* an answer in pieces */
	int status;                      /* of a redirect */
};

static const struct misbehaviour table[FAULT_COUNT] = {
	[FAULT_TARPIT] = {.start = link_hold},
	[FAULT_RESET] = {.start = link_reset},
	[FAULT_NO_ANSWER] = {.request = link_end},
	[FAULT_AFTER_CLOSE] = {.request = link_hold},
	[FAULT_SLOW_HEADERS] = {.refill = slow_headers},
	[FAULT_SLOW_BODY] = {.refill = slow_body},
	[FAULT_HUGE_HEADERS] = {.refill = huge_headers},
	[FAULT_HUGE_BODY] = {.refill = huge_body},
	[FAULT_ENDLESS_CHUNKS] = {.refill = endless_chunks},
	[FAULT_INTERIM_FLOOD] = {.refill = interim_flood},
	[FAULT_TWO_LENGTHS] = {.request = two_lengths},
	[FAULT_GZIP] = {.request = gzip},
	[FAULT_DEEP_JSON] = {.request = deep_json},
	[FAULT_WRONG_TYPES] = {.request = wrong_types},
	[FAULT_BAD_UTF8] = {.request = bad_utf8},
	[FAULT_REDIRECT_301] = {.status = 301},
	[FAULT_REDIRECT_302] = {.status = 302},
	[FAULT_REDIRECT_307] = {.status = 307},
	[FAULT_REDIRECT_308] = {.status = 308},
	[FAULT_WRONG_STATUS] = {.request = wrong_status},
	[FAULT_OTHER_NODE] = {.request = other_node},
	[FAULT_TRUNCATED_TLS] = {.request = truncated_tls},
	[FAULT_RENEGOTIATION] = {.refill = renegotiate},
	[FAULT_KEY_UPDATES] = {.refill = key_updates},
	[FAULT_REPLAY] = {.start = replay},
	[FAULT_CLOCK] = {.request = clock_1970},
};

bool misbehave_on_start(struct link *l)
{
	const struct misbehaviour *m = &table[l->fault];

	if (m->start)
		m->start(l);
	return m->start;
}

bool misbehave_on_request(struct link *l)
{
	const struct misbehaviour *m = &table[l->fault];

	if (m->status)
		redirect(l, m->status);
	else if (m->refill)
		send_slowly(l, m->refill);
	else if (m->request)
		m->request(l);
	return m->status || m->refill || m->request;
}
