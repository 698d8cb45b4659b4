/* The connector: which requests it serves, and both ways of asking it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect.h"
#include "connector.h"
#include "errors.h"

#define CONFIG                                                \
	"[agent]\nallowed_networks = 127.7.0.0/16, ::1/128\n" \
	"[redfish]\nallowed_networks = 127.8.0.0/16\n"

struct scene {
	struct loop *l;
	struct config *config;
	struct connector *connector;
	struct connect_client *client;
	struct endpoint at; /* somebody listens at 127.7.0.1 */
	int listening, raw;
	/* the answer */
	unsigned answers;
	int fd, number;
	bool closed;
};

static struct endpoint address(const char *host, unsigned number)
{
	struct endpoint e;

	g_assert_true(endpoint_parse(host, number, &e, NULL));
	return e;
}

static void on_closed(void *ctx)
{
	struct scene *s = ctx;

	s->closed = true;
}

static void set_up(struct scene *s, enum role role)
{
	int fds[2];
	struct sockaddr_in sin;
	socklen_t length = sizeof(sin);

	*s = (struct scene){.l = loop_new(), .fd = -1};
	s->config = config_parse(CONFIG, strlen(CONFIG), "test", NULL);
	s->connector = connector_new(s->l, s->config);
	g_assert_true(connect_pair(fds, NULL));
	connector_serve(s->connector, role, fds[0]);
	s->raw = fds[1];
	s->client = connect_client_new(s->l, fds[1], on_closed, s);
	s->listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	s->at = address("127.7.0.1", 1);
	((struct sockaddr_in *)(void *)&s->at.address)->sin_port = 0;
	g_assert_cmpint(bind(s->listening, (struct sockaddr *)&s->at.address, s->at.length), ==, 0);
	g_assert_cmpint(listen(s->listening, 1024), ==, 0);
	g_assert_cmpint(getsockname(s->listening, (struct sockaddr *)&sin, &length), ==, 0);
	s->at = address("127.7.0.1", ntohs(sin.sin_port));
}

static void tear_down(struct scene *s)
{
	connect_client_free(s->client);
	connector_free(s->connector);
	config_free(s->config);
	loop_free(s->l);
	close(s->listening);
}

static void on_done(void *ctx, int fd, int number)
{
	struct scene *s = ctx;

	s->answers++;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = fd;
	s->number = number;
}

static void turn_until(struct scene *s, const unsigned *count, unsigned wanted)
{
	struct mono until = mono_add(mono_now(), SPAN_SECONDS(20));

	while (*count < wanted && !s->closed) {
		loop_turn(s->l, true);
		g_assert_false(mono_reached(until, mono_now()));
	}
}

static int ask(struct scene *s, const char *host, unsigned number)
{
	struct endpoint to = address(host, number);
	unsigned wanted = s->answers + 1;

	connect_ask(s->client, &to, on_done, s);
	g_assert_cmpuint(s->answers, <, wanted);
	turn_until(s, &s->answers, wanted);
	g_assert_cmpint(s->fd >= 0, ==, s->number == 0);
	return s->number;
}

static void test_ranges(void)
{
	static const char *const outside[] = {"127.0.0.1",     "127.8.0.1",      "10.0.0.1",
					      "192.0.2.1",     "0.0.0.0",        "::",
					      "fe80::1",       "2001:db8::1",    "255.255.255.255",
					      "127.6.255.255", "169.254.169.254"};
	struct scene s;

	set_up(&s, ROLE_DIALER);
	g_assert_cmpint(ask(&s, "127.7.0.1", endpoint_port(&s.at)), ==, 0);
	g_assert_cmpint(fcntl(s.fd, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
	g_assert_cmpint(fcntl(s.fd, F_GETFD), ==, FD_CLOEXEC);
	for (size_t i = 0; i < G_N_ELEMENTS(outside); i++)
		g_assert_cmpint(ask(&s, outside[i], endpoint_port(&s.at)), ==, EACCES);
	tear_down(&s);
	set_up(&s, ROLE_BMC);
	g_assert_cmpint(ask(&s, "127.7.0.1", endpoint_port(&s.at)), ==, EACCES);
	tear_down(&s);
	/* Nobody else has business here. */
	set_up(&s, ROLE_API);
	g_assert_cmpint(ask(&s, "127.7.0.1", endpoint_port(&s.at)), ==, EACCES);
	g_assert_cmpint(ask(&s, "127.8.0.1", endpoint_port(&s.at)), ==, EACCES);
	tear_down(&s);
}

/* More than one packet holds, and some of them are cancelled: before and after they were sent. */
static void test_many(void)
{
	struct scene s;
	struct connect_ask *cancelled[50];
	unsigned most = 1000;

	set_up(&s, ROLE_DIALER);
	for (unsigned i = 0; i < most; i++) {
		connect_ask(s.client, &s.at, on_done, &s);
		connect_ask_cancel(connect_ask(s.client, &s.at, on_done, &s));
	}
	turn_until(&s, &s.answers, most);
	g_assert_cmpuint(s.answers, ==, most);
	g_assert_cmpint(s.number, ==, 0);

	/* A turn in which nothing is answered yet sends them. */
	connector_free(s.connector);
	for (unsigned i = 0; i < G_N_ELEMENTS(cancelled); i++)
		cancelled[i] = connect_ask(s.client, &s.at, on_done, &s);
	loop_turn(s.l, false);
	for (unsigned i = 0; i < G_N_ELEMENTS(cancelled); i++)
		connect_ask_cancel(cancelled[i]);
	s.connector = connector_new(s.l, s.config);
	close(s.fd);
	tear_down(&s);
}

/* Sends what a worker that was taken over might; true if the connector hung up. */
static bool hangs_up(const void *bytes, size_t length)
{
	struct scene s;

	set_up(&s, ROLE_DIALER);
	g_assert_cmpint((int)send(s.raw, bytes, length, MSG_DONTWAIT), ==, (int)length);
	unsigned never = 0;
	struct loop_timer *late = loop_timer_new(s.l, on_closed, &s);

	loop_timer_arm(late, SPAN_MS(100));
	turn_until(&s, &never, 1);
	loop_timer_free(late);
	char byte;
	bool over = recv(s.raw, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;

	tear_down(&s);
	return over;
}

static void test_garbage(void)
{
	struct connect_request rq;
	struct endpoint e = address("127.7.0.1", 9), out;
	uint8_t long_one[sizeof(rq) + 1] = {0};
	struct connect_request many[CONNECT_BATCH + 1] = {{.id = 1}};

	g_assert_true(hangs_up("x", 1));
	g_assert_true(hangs_up(long_one, sizeof(long_one)));
	g_assert_true(hangs_up(many, sizeof(many)));
	g_assert_false(hangs_up(many, sizeof(many) - sizeof(many[0])));
	connect_request_make(1, &e, &rq);
	g_assert_true(connect_request_read(&rq, &out));
	g_assert_cmpuint(endpoint_port(&out), ==, 9);
	rq.port = 0;
	g_assert_false(connect_request_read(&rq, &out));
	connect_request_make(1, &e, &rq);
	rq.family = 5;
	g_assert_false(connect_request_read(&rq, &out));
	connect_request_make(1, &e, &rq);
	rq.address[15] = 1;
	g_assert_false(connect_request_read(&rq, &out));
	/* ::ffff:127.7.0.1 would be dialled as IPv4, past the ranges of IPv4. */
	e = address("::1", 9);
	connect_request_make(1, &e, &rq);
	g_assert_true(connect_request_read(&rq, &out));
	memset(rq.address, 0, sizeof(rq.address));
	rq.address[10] = rq.address[11] = 0xff;
	rq.address[12] = 127;
	g_assert_false(connect_request_read(&rq, &out));
}

/* How many descriptors more a worker that asked twice has after a packet of `length` bytes, with replies to both of
 * which the second one may be an error, and with `sent` sockets. */
static unsigned kept_after(size_t length, bool second_failed, unsigned sent)
{
	struct connect_reply replies[CONNECT_BATCH + 1] = {{.id = 1}, {.id = 2}};
	int given[CONNECT_BATCH + 1] = {0};
	union {
		char space[CMSG_SPACE(sizeof(given))];
		struct cmsghdr align;
	} control = {.space = {0}};
	struct iovec iov = {.iov_base = replies, .iov_len = length};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = sent ? control.space : NULL,
			     .msg_controllen = sent ? CMSG_SPACE(sent * sizeof(int)) : 0};
	struct scene s = {.l = loop_new(), .fd = -1};
	struct endpoint to = address("127.7.0.1", 9);
	unsigned kept = 0;
	int fds[2];

	replies[1].error = second_failed ? ECONNREFUSED : 0;
	g_assert_true(connect_pair(fds, NULL));
	s.client = connect_client_new(s.l, fds[0], on_closed, &s);
	connect_ask(s.client, &to, on_done, &s);
	connect_ask(s.client, &to, on_done, &s);
	loop_turn(s.l, false);
	if (sent) {
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
							.cmsg_type = SCM_RIGHTS,
							.cmsg_len = CMSG_LEN(sent * sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), given, sent * sizeof(int));
	}
	for (int fd = 0; fd < 128; fd++)
		kept -= fcntl(fd, F_GETFD) >= 0;
	g_assert_cmpint((int)sendmsg(fds[1], &msg, MSG_NOSIGNAL), ==, (int)length);
	turn_until(&s, &s.answers, 2);
	for (int fd = 0; fd < 128; fd++)
		kept += fcntl(fd, F_GETFD) >= 0;
	g_assert_true(s.closed != (s.answers == 2));
	if (s.fd >= 0)
		close(s.fd);
	connect_client_free(s.client);
	loop_free(s.l);
	close(fds[1]);
	return kept;
}

/* on_done() keeps the last socket. */
static void test_answers(void)
{
	size_t whole = 2 * sizeof(struct connect_reply);

	g_assert_cmpuint(kept_after(whole, false, 2), ==, 1);
	g_assert_cmpuint(kept_after(whole, true, 1), ==, 0);
	g_assert_cmpuint(kept_after(whole, false, 0), ==, 0);
	g_assert_cmpuint(kept_after(whole, false, 1), ==, 0);
	g_assert_cmpuint(kept_after(whole, false, 3), ==, 0);
	g_assert_cmpuint(kept_after(whole, true, 2), ==, 0);
	g_assert_cmpuint(kept_after(whole, false, CONNECT_BATCH + 1), ==, 0);
	g_assert_cmpuint(kept_after(whole - 1, false, 2), ==, 0);
	g_assert_cmpuint(kept_after(whole + 1, false, 2), ==, 0);
	g_assert_cmpuint(kept_after((CONNECT_BATCH + 1) * sizeof(struct connect_reply), false, 2),
			 ==, 0);
	g_assert_cmpuint(kept_after(0, false, 2), ==, 0);
}

static void ask_for_one(void *ctx)
{
	struct scene *s = ctx;

	connect_ask(s->client, &s->at, on_done, s);
}

/* The connector answers before it was asked, and again afterwards. */
static void test_early_answer(void)
{
	struct connect_replies early = {.replies = {{.id = 1, .error = ECONNREFUSED}}, .count = 1};
	struct scene s = {.l = loop_new(), .fd = -1, .at = address("127.7.0.1", 9)};
	struct loop_task *asks = loop_task_new(s.l, ask_for_one, &s);
	int fds[2];

	g_assert_true(connect_pair(fds, NULL));
	s.client = connect_client_new(s.l, fds[0], on_closed, &s);
	g_assert_true(connect_replies_send(fds[1], &early));
	/* Ahead of the answer in this turn; what it asks is sent at the end of the turn. */
	loop_task_ask(asks);
	loop_turn(s.l, false);
	g_assert_cmpuint(s.answers, ==, 0);
	g_assert_true(connect_replies_send(fds[1], &early));
	turn_until(&s, &s.answers, 1);
	g_assert_true(connect_replies_send(fds[1], &early));
	loop_turn(s.l, false);
	g_assert_cmpuint(s.answers, ==, 1);
	g_assert_false(s.closed);
	loop_task_free(asks);
	connect_client_free(s.client);
	loop_free(s.l);
	close(fds[1]);
}

static void *serve(void *arg)
{
	struct scene *s = arg;

	loop_run(s->l);
	return NULL;
}

static void stop(void *ctx)
{
	loop_stop(ctx);
}

static void test_waiting(void)
{
	struct scene s;
	g_autoptr(GError) error = NULL;
	int fds[2], wake[2], fd = -1;

	set_up(&s, ROLE_BMC);
	g_assert_true(connect_pair(fds, NULL));
	g_assert_true(connect_pair(wake, NULL));
	connector_serve(s.connector, ROLE_DIALER, fds[0]);
	struct connect_client *end = connect_client_new(s.l, wake[0], stop, s.l);
	GThread *thread = g_thread_new("connector", serve, &s);
	struct endpoint closed = address("127.7.0.2", endpoint_port(&s.at));
	struct endpoint outside = address("127.8.0.1", 9);

	g_assert_true(connect_and_wait(fds[1], &s.at, SPAN_SECONDS(5), &fd, NULL));
	g_assert_cmpint((int)send(fd, "x", 1, MSG_NOSIGNAL), ==, 1);
	close(fd);
	g_assert_false(connect_and_wait(fds[1], &closed, SPAN_SECONDS(5), &fd, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_UNAVAILABLE);
	g_assert_nonnull(strstr(error->message, "refused"));
	g_clear_error(&error);
	g_assert_false(connect_and_wait(fds[1], &outside, SPAN_SECONDS(5), &fd, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_DENIED);
	g_clear_error(&error);
	close(wake[1]);
	g_thread_join(thread);
	connect_client_free(end);
	tear_down(&s);
	g_assert_false(connect_and_wait(fds[1], &closed, SPAN_SECONDS(5), &fd, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_UNAVAILABLE);
	close(fds[1]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/connector/each role has its own ranges and nothing else", test_ranges);
	g_test_add_func("/connector/a thousand at a time, with as many cancelled", test_many);
	g_test_add_func("/connector/what is not a request ends the connection", test_garbage);
	g_test_add_func("/connector/an answer leaves the sockets that were asked for",
			test_answers);
	g_test_add_func("/connector/an answer to nothing is ignored", test_early_answer);
	g_test_add_func("/connector/a thread can wait for a connection", test_waiting);
	return g_test_run();
}
