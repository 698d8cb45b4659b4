/* dialer_part.h: what the files of the dialer share.
 *
 * dialer.c  messages of the conductor, the schedule, who gets a slot
 * look.c    one look at an agent: what is asked, and what the answer changes
 * call.c    commands and lists that the conductor asked for
 */
#pragma once

#include "channel.h"
#include "client.h"
#include "dialer.h"
#include "table.h"

/* Connections at a time.  What waits for an address that has not answered yet (or any more) has a smaller
 * share, so that dead addresses never delay living ones; long polls leave room for everything else. */
#define SLOTS_MOST      256
#define SLOTS_SLOW_MOST 64
#define SLOTS_LONG_MOST 192

/* Includes the TLS handshake.  Nodes are near. */
#define CONNECT_MOST SPAN_SECONDS(5)

/* One command for an agent, or the wish for its list. */
struct call {
	struct call *next;
	uint64_t request;
	char *command; /* NULL: the list */
	char *params;  /* JSON object */
	bool wait;
	unsigned timeout_s;
};

struct dialer;

/* What is to be asked; the rest of the http_call comes from the record. */
struct question {
	enum slot slot;
	const char *method, *resource; /* below /v1 */
	const char *query; /* in front of the token: "" or "a=b&"; NULL: without token */
	const char *body;
	size_t reply_limit;
	struct span first_byte, total;
};

struct loop *dialer_loop(const struct dialer *d);
/* Sends, and stops the loop if a message cannot be sent: a new process starts afresh. */
void dialer_send(struct dialer *d, const struct message *m);
/* `done` gets a ctx for dialer_finish(). */
void dialer_ask(struct dialer *d, struct watch *w, const struct question *q, http_done_fn done);
/* The record behind the ctx; its transfer is over. */
struct watch *dialer_finish(void *ctx, struct dialer **ret_dialer);
/* The next look happens after this time, or when a slot is free; calls come first.  Does nothing for a
 * record that is left alone, but for its calls. */
void dialer_look_after(struct dialer *d, struct watch *w, struct span after);
bool dialer_may_long_poll(const struct dialer *d);
struct span dialer_command_timeout(const struct dialer *d);

void look_start(struct dialer *d, struct watch *w);
/* A failure that is known without dialling: told as a milestone, and the agent is left alone. */
void look_refuse(struct dialer *d, struct watch *w, const char *reason);

void call_start(struct dialer *d, struct watch *w);
/* Answers a call that was not sent, and frees it. */
void call_reject(struct dialer *d, const struct watch *w, struct call *call, const char *reason);
void call_free(struct call *c);
