/* dialer_part.h: what the files of the dialer share.
 *
 * dialer.c  messages of the conductor
 * slots.c   the schedule, and who may dial
 * look.c    one look at an agent: what is asked, and what the answer changes
 * figures.c what is counted
 * call.c    commands and lists that the conductor asked for
 */
#pragma once

#include "channel.h"
#include "client.h"
#include "dialer.h"
#include "dialer_metrics.h"
#include "pacing.h"
#include "schedule.h"
#include "table.h"

struct slots;

struct dialer {
	struct loop *loop;
	const struct config *config;
	struct channel *channel;
	struct http_client *client;
	struct table *table;
	struct schedule *schedule;
	struct slots *slots;
	unsigned watched[WATCH_PHASES];
	struct dialer_metrics metrics;
	struct loop_timer *report;
	size_t call_bytes; /* of all calls */
};

/* One command for an agent, or the wish for its list. */
struct call {
	struct call *next;
	uint64_t request;
	char *command; /* NULL: the list */
	char *params;  /* JSON object */
	bool wait;
	unsigned timeout_s;
	size_t bytes; /* counted in the dialer's call_bytes */
};

/* What is to be asked; the rest of the http_call comes from the record. */
struct question {
	enum slot slot;
	const char *method, *resource; /* below /v1 */
	const char *query; /* in front of the token: "" or "a=b&"; NULL: without token */
	const char *body;
	bool introduces; /* to whoever answers; the body is all that counts */
	size_t reply_limit;
	struct span first_byte, total;
};

struct loop *dialer_loop(const struct dialer *d);
/* Sends, and stops the loop if a message cannot be sent: a new process starts afresh. */
void dialer_send(struct dialer *d, const struct message *m);

/* ---- slots.c */
struct slots *slots_new(struct dialer *d);
void slots_free(struct slots *s);
void slots_fill(const struct slots *s, struct dialer_metrics *m);
/* `done` gets a ctx for dialer_finish(). */
void dialer_ask(struct dialer *d, struct watch *w, const struct question *q, http_done_fn done);
/* The record behind the ctx; its transfer is over. */
struct watch *dialer_finish(void *ctx, const struct http_outcome *outcome,
			    struct dialer **ret_dialer);
/* Ends the transfer of the record, if there is one, without an answer. */
void dialer_cancel(struct dialer *d, struct watch *w);
bool dialer_runs_call(const struct watch *w);
/* The next look happens after this time, or when a slot is free; calls come first.  Does nothing for a
 * record that is left alone, but for its calls. */
void dialer_look_after(struct dialer *d, struct watch *w, struct span after);
/* At once, or when a slot is free. */
void dialer_wait_for_slot(struct dialer *d, struct watch *w);
/* The kind of slot that a look at this agent takes now. */
enum slot dialer_slot_of(const struct dialer *d, const struct watch *w);
bool dialer_may_long_poll(const struct dialer *d);
/* That run now. */
unsigned dialer_long_polls(const struct dialer *d);

struct span dialer_command_timeout(const struct dialer *d);

void look_start(struct dialer *d, struct watch *w);
/* A look that was given up. */
void look_fail(struct dialer *d, struct watch *w, const char *reason);
/* A failure that is known without dialling: told as a milestone, and the agent is left alone. */
void look_refuse(struct dialer *d, struct watch *w, const char *reason);

void call_start(struct dialer *d, struct watch *w);
/* Answers a call that was not sent, or whose answer is not waited for (`begun`: it may have been carried out), and
 * frees it. */
void call_reject(struct dialer *d, const struct watch *w, struct call *call, bool begun,
		 const char *reason);
/* A new call keeps so many bytes. */
void call_count(struct dialer *d, struct call *c, size_t bytes);
void call_free(struct dialer *d, struct call *c);

void figures_count(struct dialer *d, enum slot slot, const struct http_outcome *o);
/* Tells the conductor; `ctx` is the dialer. */
void figures_send(void *ctx);
