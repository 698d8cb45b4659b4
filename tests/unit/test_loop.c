#include "loop.h"

#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#define QUIET SPAN_MS(50)

struct seen {
	struct loop *loop;
	int fd;
	unsigned signals, reads;
};

static void on_signal(void *ctx)
{
	struct seen *s = ctx;

	s->signals++;
	loop_stop(s->loop);
}

/* Ends the process if it is not held. */
static void test_held(void)
{
	g_autoptr(loop) l = loop_new();
	struct seen s = {.loop = l};

	loop_signal_hold(SIGTERM, true);
	g_assert_cmpint(raise(SIGTERM), ==, 0);
	struct loop_signal *term = loop_signal_new(l, SIGTERM, on_signal, &s);

	g_assert_cmpuint(s.signals, ==, 0);
	loop_signal_hold(SIGTERM, false);
	loop_run(l);
	g_assert_cmpuint(s.signals, ==, 1);
	loop_signal_free(term);
}

static void on_quiet(void *ctx)
{
	struct seen *s = ctx;

	loop_stop(s->loop);
}

static void on_ready(void *ctx, bool readable, bool writable)
{
	struct seen *s = ctx;
	char byte;

	g_assert_true(readable);
	g_assert_false(writable);
	g_assert_cmpint(read(s->fd, &byte, 1), ==, 1);
	s->reads++;
}

/* A byte is written, and the loop runs until nothing has happened for a while. */
static void tell(struct seen *s, int to, struct loop_timer *quiet)
{
	g_assert_cmpint(write(to, "x", 1), ==, 1);
	loop_timer_arm(quiet, QUIET);
	loop_run(s->loop);
}

static void test_watch(void)
{
	g_autoptr(loop) l = loop_new();
	struct seen s = {.loop = l};
	struct loop_timer *quiet = loop_timer_new(l, on_quiet, &s);
	int ends[2];

	g_assert_cmpint(pipe(ends), ==, 0);
	s.fd = ends[0];
	struct loop_watch *w = loop_watch_new(l, ends[0], on_ready, &s);

	loop_watch_set(w, true, false); /* as it is already */
	tell(&s, ends[1], quiet);
	g_assert_cmpuint(s.reads, ==, 1);
	loop_watch_set(w, false, false);
	loop_watch_set(w, false, false);
	tell(&s, ends[1], quiet);
	g_assert_cmpuint(s.reads, ==, 1);
	/* What came meanwhile is told as well. */
	loop_watch_set(w, true, false);
	tell(&s, ends[1], quiet);
	g_assert_cmpuint(s.reads, ==, 3);
	loop_watch_free(w);
	loop_timer_free(quiet);
	close(ends[0]);
	close(ends[1]);
}

struct errand {
	struct loop_task *task;
	unsigned runs, wanted;
};

static void on_task(void *ctx)
{
	struct errand *e = ctx;

	if (++e->runs < e->wanted)
		loop_task_ask(e->task);
}

static void test_task(void)
{
	g_autoptr(loop) l = loop_new();
	struct errand e = {.wanted = 1};

	e.task = loop_task_new(l, on_task, &e);
	loop_turn(l, false);
	g_assert_cmpuint(e.runs, ==, 0);
	loop_task_ask(e.task);
	loop_task_ask(e.task);
	g_assert_cmpuint(e.runs, ==, 0);
	loop_turn(l, true);
	g_assert_cmpuint(e.runs, ==, 1);
	loop_turn(l, false);
	g_assert_cmpuint(e.runs, ==, 1);
	/* What it asks for itself is done as well. */
	e.wanted = 3;
	loop_task_ask(e.task);
	loop_turn(l, true);
	g_assert_cmpuint(e.runs, ==, 3);
	loop_task_ask(e.task);
	loop_task_free(e.task);
	loop_turn(l, false);
	g_assert_cmpuint(e.runs, ==, 3);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/loop/a signal that is held is told to who listens later", test_held);
	g_test_add_func("/loop/a watch that is set again is what it was set to last", test_watch);
	g_test_add_func("/loop/a task that is asked for twice is done once", test_task);
	return g_test_run();
}
