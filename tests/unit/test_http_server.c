#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "http_connection.h"
#include "http_fixture.h"
#include "limit.h"

static void on_head(void *ctx, struct http_request *rq)
{
	struct rack *r = ctx;

	r->heads++;
	if (g_str_equal(http_request_path(rq), "/early"))
		http_request_reply(rq, 401, "NO", "text/plain", "no", 2);
}

static void test_plain(void)
{
	struct rack *r = rack_new(&rack_plain);
	g_autofree char *answer =
		rack_exchange(r, "POST /a%20b?x=1&q=c%2Bd+e&q=2 HTTP/1.1\r\nHost: h\r\n"
				 "Content-Length: 3\r\nConnection: close\r\n\r\nabc");

	g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"));
	g_assert_nonnull(strstr(answer, "\r\nServer: test\r\n"));
	g_assert_nonnull(strstr(answer, "\r\nX-Seen: one  two\r\n"));
	g_assert_true(g_str_has_suffix(answer, "\r\n\r\nPOST /a b q=c+d e body=3:abc psk=-"));
	rack_free(r);
}

static void test_head_method(void)
{
	struct rack *r = rack_new(&rack_plain);
	g_autofree char *answer = rack_exchange(r, "HEAD /x HTTP/1.0\r\n\r\n");

	g_assert_nonnull(strstr(answer, "\r\nContent-Length: 25\r\n"));
	g_assert_true(g_str_has_suffix(answer, "\r\n\r\n"));
	rack_free(r);
}

static void test_pipelined(void)
{
	struct rack *r = rack_new(&rack_plain);
	g_autofree char *answer = rack_exchange(
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
		struct rack *r = rack_new(&rack_plain);
		g_autofree char *answer = rack_exchange(r, cases[i].request);

		g_assert_cmpuint(strlen(answer), >, 12);
		answer[12] = '\0';
		g_assert_cmpstr(answer + 9, ==, cases[i].status);
		g_assert_cmpuint(r->requests, ==, 0);
		rack_free(r);
	}
}

static void test_large_head(void)
{
	struct rack *r = rack_new(&rack_plain);
	int fd = rack_dial(r);
	g_autofree char *line = g_strnfill(LIMIT_HTTP_HEADERS + 1, 'a');

	rack_say(fd, line, strlen(line));
	g_autofree char *answer = rack_hear(r, fd, NULL);

	g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 431 "));
	close(fd);
	rack_free(r);
}

static void test_early_answer(void)
{
	struct http_server_options options = rack_plain;

	options.on_head = on_head;
	struct rack *r = rack_new(&options);
	g_autofree char *answer = rack_exchange(
		r, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\nabc");

	g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 401 NO\r\n"));
	g_assert_nonnull(strstr(answer, "\r\nConnection: close\r\n"));
	g_assert_cmpuint(r->requests, ==, 0);
	g_assert_cmpuint(r->heads, ==, 1);
	rack_free(r);
}

static void test_continue(void)
{
	struct rack *r = rack_new(&rack_plain);
	int fd = rack_dial(r);
	const char *head = "POST /c HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
			   "Content-Length: 2\r\nConnection: close\r\n\r\n";

	rack_say(fd, head, strlen(head));
	g_autofree char *interim = rack_hear(r, fd, "\r\n\r\n");

	g_assert_cmpstr(interim, ==, "HTTP/1.1 100 Continue\r\n\r\n");
	rack_say(fd, "ok", 2);
	g_autofree char *answer = rack_hear(r, fd, NULL);

	g_assert_nonnull(strstr(answer, "body=2:ok"));
	close(fd);
	rack_free(r);
}

static void test_slow_client(void)
{
	struct http_server_options options = rack_plain;

	options.idle_timeout = SPAN_MS(50);
	struct rack *r = rack_new(&options);
	int head = rack_dial(r), body = rack_dial(r);
	const char *half = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na";

	rack_say(head, "GET / HT", 8);
	rack_say(body, half, strlen(half));
	g_autofree char *none = rack_hear(r, head, NULL);
	g_autofree char *late = rack_hear(r, body, NULL);

	g_assert_cmpstr(none, ==, "");
	g_assert_true(g_str_has_prefix(late, "HTTP/1.1 408 "));
	close(head);
	close(body);
	rack_free(r);
}

static void test_gone(void)
{
	struct rack *r = rack_new(&rack_plain);
	int fd = rack_dial(r);
	const char *request = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";

	rack_say(fd, request, strlen(request));
	while (!r->held)
		loop_turn(r->l, true);
	close(fd);
	while (r->held)
		loop_turn(r->l, true);
	g_assert_cmpuint(r->gone, ==, 1);

	fd = rack_dial(r);
	rack_say(fd, request, strlen(request));
	while (!r->held)
		loop_turn(r->l, true);
	http_request_reply(r->held, 204, NULL, NULL, NULL, 0);
	g_autofree char *answer = rack_hear(r, fd, "\r\n\r\n");

	g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 204 No Content\r\n"));
	close(fd);
	rack_free(r);
	/* A request that is held when the server ends is reported, too. */
	r = rack_new(&rack_plain);
	fd = rack_dial(r);
	rack_say(fd, request, strlen(request));
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
	struct http_server_options options = rack_plain;

	options.connection_limit = 2;
	struct rack *r = rack_new(&options);
	int first = rack_dial(r), second = rack_dial(r), third = rack_dial(r);
	g_autofree char *none = rack_hear(r, third, NULL);

	g_assert_cmpstr(none, ==, "");
	close(first);
	close(second);
	close(third);
	rack_free(r);
}

static void test_made_body(void)
{
	struct rack *r = rack_new(&(struct http_server_options){.body_limit = 1});
	int fd = rack_dial(r);
	static const char twice[] =
		"GET /made HTTP/1.1\r\nHost: x\r\n\r\nGET /made HTTP/1.1\r\nHost: x\r\nConnection: "
		"close\r\n\r\n";

	/* Two on one connection, the second one sent before the first one is answered. */
	rack_say(fd, twice, strlen(twice));
	g_autofree char *heard = rack_hear(r, fd, NULL);
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
		rack_exchange(r, "HEAD /made HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	g_autofree char *empty = rack_exchange(
		r, "GET /made/empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

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
	g_autofree char *heard = rack_exchange(r, "GET /made HTTP/1.1\r\nHost: x\r\n\r\n");
	const char *body = strstr(heard, "\r\n\r\n") + 4;

	g_assert_cmpuint(strlen(body), >, 0);
	g_assert_cmpuint(strlen(body), <=, MADE_BREAK);
	g_assert_cmpuint(r->ended, ==, 1);
	/* A client that goes away in the middle. */
	r->breaks = false;
	int fd = rack_dial(r);

	rack_say(fd, "GET /made HTTP/1.1\r\nHost: x\r\n\r\n",
		 strlen("GET /made HTTP/1.1\r\nHost: x\r\n\r\n"));
	while (r->pieces < 4)
		loop_turn(r->l, true);
	close(fd);
	rack_free(r);
}

/* Takes a little of an answer, again and again. */
struct sipper {
	struct rack *r;
	struct loop_timer *timer;
	int fd;
	size_t taken;
	bool ended;
};

static void on_sip(void *ctx)
{
	struct sipper *s = ctx;
	char bytes[200];
	ssize_t n = recv(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	s->taken += n > 0 ? (size_t)n : 0;
	s->ended = n == 0 || (n < 0 && errno != EAGAIN);
	loop_timer_arm(s->timer, SPAN_MS(20));
}

/* Its sockets hold little, so that the server sees progress, and sees that it is slow. */
static void test_slow_taker(void)
{
	const struct http_server_options options = {.body_limit = 1,
						    .idle_timeout = SPAN_SECONDS(1)};
	static const char request[] = "GET /made/short HTTP/1.1\r\nHost: x\r\n\r\n";
	struct rack *r = rack_new(&options);
	struct sipper s = {.r = r, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	int listener = rack_listen(&r->at), little = 2048;

	g_assert_cmpint(setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)), ==,
			0);
	g_assert_cmpint(setsockopt(s.fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), ==, 0);
	g_assert_true(http_server_accept_on(r->server, listener, NULL));
	g_assert_cmpint(connect(s.fd, (struct sockaddr *)&r->at.address, r->at.length), ==, 0);
	rack_say(s.fd, request, strlen(request));
	s.timer = loop_timer_new(r->l, on_sip, &s);
	on_sip(&s);
	while (!s.ended)
		loop_turn(r->l, true);
	g_test_message("%zu bytes were taken", s.taken);
	g_assert_cmpuint(s.taken, >, 4096);
	g_assert_cmpuint(s.taken, <, MADE_SHORT);
	g_assert_cmpuint(r->ended, ==, 1);
	close(s.fd);
	loop_timer_free(s.timer);
	rack_free(r);
}

static void test_status_texts(void)
{
	g_assert_cmpstr(http_status_text(206), ==, "Partial Content");
	g_assert_cmpstr(http_status_text(410), ==, "Gone");
	g_assert_cmpstr(http_status_text(416), ==, "Range Not Satisfiable");
	g_assert_cmpstr(http_status_text(599), ==, "Unknown");
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
	g_test_add_func("/http/server/a body is made while it is sent", test_made_body);
	g_test_add_func("/http/server/a body that cannot be made to its end is cut off",
			test_made_body_that_breaks);
	g_test_add_func("/http/server/who takes a body too slowly is cut off", test_slow_taker);
	g_test_add_func("/http/server/what media are answered with has its phrase",
			test_status_texts);
	return g_test_run();
}
