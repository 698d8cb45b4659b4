#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dialer_fixture.h"

struct stranger {
	int fd, client;
	const char *says;
};

static uint64_t figure_at(struct scene *s, size_t offset)
{
	return *(const uint64_t *)(const void *)((const char *)scene_figures(s) + offset);
}

static void on_pause(void *ctx)
{
	(void)ctx;
}

static void wait_figure(struct scene *s, size_t offset)
{
	struct mono begun = mono_now();
	struct loop_timer *pause = loop_timer_new(s->l, on_pause, NULL);

	while (figure_at(s, offset) == 0) {
		g_assert_false(mono_reached(mono_add(begun, PATIENCE), mono_now()));
		loop_timer_arm(pause, SPAN_MS(20));
		loop_turn(s->l, true);
	}
	loop_timer_free(pause);
}

#define WAIT_FIGURE(s, field) wait_figure(s, offsetof(struct dialer_metrics, field))

static void on_stranger(void *ctx, bool readable, bool writable)
{
	struct stranger *t = ctx;
	int fd = accept(t->fd, NULL, NULL);

	(void)readable;
	(void)writable;
	if (send(fd, t->says, strlen(t->says), MSG_NOSIGNAL) < 0)
		g_error("the stranger cannot speak");
	shutdown(fd, SHUT_WR);
	t->client = fd;
}

/* What each kind of agent is counted as, one after the other at the same address. */
static void test_figures_of_answers(void)
{
	struct scene s;
	struct http_tls_server_options o = {.psk = scene_psk, .ctx = &s};

	scene_set_up(&s, LOCAL);
	s.tls = http_tls_server_new(&o, NULL);
	scene_serve(&s);
	scene_watch(&s, WATCH_IDLE, TRANSPORT_PSK, "");
	WAIT_FOR(&s, s.requests >= 4);
	WAIT_FIGURE(&s, polls_ok);
	g_assert_cmpuint(s.figures.bytes_in, >, 100);
	g_assert_cmpuint(s.figures.bytes_out, >, 100);
	g_assert_cmpuint(s.figures.watched_idle, ==, 1);
	g_assert_cmpuint(s.figures.handshake.sum_us, >, 0);
	g_assert_cmpuint(s.figures.lateness.sum_us, >, 0);
	WAIT_FIGURE(&s, staleness.sum_us);
	s.status_body = "<html>";
	WAIT_FIGURE(&s, malformed);
	s.status_code = 500;
	WAIT_FIGURE(&s, polls_status);
	s.status_code = 401;
	WAIT_FIGURE(&s, tokens_lost);
	scene_tear_down(&s);
}

static void test_figures_of_silence(void)
{
	static const struct {
		const char *says; /* NULL: nothing, and the connection stays */
		enum agent_transport transport;
		size_t field;
	} cases[] = {
#define AT(field) offsetof(struct dialer_metrics, field)
		{"", TRANSPORT_HTTP, AT(polls_broken)},
		{"", TRANSPORT_PSK, AT(polls_untrusted)},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", TRANSPORT_HTTP,
		 AT(polls_limit)},
		{NULL, TRANSPORT_HTTP, AT(polls_late_answer)},
		{NULL, TRANSPORT_PSK, AT(polls_late_secure)},
#undef AT
	};
	struct scene s;
	struct stranger t[G_N_ELEMENTS(cases)];
	struct loop_watch *watches[G_N_ELEMENTS(cases)] = {NULL};
	struct endpoint nobody;

	scene_set_up(&s, LOCAL "command_timeout = 1\n");
	nobody = s.at;
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		t[i] = (struct stranger){.says = cases[i].says, .client = -1};
		s.at = scene_listen(&t[i].fd);
		s.node = uuid_new();
		if (cases[i].says)
			watches[i] = loop_watch_new(s.l, t[i].fd, on_stranger, &t[i]);
		scene_watch(&s, WATCH_FIRST_CONTACT, cases[i].transport, "");
	}
	s.at = nobody;
	s.node = uuid_new();
	scene_watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
	WAIT_FIGURE(&s, polls_refused);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("case %zu", i);
		wait_figure(&s, cases[i].field);
	}
	g_assert_cmpuint(s.figures.watched_contact, ==, G_N_ELEMENTS(cases) + 1);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		loop_watch_free(watches[i]);
		close(t[i].fd);
		if (t[i].client >= 0)
			close(t[i].client);
	}
	scene_tear_down(&s);
}

static void test_figures_of_refusals(void)
{
	struct scene s;

	scene_set_up(&s, LOCAL);
	scene_call(&s, 3, "standby.sync");
	WAIT_FIGURE(&s, calls_rejected);
	struct message m = scene_watch_message(&s, WATCH_IDLE, TRANSPORT_HTTP, "");

	g_clear_pointer(&m.dialer_watch.token, secret_free);
	scene_give(&s, &m);
	WAIT_FIGURE(&s, watch_wrong);
	m = scene_watch_message(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	g_free(m.dialer_watch.address);
	m.dialer_watch.address = g_strdup("10.0.0.1");
	scene_give(&s, &m);
	WAIT_FIGURE(&s, watch_outside);
	g_assert_cmpuint(s.figures.polls_ok + s.figures.polls_unreachable, ==, 0);
	/* A long poll that ends without news. */
	s.status_body = OWN;
	s.command_body = scene_result("RUNNING", "null");
	s.hold_long_polls = true;
	scene_serve(&s);
	scene_watch(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FIGURE(&s, in_long);
	WAIT_FIGURE(&s, polls_waited);
	g_assert_cmpuint(s.figures.watched_working, ==, 1);
	scene_tear_down(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dialer/answers are counted by what they were", test_figures_of_answers);
	g_test_add_func("/dialer/strangers are counted by what they did", test_figures_of_silence);
	g_test_add_func("/dialer/what is refused and what waits is counted",
			test_figures_of_refusals);
	return g_test_run();
}
