#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dial_local.h"
#include "errors.h"
#include "http_fixture.h"
#include "limit.h"

static void test_client_plain(void)
{
	struct rack *r = rack_new(&rack_plain);
	struct http_call call = rack_call(r);
	struct answer a = rack_ask(r, &call);

	g_assert_cmpstr(a.body, ==, "GET /x q=1 body=0: psk=-");
	g_assert_cmpint(a.status, ==, 200);
	g_assert_cmpint(a.code, ==, -1);
	g_assert_cmpint(a.reached, ==, MILESTONE_PORT);
	g_assert_true(a.sent);
	answer_clear(&a);
	call.method = "POST";
	call.body = "{}";
	call.body_length = 2;
	a = rack_ask(r, &call);
	g_assert_cmpstr(a.body, ==, "POST /x q=1 body=2:{} psk=-");
	answer_clear(&a);
	call.method = "HEAD";
	call.body = NULL;
	a = rack_ask(r, &call);
	g_assert_cmpint(a.status, ==, 200);
	g_assert_cmpstr(a.body, ==, "");
	answer_clear(&a);
	rack_free(r);
}

static void test_client_refused(void)
{
	struct rack *r = rack_new(&rack_plain);
	struct http_call call = rack_call(r);

	http_server_free(g_steal_pointer(&r->server));
	struct answer a = rack_ask(r, &call);

	g_assert_cmpint(a.reached, ==, MILESTONE_ADDRESS);
	g_assert_cmpint(a.code, ==, INOX_ERROR_UNAVAILABLE);
	g_assert_false(a.sent);
	answer_clear(&a);
	rack_free(r);
}

static void test_client_bad_path(void)
{
	struct rack *r = rack_new(&rack_plain);
	struct http_call call = rack_call(r);

	call.path = "/x\r\nEvil: 1";
	struct answer a = rack_ask(r, &call);

	g_assert_cmpint(a.code, ==, INOX_ERROR_INVALID);
	g_assert_false(a.sent);
	g_assert_cmpuint(r->requests, ==, 0);
	answer_clear(&a);
	rack_free(r);
}

static void test_client_timeouts(void)
{
	struct rack *r = rack_new(&rack_plain);
	struct http_call call = rack_call(r);

	call.path = "/hold";
	call.first_byte_timeout = SPAN_MS(30);
	struct answer a = rack_ask(r, &call);

	g_assert_cmpint(a.code, ==, INOX_ERROR_TIMEOUT);
	g_assert_cmpint(a.reached, ==, MILESTONE_PORT);
	g_assert_true(a.sent);
	answer_clear(&a);
	/* A TLS client at a port where nobody speaks TLS, and nobody answers. */
	call.transport = TRANSPORT_PINNED;
	call.certificate_sha256 = "00";
	call.connect_timeout = SPAN_MS(30);
	http_server_free(g_steal_pointer(&r->server));
	int fd = rack_listen(&r->at);

	call.to = dial_local(fd);

	a = rack_ask(r, &call);
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
	struct rack *r = rack_new(&rack_plain);
	struct http_client *c = http_client_new(r->l);
	struct http_call call = rack_call(r);

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
	rack_say(p->client, p->bytes, p->length);
	shutdown(p->client, SHUT_WR);
}

static struct answer ask_parrot(const char *bytes, size_t length)
{
	struct rack *r = rack_new(&rack_plain);
	struct http_call call = rack_call(r);
	struct parrot p = {.fd = rack_listen(&r->at), .bytes = bytes, .length = length};
	struct loop_watch *watch = loop_watch_new(r->l, p.fd, on_parrot, &p);

	call.to = dial_local(p.fd);
	struct answer a = rack_ask(r, &call);

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

/* ---- large answers at the same time */

#define LARGE 100000
#define ROOM  130000

/* Who answers, and what the client made of it. */
struct talk {
	int fd;
	struct http_transfer *transfer;
	bool done;
	int code; /* -1: no error */
};

static void on_talk_done(void *ctx, const struct http_outcome *o)
{
	struct talk *t = ctx;

	t->done = true;
	t->code = o->error ? o->error->code : -1;
}

/* The client asks, and gets the beginning of an answer of LARGE bytes. */
static void talk_begin(struct rack *r, struct http_client *c, int listening, struct talk *t)
{
	struct http_call call = rack_call(r);

	call.to = dial_local(listening);
	call.reply_limit = LARGE;
	t->transfer = http_client_start(c, &call, on_talk_done, t);
	t->fd = accept(listening, NULL, NULL);
	g_assert_cmpint(t->fd, >=, 0);
	g_autofree char *head =
		g_strdup_printf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE);

	rack_say(t->fd, head, strlen(head));
}

static void talk_on(struct talk *t, size_t length)
{
	g_autofree char *bytes = g_strnfill(length, 'x');

	rack_say(t->fd, bytes, length);
}

static void turn_until_large(struct rack *r, struct http_client *c, size_t least)
{
	while (http_client_large(c) < least)
		loop_turn(r->l, true);
}

static void turn_until_done(struct rack *r, struct talk *t)
{
	while (!t->done)
		loop_turn(r->l, true);
	close(t->fd);
}

static void on_patience(void *ctx)
{
	(void)ctx;
	g_error("nothing happened for a long time");
}

static void test_client_many_large_answers(void)
{
	struct rack *r = rack_new(&rack_plain);
	struct loop_timer *patience = loop_timer_new(r->l, on_patience, NULL);
	struct http_client *c = http_client_new(r->l);
	int listening = rack_listen(&r->at);
	struct talk talks[5] = {{0}};

	loop_timer_arm(patience, SPAN_SECONDS(30));
	http_client_hold_large(c, ROOM);
	for (unsigned i = 0; i < G_N_ELEMENTS(talks); i++)
		talk_begin(r, c, listening, &talks[i]);
	talk_on(&talks[0], 60000);
	turn_until_large(r, c, 40000);
	talk_on(&talks[1], 60000);
	turn_until_large(r, c, 80000);
	/* There is no room for a third one, but for all that are not large. */
	talk_on(&talks[2], 60000);
	turn_until_done(r, &talks[2]);
	g_assert_cmpint(talks[2].code, ==, INOX_ERROR_BUSY);
	g_assert_cmpuint(http_client_large(c), <=, ROOM);
	talk_on(&talks[3], 1000);
	talk_on(&talks[1], LARGE - 60000);
	turn_until_done(r, &talks[1]);
	g_assert_cmpint(talks[1].code, ==, -1);
	g_assert_false(talks[3].done);
	/* The room that a cancelled one had is the next one's. */
	http_transfer_cancel(talks[0].transfer);
	close(talks[0].fd);
	talk_on(&talks[3], LARGE - 1000);
	turn_until_done(r, &talks[3]);
	talk_on(&talks[4], LARGE);
	turn_until_done(r, &talks[4]);
	g_assert_cmpint(talks[3].code, ==, -1);
	g_assert_cmpint(talks[4].code, ==, -1);
	g_assert_cmpuint(http_client_large(c), ==, 0);
	loop_timer_free(patience);
	close(listening);
	http_client_free(c);
	rack_free(r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http/client/a plain answer arrives", test_client_plain);
	g_test_add_func("/http/client/a refused connection says that the address lives",
			test_client_refused);
	g_test_add_func("/http/client/a path that is not encoded is not sent",
			test_client_bad_path);
	g_test_add_func("/http/client/each stage has its deadline", test_client_timeouts);
	g_test_add_func("/http/client/a cancelled transfer is silent", test_client_cancel);
	g_test_add_func("/http/client/answers are understood or refused", test_client_answers);
	g_test_add_func("/http/client/answers over a limit are refused", test_client_large_answers);
	g_test_add_func("/http/client/large answers share what memory they may take",
			test_client_many_large_answers);
	g_test_add_func("/http/client/only addresses of machines inside the ranges are dialled",
			test_dial_address);
	return g_test_run();
}
