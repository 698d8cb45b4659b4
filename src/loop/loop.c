#include "loop.h"

#include <event2/event.h>
#include <signal.h>

/* Turns that are left to what was queued when a loop is freed. */
#define LAST_TURNS 16

struct loop {
	struct event_base *base;
};

struct loop_timer {
	struct event *event;
	loop_fn fn;
	void *ctx;
};

struct loop_task {
	struct event *event;
	loop_fn fn;
	void *ctx;
};

struct loop_watch {
	struct event *event;
	int fd;
	loop_fd_fn fn;
	void *ctx;
};

struct loop_signal {
	struct event *event;
	loop_fn fn;
	void *ctx;
};

struct loop *loop_new(void)
{
	struct loop *l = g_new0(struct loop, 1);

	l->base = event_base_new();
	if (!l->base)
		g_error("no event loop: epoll is not available");
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	/* A bufferevent with a deferred callback in the queue is kept alive by it, though its owner freed
	 * it; nobody else is left to be called back. */
	for (unsigned turn = 0;
	     turn < LAST_TURNS && event_base_get_num_events(l->base, EVENT_BASE_COUNT_ACTIVE) > 0;
	     turn++)
		event_base_loop(l->base, EVLOOP_NONBLOCK);
	event_base_free(l->base);
	g_free(l);
}

void loop_run(struct loop *l)
{
	event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

void loop_stop(struct loop *l)
{
	event_base_loopbreak(l->base);
}

void loop_turn(struct loop *l, bool wait)
{
	event_base_loop(l->base, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
}

struct mono loop_now(const struct loop *l)
{
	(void)l;
	return mono_now();
}

struct event_base *loop_peek_event_base(struct loop *l)
{
	return l->base;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->ctx);
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *ctx)
{
	struct loop_timer *t = g_new0(struct loop_timer, 1);

	t->fn = fn;
	t->ctx = ctx;
	t->event = evtimer_new(l->base, on_timer, t);
	return t;
}

void loop_timer_arm(struct loop_timer *t, struct span after)
{
	int64_t us = MAX(after.us, 0);
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	evtimer_add(t->event, &tv);
}

void loop_timer_disarm(struct loop_timer *t)
{
	evtimer_del(t->event);
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	event_free(t->event);
	g_free(t);
}

static void on_task(evutil_socket_t fd, short what, void *arg)
{
	struct loop_task *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->ctx);
}

struct loop_task *loop_task_new(struct loop *l, loop_fn fn, void *ctx)
{
	struct loop_task *t = g_new0(struct loop_task, 1);

	t->fn = fn;
	t->ctx = ctx;
	t->event = event_new(l->base, -1, 0, on_task, t);
	return t;
}

void loop_task_ask(struct loop_task *t)
{
	/* It goes behind what is already waiting for its turn. */
	event_active(t->event, EV_TIMEOUT, 0);
}

void loop_task_free(struct loop_task *t)
{
	if (!t)
		return;
	event_free(t->event);
	g_free(t);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;

	(void)fd;
	w->fn(w->ctx, what & EV_READ, what & EV_WRITE);
}

struct loop_watch *loop_watch_new(struct loop *l, int fd, loop_fd_fn fn, void *ctx)
{
	struct loop_watch *w = g_new0(struct loop_watch, 1);

	w->fd = fd;
	w->fn = fn;
	w->ctx = ctx;
	w->event = event_new(l->base, fd, EV_READ | EV_PERSIST, on_watch, w);
	event_add(w->event, NULL);
	return w;
}

void loop_watch_set(struct loop_watch *w, bool want_read, bool want_write)
{
	short what = (short)(EV_PERSIST | (want_read ? EV_READ : 0) | (want_write ? EV_WRITE : 0));
	bool watched = event_pending(w->event, EV_READ | EV_WRITE, NULL);

	/* Most callers say again what they have said before; each change is a system call or two. */
	if (watched == (want_read || want_write) &&
	    (!watched || event_get_events(w->event) == what))
		return;
	event_del(w->event);
	event_assign(w->event, event_get_base(w->event), w->fd, what, on_watch, w);
	if (want_read || want_write)
		event_add(w->event, NULL);
}

void loop_watch_free(struct loop_watch *w)
{
	if (!w)
		return;
	event_free(w->event);
	g_free(w);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct loop_signal *s = arg;

	(void)fd;
	(void)what;
	s->fn(s->ctx);
}

struct loop_signal *loop_signal_new(struct loop *l, int signal, loop_fn fn, void *ctx)
{
	struct loop_signal *s = g_new0(struct loop_signal, 1);

	s->fn = fn;
	s->ctx = ctx;
	s->event = evsignal_new(l->base, signal, on_signal, s);
	event_add(s->event, NULL);
	return s;
}

void loop_signal_free(struct loop_signal *s)
{
	if (!s)
		return;
	event_free(s->event);
	g_free(s);
}

void loop_signal_hold(int signal, bool hold)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, signal);
	sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &one, NULL);
}
