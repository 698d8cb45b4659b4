/* loop.h: libevent wrapped: one epoll loop per process, its timers, signals and descriptors. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "clocks.h"

struct event_base;
struct loop;
struct loop_timer;
struct loop_task;
struct loop_watch;
struct loop_signal;

typedef void (*loop_fn)(void *ctx);
typedef void (*loop_fd_fn)(void *ctx, bool readable, bool writable);

struct loop *loop_new(void); /* never NULL */
void loop_free(struct loop *l);
/* Runs until loop_stop(); callbacks may stop it. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Handles what is ready now, or waits for one event if `wait`; for tests and programs with work
 * of their own. */
void loop_turn(struct loop *l, bool wait);
struct mono loop_now(const struct loop *l);
/* For the wrappers in http/ only. */
struct event_base *loop_peek_event_base(struct loop *l);

/* A timer is made once and armed as often as needed; it fires once per arming. */
struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *ctx);
void loop_timer_arm(struct loop_timer *t, struct span after);
void loop_timer_disarm(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine; safe inside its own callback */

/* What is to be done once at the end of the turn, before the loop waits again, however often it was asked for. */
struct loop_task *loop_task_new(struct loop *l, loop_fn fn, void *ctx);
void loop_task_ask(struct loop_task *t);
void loop_task_free(struct loop_task *t); /* NULL is fine */

/* Watches a descriptor, level triggered, until freed.  The descriptor stays the caller's. */
struct loop_watch *loop_watch_new(struct loop *l, int fd, loop_fd_fn fn, void *ctx);
void loop_watch_set(struct loop_watch *w, bool want_read, bool want_write);
void loop_watch_free(struct loop_watch *w);

struct loop_signal *loop_signal_new(struct loop *l, int signal, loop_fn fn, void *ctx);
void loop_signal_free(struct loop_signal *s);
/* A signal that is held waits and is not lost, until it is let go with `hold` false: around making and freeing what
 * listens for it. */
void loop_signal_hold(int signal, bool hold);

typedef struct loop loop;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(loop, loop_free)
