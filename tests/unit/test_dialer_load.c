#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dialer_fixture.h"

/* Thirty agents take connections and say nothing, for sixteen slots. */
static void test_tarpits(void)
{
	struct scene s;
	int tarpit;

	scene_set_up(&s, SMALL);
	struct endpoint healthy = s.at;
	struct uuid node = s.node;
	struct mono begun = mono_now();

	s.at = scene_listen(&tarpit);
	for (unsigned i = 0; i < 30; i++) {
		s.node = uuid_new();
		scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	}
	s.at = healthy;
	s.node = node;
	scene_serve(&s);
	scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	/* Two requests a look, and a look a second. */
	WAIT_FOR(&s, s.requests >= 8);
	g_assert_cmpint((int64_t)(mono_now().us - begun.us), <, SPAN_SECONDS(10).us);
	g_assert_cmpuint(scene_figures(&s)->given_up, >, 0);
	close(tarpit);
	scene_tear_down(&s);
}

#define FINISHING 40u

/* Forty agents finish with a large outcome while the conductor does not read: the dialer stops looking, and
 * then nothing is missing. */
static void test_backlog(void)
{
	struct scene s;
	int fds[2];
	g_autofree char *filler = g_strnfill(200000, 'x');
	g_autofree char *outcome = g_strdup_printf("{\"x\": \"%s\"}", filler);
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	scene_set_up(&s, SMALL);
	channel_free(s.conductor);
	waitpid(s.dialer, NULL, 0);
	g_assert_true(channel_pair(fds, NULL));
	s.dialer = scene_start_dialer(fds, SMALL);
	s.command_body = scene_result("SUCCEEDED", outcome);
	scene_serve(&s);
	for (unsigned i = 0; i < FINISHING; i++) {
		s.node = uuid_new();
		g_auto(message) m = scene_watch_message(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);

		g_assert_true(message_encode(&m, bytes, NULL));
	}
	g_assert_cmpint(send(fds[1], bytes->data, bytes->len, 0), ==, (ssize_t)bytes->len);
	/* Status, list and command of the first ones; then it waits. */
	struct loop_timer *quiet = loop_timer_new(s.l, scene_on_late, &s);

	for (unsigned before = 0; !s.late && s.requests < 3 * FINISHING;) {
		if (s.requests != before)
			loop_timer_arm(quiet, SPAN_SECONDS(1));
		before = s.requests;
		loop_turn(s.l, true);
	}
	loop_timer_free(quiet);
	s.late = false;
	g_assert_cmpuint(s.requests, <, 3 * FINISHING);
	s.conductor = channel_new(s.l, fds[1], scene_on_message, scene_on_closed, &s);
	WAIT_FOR(&s, s.command_count == FINISHING);
	g_assert_cmpuint(s.alive_count, ==, FINISHING);
	g_assert_cmpuint(scene_figures(&s)->held_back, >, 0);
	scene_tear_down(&s);
}

#define RENEWALS 100u

/* More nodes than slots are watched anew again and again, whatever their looks are doing; the last watch has a command
 * to follow, and the end of each must be told. */
static void test_renewals(void)
{
	struct scene s;
	struct uuid nodes[FINISHING];

	scene_set_up(&s, SMALL);
	s.command_body = scene_result("SUCCEEDED", "{}");
	scene_serve(&s);
	for (unsigned i = 0; i < FINISHING; i++)
		nodes[i] = uuid_new();
	for (unsigned round = 0; round <= RENEWALS; round++) {
		bool last = round == RENEWALS;
		unsigned answered = s.requests;

		for (unsigned i = 0; i < FINISHING; i++) {
			s.node = nodes[i];
			scene_watch(&s, WATCH_WORKING, TRANSPORT_HTTP, last ? COMMAND : "");
		}
		WAIT_FOR(&s, s.requests > answered + round % FINISHING);
	}
	WAIT_FOR(&s, s.command_count == FINISHING);
	scene_tear_down(&s);
}

#define LARGE_CALLS 30u
#define LARGE_CALL  (4u * 1024 * 1024)

/* Thirty commands with large parameters for agents that say nothing: the dialer takes some of them, and the others when
 * those are over. */
static void test_large_calls(void)
{
	struct scene s;
	int tarpit;
	g_autofree char *filler = g_strnfill(LARGE_CALL, 'x');
	struct uuid nodes[LARGE_CALLS];

	scene_set_up(&s, SMALL);
	s.at = scene_listen(&tarpit);
	for (unsigned i = 0; i < LARGE_CALLS; i++) {
		s.node = nodes[i] = uuid_new();
		scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	}
	for (unsigned i = 0; i < LARGE_CALLS; i++) {
		struct message m = {.type = MESSAGE_dialer_call};

		m.dialer_call = (struct message_dialer_call){
			.request = i + 1, .node = nodes[i], .epoch = 3, .wait = true};
		m.dialer_call.timeout_s = 2;
		m.dialer_call.command = (char *)(uintptr_t) "standby.sync";
		m.dialer_call.params = g_strdup_printf("{\"x\": \"%s\"}", filler);
		g_assert_true(channel_send(s.conductor, &m, NULL));
		g_free(m.dialer_call.params);
	}
	size_t most = 0;

	while (s.reply_count < LARGE_CALLS) {
		size_t left =
			LARGE_CALLS * (size_t)LARGE_CALL -
			MIN(channel_queued_bytes(s.conductor), LARGE_CALLS * (size_t)LARGE_CALL);

		most = MAX(most, left - MIN(left, s.reply_count * (size_t)LARGE_CALL));
		loop_turn(s.l, true);
	}
	/* 64 MiB are kept; one more and what the socket holds come with them. */
	g_assert_cmpuint(most, >, 14 * (size_t)LARGE_CALL);
	g_assert_cmpuint(most, <, 18 * (size_t)LARGE_CALL);
	close(tarpit);
	scene_tear_down(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dialer/agents that say nothing delay nobody", test_tarpits);
	g_test_add_func("/dialer/a conductor that does not read stops the looks and loses nothing",
			test_backlog);
	g_test_add_func("/dialer/a watch that is renewed while its node waits for its turn is kept",
			test_renewals);
	g_test_add_func("/dialer/large commands wait with the conductor", test_large_calls);
	return g_test_run();
}
