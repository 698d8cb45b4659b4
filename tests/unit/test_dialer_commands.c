#include <signal.h>
#include <string.h>

#include "dialer_fixture.h"
#include "errors.h"

static void test_follow(void)
{
	struct scene s;

	scene_set_up(&s, LOCAL);
	s.command_body = scene_result("RUNNING", "null");
	scene_serve(&s);
	scene_watch(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FOR(&s, s.command_count == 1);
	g_assert_cmpuint(s.last_status, ==, COMMAND_RUNNING);
	/* A stock agent is not asked to wait. */
	g_assert_cmpuint(s.long_polls, ==, 0);
	g_free(s.command_body);
	s.command_body = scene_result("SUCCEEDED", "{\"x\": 1}");
	WAIT_FOR(&s, s.command_count == 2);
	g_assert_cmpuint(s.last_status, ==, COMMAND_SUCCEEDED);
	g_assert_cmpstr(s.last_outcome, ==, "{\"x\":1}");
	scene_tear_down(&s);
}

/* The agent holds the poll for a command that runs. */
static void set_up_long_poll(struct scene *s)
{
	scene_set_up(s, LOCAL);
	s->status_body = OWN;
	s->command_body = scene_result("RUNNING", "null");
	s->hold_long_polls = true;
	scene_serve(s);
	scene_watch(s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FOR(s, s->held);
}

static void test_long_poll(void)
{
	struct scene s;

	set_up_long_poll(&s);
	/* A call does not wait for the poll. */
	s.post_body = s.command_body;
	uint64_t before = mono_now().us;

	scene_call(&s, 3, "poll.get_hardware_info");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_cmpuint(mono_now().us - before, <, 1500000);
	g_assert_cmpuint(s.last_result, ==, 0);
	g_assert_cmpstr(s.last_command, ==, COMMAND);
	g_assert_cmpstr(s.posted, ==,
			"{\"name\": \"poll.get_hardware_info\", \"params\": {\"a\":1}}");
	WAIT_FOR(&s, s.held);
	/* The end of the command is seen when it happens. */
	g_autofree char *done = scene_result("SUCCEEDED", "null");

	before = mono_now().us;
	scene_answer(s.held, 200, done);
	s.held = NULL;
	WAIT_FOR(&s, s.last_status == COMMAND_SUCCEEDED && s.command_count >= 2);
	g_assert_cmpuint(mono_now().us - before, <, 500000);
	g_assert_cmpuint(s.gone_count, ==, 0);
	scene_tear_down(&s);
}

static void test_unknown_command(void)
{
	struct scene s;

	scene_set_up(&s, LOCAL);
	s.command_code = 404;
	s.command_body = g_strdup("{\"faultstring\": \"Not found\"}");
	scene_serve(&s);
	scene_watch(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FOR(&s, s.command_count == 1);
	g_assert_cmpuint(s.last_status, ==, COMMAND_UNKNOWN);
	scene_tear_down(&s);
}

static void test_call_answers(void)
{
	struct scene s;

	scene_set_up(&s, LOCAL);
	scene_serve(&s);
	scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	s.post_code = 409;
	s.post_body = "{\"faultstring\": \"Agent is busy: executing command x\"}";
	scene_call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_cmpuint(s.last_result, ==, INOX_ERROR_BUSY + 1);
	g_assert_true(s.last_busy);
	g_assert_false(s.last_unclear);
	/* Nonsense behind a 200: it may have been carried out. */
	s.post_code = 200;
	s.post_body = "yes";
	scene_call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 2);
	g_assert_cmpuint(s.last_result, ==, INOX_ERROR_PEER + 1);
	g_assert_true(s.last_unclear);
	/* Another epoch's call is not sent. */
	scene_call(&s, 2, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 3);
	g_assert_cmpuint(s.last_result, ==, INOX_ERROR_CONFLICT + 1);
	g_assert_cmpuint(s.posts, ==, 2);
	struct message m = {.type = MESSAGE_dialer_list};

	m.dialer_list.node = s.node;
	m.dialer_list.epoch = 3;
	scene_give(&s, &m);
	WAIT_FOR(&s, s.reply_count == 4);
	g_assert_cmpuint(s.last_result, ==, 0);
	g_assert_cmpstr(s.last_outcome, ==, "[]");
	scene_tear_down(&s);
}

static void test_forget(void)
{
	struct scene s;
	struct message m = {.type = MESSAGE_dialer_forget};

	set_up_long_poll(&s);
	m.dialer_forget.node = s.node;
	scene_give(&s, &m);
	WAIT_FOR(&s, s.gone == 1);
	scene_call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_nonnull(strstr(s.last_reason, "not watched"));
	scene_tear_down(&s);
}

/* The same boot, at an address that may not be dialled. */
static void watch_outside(struct scene *s)
{
	struct message m = scene_watch_message(s, WATCH_WORKING, TRANSPORT_HTTP, "");

	g_free(m.dialer_watch.address);
	m.dialer_watch.address = g_strdup("10.0.0.1");
	scene_give(s, &m);
}

static void assert_rejected(struct scene *s, unsigned replies, bool unclear)
{
	WAIT_FOR(s, s->reply_count == replies);
	g_assert_cmpuint(s->last_result, ==, INOX_ERROR_CONFLICT + 1);
	g_assert_cmpint(s->last_unclear, ==, unclear);
	g_assert_nonnull(strstr(s->last_reason, "outside [agent]allowed_networks"));
}

static void test_refused_watch(void)
{
	struct scene s;
	struct message m = {.type = MESSAGE_dialer_list};

	scene_set_up(&s, LOCAL);
	s.hold_posts = true;
	scene_serve(&s);
	scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	scene_call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.held);
	watch_outside(&s);
	assert_rejected(&s, 1, true);
	WAIT_FOR(&s, s.gone == 1);
	/* Nothing of that is left for a watch that is accepted later. */
	s.hold_posts = false;
	scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	m.dialer_list.node = s.node;
	m.dialer_list.epoch = 3;
	scene_give(&s, &m);
	WAIT_FOR(&s, s.reply_count == 2);
	g_assert_cmpuint(s.last_result, ==, 0);
	g_assert_cmpuint(s.posts, ==, 1);
	scene_tear_down(&s);
}

static void test_refused_while_waiting(void)
{
	struct scene s;

	scene_set_up(&s, LOCAL);
	scene_serve(&s);
	struct message m = scene_watch_message(&s, WATCH_IDLE, TRANSPORT_HTTP, "");

	scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	/* It is asked at once, and then no more. */
	m.dialer_watch.interval_s = 600;
	scene_give(&s, &m);
	WAIT_FOR(&s, s.alive_count == 2);
	unsigned before = s.requests;

	/* The dialer hears both at once. */
	g_assert_cmpint(kill(s.dialer, SIGSTOP), ==, 0);
	scene_call(&s, 3, "standby.sync");
	watch_outside(&s);
	g_assert_cmpint(kill(s.dialer, SIGCONT), ==, 0);
	assert_rejected(&s, 1, false);
	/* And then looks at nobody. */
	for (unsigned i = 0; i < 2; i++) {
		const struct dialer_metrics *f = scene_figures(&s);

		g_assert_cmpuint(f->in_call + f->in_usual + f->in_retry + f->in_contact, ==, 0);
	}
	g_assert_cmpuint(s.requests, ==, before);
	scene_tear_down(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dialer/a command is followed to its end", test_follow);
	g_test_add_func("/dialer/an own agent is long-polled and calls come first", test_long_poll);
	g_test_add_func("/dialer/a command that the agent does not know is told",
			test_unknown_command);
	g_test_add_func("/dialer/calls are answered, busy and unclear are told apart",
			test_call_answers);
	g_test_add_func("/dialer/a refused watch ends the call that runs, and it is not sent again",
			test_refused_watch);
	g_test_add_func("/dialer/a refused watch ends the call that waits, and nothing is dialled",
			test_refused_while_waiting);
	g_test_add_func("/dialer/a forgotten node is left alone at once", test_forget);
	return g_test_run();
}
