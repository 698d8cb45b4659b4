#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "dial_local.h"
#include "errors.h"
#include "limit.h"
#include "server.h"
#include "tls.h"

#define PATIENCE SPAN_SECONDS(10)

struct rack {
	struct loop *l;
	struct http_server *server;
	struct endpoint at;
	unsigned requests, heads, gone;
	struct http_request *held; /* by the path /hold */
	bool late;
	bool breaks;
	unsigned pieces, ended;
	size_t largest;
};

static void on_late(void *ctx)
{
	((struct rack *)ctx)->late = true;
}

static void on_gone(void *ctx)
{
	struct rack *r = ctx;

	r->gone++;
	r->held = NULL;
}

/* A body that is made while it is sent: digits that count the bytes, up to where it breaks. */
#define MADE_LENGTH 200000
#define MADE_BREAK  150000

static bool read_made(void *ctx, uint64_t offset, uint8_t *buffer, size_t length)
{
	struct rack *r = ctx;

	r->pieces++;
	r->largest = MAX(r->largest, length);
	if (r->breaks && offset + length > MADE_BREAK)
		return false;
	for (size_t i = 0; i < length; i++)
		buffer[i] = (uint8_t)('0' + (offset + i) % 10);
	return true;
}

static void end_made(void *ctx)
{
	((struct rack *)ctx)->ended++;
}

static void answer_made(struct rack *r, struct http_request *rq)
{
	bool empty = g_str_has_suffix(http_request_path(rq), "/empty");
	const struct http_body_source source = {empty ? 0 : MADE_LENGTH, read_made, r, end_made};

	http_request_reply_from(rq, 200, "text/plain", &source);
}

/* Answers with what it understood. */
static void on_request(void *ctx, struct http_request *rq)
{
	struct rack *r = ctx;
	size_t length;
	const char *body = http_request_body(rq, &length);
	const char *q = http_request_query(rq, "q");

	r->requests++;
	if (g_str_equal(http_request_path(rq), "/hold")) {
		r->held = rq;
		http_request_on_gone(rq, on_gone, r);
		return;
	}
	if (g_str_has_prefix(http_request_path(rq), "/made")) {
		answer_made(r, rq);
		return;
	}
	g_autofree char *text = g_strdup_printf(
		"%s %s q=%s body=%zu:%.16s psk=%s", http_request_method(rq), http_request_path(rq),
		q ? q : "-", length, body,
		http_request_psk_identity(rq) ? http_request_psk_identity(rq) : "-");

	http_request_add_header(rq, "X-Seen", "one\r\ntwo");
	http_request_reply(rq, 200, NULL, "text/plain", text, strlen(text));
}

static void on_head(void *ctx, struct http_request *rq)
{
	struct rack *r = ctx;

	r->heads++;
	if (g_str_equal(http_request_path(rq), "/early"))
		http_request_reply(rq, 401, "NO", "text/plain", "no", 2);
}

static int listen_anywhere(struct endpoint *ret_at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	g_assert_cmpint(bind(fd, (struct sockaddr *)&any, sizeof(any)), ==, 0);
	g_assert_cmpint(listen(fd, 16), ==, 0);
	ret_at->length = sizeof(ret_at->address);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&ret_at->address, &ret_at->length), ==,
			0);
	return fd;
}

static struct rack *rack_new(const struct http_server_options *options)
{
	struct rack *r = g_new0(struct rack, 1);

	r->l = loop_new();
	r->server = http_server_new(r->l, options, on_request, r);
	g_assert_true(http_server_accept_on(r->server, listen_anywhere(&r->at), NULL));
	return r;
}

static void rack_free(struct rack *r)
{
	http_server_free(r->server);
	loop_free(r->l);
	g_free(r);
}

static int dial(const struct rack *r)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(connect(fd, (const struct sockaddr *)&r->at.address, r->at.length), ==, 0);
	return fd;
}

static void say(int fd, const char *bytes, size_t length)
{
	g_assert_cmpint(send(fd, bytes, length, MSG_NOSIGNAL), ==, (ssize_t)length);
}

/* Turns the loop until the connection has ended, or holds `until` (NULL: the end only). */
static char *hear(struct rack *r, int fd, const char *until)
{
	GString *text = g_string_new(NULL);
	struct loop_timer *patience = loop_timer_new(r->l, on_late, r);
	char bytes[4096];

	loop_timer_arm(patience, PATIENCE);
	while (!r->late) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		if (n > 0)
			g_string_append_len(text, bytes, n);
		if (until && strstr(text->str, until))
			break;
		loop_turn(r->l, false);
	}
	g_assert_false(r->late);
	loop_timer_free(patience);
	return g_string_free(text, FALSE);
}

static char *exchange(struct rack *r, const char *request)
{
	int fd = dial(r);

	say(fd, request, strlen(request));
	char *answer = hear(r, fd, NULL);

	close(fd);
	return answer;
}

static const struct http_server_options plain = {.body_limit = 1000, .server_name = "test"};

static void test_plain(void)
{
	struct rack *r = rack_new(&plain);
	g_autofree char *answer =
		exchange(r, "POST /a%20b?x=1&q=c%2Bd+e&q=2 HTTP/1.1\r\nHost: h\r\n"
			    "Content-Length: 3\r\nConnection: close\r\n\r\nabc");

	g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"));
	g_assert_nonnull(strstr(answer, "\r\nServer: test\r\n"));
	g_assert_nonnull(strstr(answer, "\r\nX-Seen: one  two\r\n"));
	g_assert_true(g_str_has_suffix(answer, "\r\n\r\nPOST /a b q=c+d e body=3:abc psk=-"));
	rack_free(r);
}

static void test_head_method(void)
{
	struct rack *r = rack_new(&plain);
	g_autofree char *answer = exchange(r, "HEAD /x HTTP/1.0\r\n\r\n");

	g_assert_nonnull(strstr(answer, "\r\nContent-Length: 25\r\n"));
	g_assert_true(g_str_has_suffix(answer, "\r\n\r\n"));
	rack_free(r);
}

static void test_pipelined(void)
{
	struct rack *r = rack_new(&plain);
	g_autofree char *answer = exchange(
		r, "GET /one HTTP/1.1\r\nHost: h\r\n\r\n\r\nPOST /two HTTP/1.1\r\nHost: h\r\n"
		   "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nT: v\r\n\r\n"
		   "GET /three HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");

	g_assert_cmpuint(r->requests, ==, 3);
	g_assert_nonnull(strstr(answer, "GET /one"));
	g_assert_nonnull(strstr(answer, "body=5:abcde"));
	g_assert_nonnull(strstr(answer, "GET /three"));
	rack_free(r);
}

static void test_refused_requests(void)
{
	static const struct {
		const char *request, *status;
	} cases[] = {
		{"GET / HTTP/1.1\r\n\r\n", "400"},
		{"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
		{"GET / HTTP/2.0\r\nHost: h\r\n\r\n", "400"},
		{"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
		{"GET /a%2fb HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
		{"GET /?a=%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
		{"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", "400"},
		{"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
		 "400"},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		 "400"},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", "413"},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", "413"},
		{"POST / HTTP/1.1\r\nHost: h\r\nExpect: a pony\r\n\r\n", "417"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct rack *r = rack_new(&plain);
		g_autofree char *answer = exchange(r, cases[i].request);

		g_assert_cmpuint(strlen(answer), >, 12);
		answer[12] = '\0';
		g_assert_cmpstr(answer + 9, ==, cases[i].status);
		g_assert_cmpuint(r->requests, ==, 0);
		rack_free(r);
	}
}

static void test_large_head(void)
{
	struct rack *r = rack_new(&plain);
	int fd = dial(r);
	g_autofree char *line = g_strnfill(LIMIT_HTTP_HEADERS + 1, 'a');

	say(fd, line, strlen(line));
	g_autofree char *answer = hear(r, fd, NULL);

	g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 431 "));
	close(fd);
	rack_free(r);
}

static void test_early_answer(void)
{
	struct http_server_options options = plain;

	options.on_head = on_head;
	struct rack *r = rack_new(&options);
	g_autofree char *answer =
		exchange(r, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\nabc");

	g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 401 NO\r\n"));
	g_assert_nonnull(strstr(answer, "\r\nConnection: close\r\n"));
	g_assert_cmpuint(r->requests, ==, 0);
	g_assert_cmpuint(r->heads, ==, 1);
	rack_free(r);
}

static void test_continue(void)
{
	struct rack *r = rack_new(&plain);
	int fd = dial(r);
	const char *head = "POST /c HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
			   "Content-Length: 2\r\nConnection: close\r\n\r\n";

	say(fd, head, strlen(head));
	g_autofree char *interim = hear(r, fd, "\r\n\r\n");

	g_assert_cmpstr(interim, ==, "HTTP/1.1 100 Continue\r\n\r\n");
	say(fd, "ok", 2);
	g_autofree char *answer = hear(r, fd, NULL);

	g_assert_nonnull(strstr(answer, "body=2:ok"));
	close(fd);
	rack_free(r);
}

static void test_slow_client(void)
{
	struct http_server_options options = plain;

	options.idle_timeout = SPAN_MS(50);
	struct rack *r = rack_new(&options);
	int head = dial(r), body = dial(r);
	const char *half = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na";

	say(head, "GET / HT", 8);
	say(body, half, strlen(half));
	g_autofree char *none = hear(r, head, NULL);
	g_autofree char *late = hear(r, body, NULL);

	g_assert_cmpstr(none, ==, "");
	g_assert_true(g_str_has_prefix(late, "HTTP/1.1 408 "));
	close(head);
	close(body);
	rack_free(r);
}

static void test_gone(void)
{
	struct rack *r = rack_new(&plain);
	int fd = dial(r);
	const char *request = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";

	say(fd, request, strlen(request));
	while (!r->held)
		loop_turn(r->l, true);
	close(fd);
	while (r->held)
		loop_turn(r->l, true);
	g_assert_cmpuint(r->gone, ==, 1);

	fd = dial(r);
	say(fd, request, strlen(request));
	while (!r->held)
		loop_turn(r->l, true);
	http_request_reply(r->held, 204, NULL, NULL, NULL, 0);
	g_autofree char *answer = hear(r, fd, "\r\n\r\n");

	g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 204 No Content\r\n"));
	close(fd);
	rack_free(r);
	/* A request that is held when the server ends is reported, too. */
	r = rack_new(&plain);
	fd = dial(r);
	say(fd, request, strlen(request));
	while (!r->held)
		loop_turn(r->l, true);
	http_server_free(r->server);
	r->server = NULL;
	g_assert_cmpuint(r->gone, ==, 1);
	close(fd);
	rack_free(r);
}

static void test_many_connections(void)
{
	struct http_server_options options = plain;

	options.connection_limit = 2;
	struct rack *r = rack_new(&options);
	int first = dial(r), second = dial(r), third = dial(r);
	g_autofree char *none = hear(r, third, NULL);

	g_assert_cmpstr(none, ==, "");
	close(first);
	close(second);
	close(third);
	rack_free(r);
}

/* ---- the client */

struct answer {
	bool done;
	enum milestone reached;
	int status, code; /* code -1: no error */
	bool sent;
	char *body, *sentence;
};

static void on_done(void *ctx, const struct http_outcome *o)
{
	struct answer *a = ctx;

	g_assert_false(a->done);
	*a = (struct answer){.done = true,
			     .reached = o->reached,
			     .status = o->status,
			     .code = o->error ? o->error->code : -1,
			     .sent = o->sent,
			     .body = g_strndup(o->body, o->length),
			     .sentence = g_strdup(o->error ? o->error->message : "")};
	g_assert_cmpint(o->body[o->length], ==, '\0');
}

static void answer_clear(struct answer *a)
{
	g_free(a->body);
	g_free(a->sentence);
	*a = (struct answer){.done = false};
}

static struct http_call call_of(const struct rack *r)
{
	return (struct http_call){.to = dial_local_port(endpoint_port(&r->at)),
				  .method = "GET",
				  .path = "/x?q=1",
				  .reply_limit = 1000,
				  .transport = TRANSPORT_HTTP};
}

static struct answer ask(struct rack *r, const struct http_call *call)
{
	struct http_client *c = http_client_new(r->l);
	struct answer a = {.done = false};
	struct loop_timer *patience = loop_timer_new(r->l, on_late, r);

	loop_timer_arm(patience, PATIENCE);
	http_client_start(c, call, on_done, &a);
	g_assert_false(a.done);
	while (!a.done && !r->late)
		loop_turn(r->l, true);
	g_assert_false(r->late);
	loop_timer_free(patience);
	http_client_free(c);
	g_test_message("%s", a.sentence);
	return a;
}

static void test_client_plain(void)
{
	struct rack *r = rack_new(&plain);
	struct http_call call = call_of(r);
	struct answer a = ask(r, &call);

	g_assert_cmpstr(a.body, ==, "GET /x q=1 body=0: psk=-");
	g_assert_cmpint(a.status, ==, 200);
	g_assert_cmpint(a.code, ==, -1);
	g_assert_cmpint(a.reached, ==, MILESTONE_PORT);
	g_assert_true(a.sent);
	answer_clear(&a);
	call.method = "POST";
	call.body = "{}";
	call.body_length = 2;
	a = ask(r, &call);
	g_assert_cmpstr(a.body, ==, "POST /x q=1 body=2:{} psk=-");
	answer_clear(&a);
	call.method = "HEAD";
	call.body = NULL;
	a = ask(r, &call);
	g_assert_cmpint(a.status, ==, 200);
	g_assert_cmpstr(a.body, ==, "");
	answer_clear(&a);
	rack_free(r);
}

static void test_client_refused(void)
{
	struct rack *r = rack_new(&plain);
	struct http_call call = call_of(r);

	http_server_free(g_steal_pointer(&r->server));
	struct answer a = ask(r, &call);

	g_assert_cmpint(a.reached, ==, MILESTONE_ADDRESS);
	g_assert_cmpint(a.code, ==, INOX_ERROR_UNAVAILABLE);
	g_assert_false(a.sent);
	answer_clear(&a);
	rack_free(r);
}

static void test_client_bad_path(void)
{
	struct rack *r = rack_new(&plain);
	struct http_call call = call_of(r);

	call.path = "/x\r\nEvil: 1";
	struct answer a = ask(r, &call);

	g_assert_cmpint(a.code, ==, INOX_ERROR_INVALID);
	g_assert_false(a.sent);
	g_assert_cmpuint(r->requests, ==, 0);
	answer_clear(&a);
	rack_free(r);
}

static void test_client_timeouts(void)
{
	struct rack *r = rack_new(&plain);
	struct http_call call = call_of(r);

	call.path = "/hold";
	call.first_byte_timeout = SPAN_MS(30);
	struct answer a = ask(r, &call);

	g_assert_cmpint(a.code, ==, INOX_ERROR_TIMEOUT);
	g_assert_cmpint(a.reached, ==, MILESTONE_PORT);
	g_assert_true(a.sent);
	answer_clear(&a);
	/* A TLS client at a port where nobody speaks TLS, and nobody answers. */
	call.transport = TRANSPORT_PINNED;
	call.certificate_sha256 = "00";
	call.connect_timeout = SPAN_MS(30);
	http_server_free(g_steal_pointer(&r->server));
	int fd = listen_anywhere(&r->at);

	call.to = dial_local(fd);

	a = ask(r, &call);
	g_assert_cmpint(a.code, ==, INOX_ERROR_TIMEOUT);
	g_assert_cmpint(a.reached, ==, MILESTONE_PORT);
	g_assert_false(a.sent);
	answer_clear(&a);
	close(fd);
	rack_free(r);
}

static void on_cancelled(void *ctx, const struct http_outcome *o)
{
	(void)ctx;
	(void)o;
	g_assert_not_reached();
}

static void test_client_cancel(void)
{
	struct rack *r = rack_new(&plain);
	struct http_client *c = http_client_new(r->l);
	struct http_call call = call_of(r);

	call.path = "/hold";
	http_transfer_cancel(http_client_start(c, &call, on_cancelled, NULL));
	struct http_transfer *t = http_client_start(c, &call, on_cancelled, NULL);

	while (!r->held)
		loop_turn(r->l, true);
	http_transfer_cancel(t);
	while (r->held)
		loop_turn(r->l, true);
	http_client_start(c, &call, on_cancelled, NULL);
	http_client_free(c);
	rack_free(r);
}

static void test_dial_address(void)
{
	static const struct {
		const char *host, *range;
		int code; /* -1: it may be dialled */
	} cases[] = {
		{"10.1.2.3", "10.0.0.0/8", -1},
		{"10.1.2.3", "10.2.0.0/16", INOX_ERROR_DENIED},
		{"::ffff:10.1.2.3", "10.0.0.0/8", -1},
		{"::ffff:127.0.0.1", "::/0", INOX_ERROR_DENIED},
		{"::ffff:127.0.0.1", "0.0.0.0/0", INOX_ERROR_DENIED},
		{"127.0.0.1", "0.0.0.0/0", INOX_ERROR_DENIED},
		{"127.0.0.1", "127.0.0.0/8", -1},
		{"::1", "::/0", INOX_ERROR_DENIED},
		{"::1", "::1/128", -1},
		{"fd77::1", "fd77::/64", -1},
		{"fd78::1", "fd77::/64", INOX_ERROR_DENIED},
		{"0.0.0.0", "0.0.0.0/0", INOX_ERROR_INVALID},
		{"0.1.2.3", "0.0.0.0/0", INOX_ERROR_INVALID},
		{"::", "::/0", INOX_ERROR_INVALID},
		{"224.0.0.1", "0.0.0.0/0", INOX_ERROR_INVALID},
		{"255.255.255.255", "0.0.0.0/0", INOX_ERROR_INVALID},
		{"::ffff:255.255.255.255", "0.0.0.0/0", INOX_ERROR_INVALID},
		{"ff02::1", "::/0", INOX_ERROR_INVALID},
		{"fe80::1", "::/0", INOX_ERROR_INVALID},
		{"fe80::1%lo", "::/0", INOX_ERROR_INVALID},
		{"localhost", "0.0.0.0/0", INOX_ERROR_INVALID},
		{"", "0.0.0.0/0", INOX_ERROR_INVALID},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		struct network range;
		struct dial_address to;

		g_test_message("%s in %s", cases[i].host, cases[i].range);
		g_assert_true(network_parse(cases[i].range, &range, NULL));
		g_assert_true(dial_address_check(cases[i].host, 80, &range, 1, &to, &error) ==
			      (cases[i].code < 0));
		g_assert_cmpint(error ? error->code : -1, ==, cases[i].code);
	}
}

/* A server that says fixed bytes to the first client and ends its half. */
struct parrot {
	int fd, client;
	const char *bytes;
	size_t length;
};

static void on_parrot(void *ctx, bool readable, bool writable)
{
	struct parrot *p = ctx;

	(void)readable;
	(void)writable;
	p->client = accept(p->fd, NULL, NULL);
	g_assert_cmpint(p->client, >=, 0);
	say(p->client, p->bytes, p->length);
	shutdown(p->client, SHUT_WR);
}

static struct answer ask_parrot(const char *bytes, size_t length)
{
	struct rack *r = rack_new(&plain);
	struct http_call call = call_of(r);
	struct parrot p = {.fd = listen_anywhere(&r->at), .bytes = bytes, .length = length};
	struct loop_watch *watch = loop_watch_new(r->l, p.fd, on_parrot, &p);

	call.to = dial_local(p.fd);
	struct answer a = ask(r, &call);

	loop_watch_free(watch);
	close(p.client);
	close(p.fd);
	rack_free(r);
	return a;
}

static void test_client_answers(void)
{
	static const struct {
		const char *bytes;
		int code, status;
		const char *body;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\n\r\nuntil close", -1, 200, "until close"},
		{"HTTP/1.0 404\r\nContent-Length: 2\r\n\r\nno", -1, 404, "no"},
		{"HTTP/1.1 308 P\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n", -1,
		 308, ""},
		{"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", -1, 200,
		 "x"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", -1,
		 200, "abc"},
		{"HTTP/1.1 204 N\r\n\r\n", -1, 204, ""},
		{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx", INOX_ERROR_PEER, 0, ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", INOX_ERROR_PEER, 0, ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\nx", INOX_ERROR_LIMIT, 0, ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", INOX_ERROR_LIMIT,
		 0, ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX", INOX_ERROR_PEER,
		 0, ""},
		{"HTTP/1.1 101 S\r\n\r\n", INOX_ERROR_PEER, 0, ""},
		{"HTTP/1.1 999 S\r\n\r\n", INOX_ERROR_PEER, 0, ""},
		{"SSH-2.0-OpenSSH_9.2\r\n\r\n", INOX_ERROR_PEER, 0, ""},
		{"HTTP/1.1 200", INOX_ERROR_PEER, 0, ""},
		{"", INOX_ERROR_PEER, 0, ""},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct answer a = ask_parrot(cases[i].bytes, strlen(cases[i].bytes));

		g_assert_cmpint(a.code, ==, cases[i].code);
		g_assert_cmpint(a.status, ==, cases[i].status);
		g_assert_cmpstr(a.body, ==, cases[i].body);
		answer_clear(&a);
	}
}

static void test_client_large_answers(void)
{
	g_autofree char *endless = g_strnfill(1100, 'x');
	g_autofree char *head = g_strconcat("HTTP/1.1 200 OK\r\n\r\n", endless, NULL);
	g_autofree char *line = g_strnfill(LIMIT_HTTP_HEADERS + 100, 'x');
	struct answer a = ask_parrot(head, strlen(head));

	g_assert_cmpint(a.code, ==, INOX_ERROR_LIMIT);
	answer_clear(&a);
	a = ask_parrot(line, strlen(line));
	g_assert_cmpint(a.code, ==, INOX_ERROR_LIMIT);
	answer_clear(&a);
}

/* ---- TLS */

/* HKDF-SHA256 of the token in test_keys(), computed with another program. */
#define HKDF_TEXT "6976c1ae9842a61e4288612a76fa1c7601cfce211deacfb2cfe90dc17dd931d0"
#define IDENTITY  "6d85703a-565d-469a-96ce-30b6de53079d:7"

static bool find_key(void *ctx, const char *identity, uint8_t ret_key[static TLS_PSK_BYTES])
{
	(void)ctx;
	if (!g_str_equal(identity, IDENTITY))
		return false;
	memset(ret_key, 7, TLS_PSK_BYTES);
	return true;
}

struct vault {
	struct http_tls_server *psk_only, *certified, *both;
	char *certificate, *key;
};

static struct vault vault_new(void)
{
	struct vault v = {.psk_only = NULL};

	g_assert_true(tls_make_certificate("agent", "127.0.0.1", &v.certificate, &v.key, NULL));
	v.psk_only = http_tls_server_new(&(struct http_tls_server_options){.psk = find_key}, NULL);
	v.certified = http_tls_server_new(
		&(struct http_tls_server_options){.certificate_pem = v.certificate,
						  .private_key_pem = v.key},
		NULL);
	v.both = http_tls_server_new(
		&(struct http_tls_server_options){.psk = find_key,
						  .certificate_pem = v.certificate,
						  .private_key_pem = v.key},
		NULL);
	g_assert_nonnull(v.psk_only);
	g_assert_nonnull(v.certified);
	g_assert_nonnull(v.both);
	return v;
}

static void vault_clear(struct vault *v)
{
	http_tls_server_free(v->psk_only);
	http_tls_server_free(v->certified);
	http_tls_server_free(v->both);
	g_free(v->certificate);
	secret_wipe_text(v->key);
}

static char *fingerprint_of(const char *pem)
{
	g_auto(GStrv) lines = g_strsplit(pem, "\n", -1);
	g_autoptr(GString) base64 = g_string_new(NULL);
	gsize length;

	for (char **line = lines; *line; line++)
		if (**line != '-')
			g_string_append(base64, *line);
	g_autofree guchar *der = g_base64_decode(base64->str, &length);

	return g_compute_checksum_for_data(G_CHECKSUM_SHA256, der, length);
}

static struct answer ask_tls(struct http_tls_server *tls, enum agent_transport transport,
			     const char *identity, uint8_t key_byte, const char *pin)
{
	struct http_server_options options = plain;

	options.tls = tls;
	struct rack *r = rack_new(&options);
	struct http_call call = call_of(r);
	uint8_t key[TLS_PSK_BYTES];

	memset(key, key_byte, sizeof(key));
	call.transport = transport;
	call.psk_identity = identity;
	call.psk_key = key;
	call.certificate_sha256 = pin;
	struct answer a = ask(r, &call);

	if (a.code >= 0) {
		g_assert_cmpuint(r->requests, ==, 0);
		g_assert_cmpint(a.code, ==, INOX_ERROR_PEER);
		g_assert_cmpint(a.reached, ==, MILESTONE_PORT);
	}
	rack_free(r);
	return a;
}

static void test_psk(void)
{
	struct vault v = vault_new();
	struct answer a = ask_tls(v.psk_only, TRANSPORT_PSK, IDENTITY, 7, NULL);

	g_assert_cmpstr(a.body, ==, "GET /x q=1 body=0: psk=" IDENTITY);
	g_assert_cmpint(a.reached, ==, MILESTONE_TLS);
	answer_clear(&a);
	a = ask_tls(v.both, TRANSPORT_PSK, IDENTITY, 7, NULL);
	g_assert_cmpstr(a.body, ==, "GET /x q=1 body=0: psk=" IDENTITY);
	answer_clear(&a);
	vault_clear(&v);
}

static void assert_not_sent(struct answer a)
{
	g_assert_cmpint(a.code, ==, INOX_ERROR_PEER);
	g_assert_false(a.sent);
	answer_clear(&a);
}

static void test_psk_refused(void)
{
	struct vault v = vault_new();

	assert_not_sent(ask_tls(v.psk_only, TRANSPORT_PSK, IDENTITY, 8, NULL));
	assert_not_sent(ask_tls(v.psk_only, TRANSPORT_PSK, "somebody:7", 7, NULL));
	assert_not_sent(ask_tls(v.both, TRANSPORT_PSK, "somebody:7", 7, NULL));
	assert_not_sent(ask_tls(v.certified, TRANSPORT_PSK, IDENTITY, 7, NULL));
	vault_clear(&v);
}

static void test_pinned(void)
{
	struct vault v = vault_new();
	g_autofree char *pin = fingerprint_of(v.certificate);
	struct answer a = ask_tls(v.both, TRANSPORT_PINNED, NULL, 0, pin);

	g_assert_cmpstr(a.body, ==, "GET /x q=1 body=0: psk=-");
	g_assert_cmpint(a.reached, ==, MILESTONE_TLS);
	answer_clear(&a);
	pin[0] = pin[0] == '0' ? '1' : '0';
	assert_not_sent(ask_tls(v.both, TRANSPORT_PINNED, NULL, 0, pin));
	assert_not_sent(ask_tls(v.psk_only, TRANSPORT_PINNED, NULL, 0, pin));
	vault_clear(&v);
}

/* A TLS server that changes its keys without end, until nobody listens any more. */
static void change_keys(int listener, const char *certificate_pem, const char *key_pem)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	BIO *bio = BIO_new_mem_buf(certificate_pem, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO *key_bio = BIO_new_mem_buf(key_pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
	SSL *ssl;

	SSL_CTX_use_certificate(context, certificate);
	SSL_CTX_use_PrivateKey(context, key);
	ssl = SSL_new(context);
	SSL_set_fd(ssl, accept(listener, NULL, NULL));
	if (SSL_accept(ssl) == 1)
		while (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
		       SSL_do_handshake(ssl) == 1)
			;
}

static void test_silent_flood(void)
{
	struct vault v = vault_new();
	struct rack *r = rack_new(&plain);
	g_autofree char *pin = fingerprint_of(v.certificate);
	int fd = listen_anywhere(&r->at);
	struct http_call call = call_of(r);
	pid_t child = fork();

	if (child == 0) {
		signal(SIGPIPE, SIG_IGN);
		change_keys(fd, v.certificate, v.key);
		_exit(0);
	}
	call.transport = TRANSPORT_PINNED;
	call.certificate_sha256 = pin;
	struct answer a = ask(r, &call);

	g_assert_cmpint(a.code, ==, INOX_ERROR_LIMIT);
	g_assert_nonnull(strstr(a.sentence, "says nothing"));
	answer_clear(&a);
	g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
	close(fd);
	rack_free(r);
	vault_clear(&v);
}

static void test_wrong_protocol(void)
{
	struct vault v = vault_new();
	struct answer a = ask_tls(v.both, TRANSPORT_HTTP, NULL, 0, NULL);

	g_assert_cmpint(a.code, ==, INOX_ERROR_PEER);
	answer_clear(&a);
	assert_not_sent(ask_tls(NULL, TRANSPORT_PSK, IDENTITY, 7, NULL));
	vault_clear(&v);
}

static void test_keys(void)
{
	g_autoptr(secret) token = secret_new("0123456789abcdefghijABCDEFGHIJ0123456789abc");
	uint8_t key[TLS_PSK_BYTES];
	g_autoptr(GString) text = g_string_new(NULL);
	struct uuid node;
	char identity[TLS_IDENTITY_MAX];

	tls_psk_of_token(token, key);
	for (size_t i = 0; i < sizeof(key); i++)
		g_string_append_printf(text, "%02x", key[i]);
	g_assert_cmpstr(text->str, ==, HKDF_TEXT);
	g_assert_true(uuid_parse("6d85703a-565d-469a-96ce-30b6de53079d", &node, NULL));
	tls_psk_identity(&node, 7, identity);
	g_assert_cmpstr(identity, ==, IDENTITY);
}

static void test_made_body(void)
{
	struct rack *r = rack_new(&(struct http_server_options){.body_limit = 1});
	int fd = dial(r);
	static const char twice[] =
		"GET /made HTTP/1.1\r\nHost: x\r\n\r\nGET /made HTTP/1.1\r\nHost: x\r\nConnection: "
		"close\r\n\r\n";

	/* Two on one connection, the second one sent before the first one is answered. */
	say(fd, twice, strlen(twice));
	g_autofree char *heard = hear(r, fd, NULL);
	const char *body = heard;

	for (unsigned n = 0; n < 2; n++) {
		g_assert_nonnull(strstr(body, "Content-Length: 200000\r\n"));
		body = strstr(body, "\r\n\r\n") + 4;
		for (size_t i = 0; i < MADE_LENGTH; i++)
			g_assert_cmpint(body[i], ==, '0' + (int)(i % 10));
		body += MADE_LENGTH;
	}
	g_assert_cmpstr(body, ==, "");
	g_assert_cmpuint(r->ended, ==, 2);
	g_assert_cmpuint(r->largest, <=, 64 * 1024);
	close(fd);
	/* No piece is made for nobody. */
	unsigned pieces = r->pieces;
	g_autofree char *head =
		exchange(r, "HEAD /made HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	g_autofree char *empty =
		exchange(r, "GET /made/empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

	g_assert_true(g_str_has_suffix(head, "\r\n\r\n"));
	g_assert_nonnull(strstr(head, "Content-Length: 200000\r\n"));
	g_assert_nonnull(strstr(empty, "Content-Length: 0\r\n"));
	g_assert_cmpuint(r->pieces, ==, pieces);
	g_assert_cmpuint(r->ended, ==, 4);
	rack_free(r);
}

static void test_made_body_that_breaks(void)
{
	struct rack *r = rack_new(&(struct http_server_options){.body_limit = 1});

	r->breaks = true;
	g_autofree char *heard = exchange(r, "GET /made HTTP/1.1\r\nHost: x\r\n\r\n");
	const char *body = strstr(heard, "\r\n\r\n") + 4;

	g_assert_cmpuint(strlen(body), >, 0);
	g_assert_cmpuint(strlen(body), <=, MADE_BREAK);
	g_assert_cmpuint(r->ended, ==, 1);
	/* A client that goes away in the middle. */
	r->breaks = false;
	int fd = dial(r);

	say(fd, "GET /made HTTP/1.1\r\nHost: x\r\n\r\n",
	    strlen("GET /made HTTP/1.1\r\nHost: x\r\n\r\n"));
	while (r->pieces < 4)
		loop_turn(r->l, true);
	close(fd);
	rack_free(r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http/server/a request is understood and answered", test_plain);
	g_test_add_func("/http/server/HEAD is answered without a body", test_head_method);
	g_test_add_func("/http/server/pipelined requests are answered in order", test_pipelined);
	g_test_add_func("/http/server/malformed requests are refused", test_refused_requests);
	g_test_add_func("/http/server/a head over its limit is refused", test_large_head);
	g_test_add_func("/http/server/a request may be answered before its body",
			test_early_answer);
	g_test_add_func("/http/server/a client that asks may send its body", test_continue);
	g_test_add_func("/http/server/a slow client is cut off", test_slow_client);
	g_test_add_func("/http/server/a client that goes away is noticed", test_gone);
	g_test_add_func("/http/server/connections over the limit are closed",
			test_many_connections);
	g_test_add_func("/http/client/a plain answer arrives", test_client_plain);
	g_test_add_func("/http/client/a refused connection says that the address lives",
			test_client_refused);
	g_test_add_func("/http/client/a path that is not encoded is not sent",
			test_client_bad_path);
	g_test_add_func("/http/client/each stage has its deadline", test_client_timeouts);
	g_test_add_func("/http/client/a cancelled transfer is silent", test_client_cancel);
	g_test_add_func("/http/client/answers are understood or refused", test_client_answers);
	g_test_add_func("/http/client/answers over a limit are refused", test_client_large_answers);
	g_test_add_func("/http/tls/the right pre-shared key opens the channel", test_psk);
	g_test_add_func("/http/tls/a wrong key, identity or server is not asked", test_psk_refused);
	g_test_add_func("/http/tls/a pinned certificate opens the channel and no other",
			test_pinned);
	g_test_add_func("/http/tls/who changes keys without end is cut off", test_silent_flood);
	g_test_add_func("/http/tls/plain and TLS do not mix", test_wrong_protocol);
	g_test_add_func("/http/client/only addresses of machines inside the ranges are dialled",
			test_dial_address);
	g_test_add_func("/http/tls/key and identity have the agreed form", test_keys);
	g_test_add_func("/http/server/a body is made while it is sent", test_made_body);
	g_test_add_func("/http/server/a body that cannot be made to its end is cut off",
			test_made_body_that_breaks);
	return g_test_run();
}
