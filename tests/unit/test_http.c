#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "limit.h"
#include "server.h"

#define PATIENCE SPAN_SECONDS(10)

struct rack {
	struct loop *l;
	struct http_server *server;
	struct endpoint at;
	unsigned requests, heads, gone;
	struct http_request *held; /* by the path /hold */
	bool late;
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

static struct rack *rack_new(const struct http_server_options *options)
{
	struct rack *r = g_new0(struct rack, 1);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	r->l = loop_new();
	r->server = http_server_new(r->l, options, on_request, r);
	g_assert_true(endpoint_parse("127.0.0.1", 1, &r->at, NULL));
	((struct sockaddr_in *)(void *)&r->at.address)->sin_port = 0;
	g_assert_cmpint(bind(fd, (struct sockaddr *)&r->at.address, r->at.length), ==, 0);
	g_assert_cmpint(listen(fd, 16), ==, 0);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&r->at.address, &r->at.length), ==, 0);
	g_assert_true(http_server_accept_on(r->server, fd, NULL));
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
	return g_test_run();
}
