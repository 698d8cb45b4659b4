#include "dialer.h"

#include <string.h>

#include "dialer_part.h"
#include "errors.h"
#include "log.h"
#include "pacing.h"
#include "schedule.h"

/* Starting a look costs some 100 us with its TLS handshake: one turn stays below 10 ms. */
#define STARTS_PER_TURN 64
#define LATE            SPAN_SECONDS(1)
#define LATE_LOG_EVERY  SPAN_SECONDS(60)

struct running {
	struct dialer *dialer;
	struct watch *watch;
	struct http_transfer *transfer;
	enum slot slot;
};

struct dialer {
	struct loop *loop;
	const struct config *config;
	struct channel *channel;
	struct http_client *client;
	struct table *table;
	struct schedule *schedule;
	struct loop_timer *tick;    /* the next one is due */
	struct loop_timer *pump;    /* something may have become startable */
	GQueue waiting[SLOT_COUNT]; /* ids; an id counts if its record waits in this queue */
	unsigned running, running_in[SLOT_COUNT];
	struct mono late_logged;
};

struct loop *dialer_loop(const struct dialer *d)
{
	return d->loop;
}

struct span dialer_command_timeout(const struct dialer *d)
{
	return config_span(d->config, OPTION_agent_command_timeout);
}

bool dialer_may_long_poll(const struct dialer *d)
{
	return d->running_in[SLOT_LONG] < SLOTS_LONG_MOST;
}

void dialer_send(struct dialer *d, const struct message *m)
{
	g_autoptr(GError) error = NULL;

	if (channel_send(d->channel, m, &error))
		return;
	log_error(NULL, "the conductor cannot be told", F_ERR(error));
	loop_stop(d->loop);
}

/* ---- slots */

static void arm(struct dialer *d)
{
	uint64_t now = loop_now(d->loop).us;
	struct mono due;

	if (schedule_peek(d->schedule, &due))
		loop_timer_arm(d->tick, (struct span){due.us > now ? (int64_t)(due.us - now) : 0});
}

static void pump_soon(struct dialer *d)
{
	loop_timer_arm(d->pump, SPAN_MS(0));
}

static void wait_for_slot(struct dialer *d, struct watch *w)
{
	enum slot slot = w->calls ? SLOT_CALL : !w->alive || w->failures ? SLOT_SLOW : SLOT_USUAL;

	schedule_remove(d->schedule, w->id);
	if (w->waiting == slot)
		return;
	w->waiting = (uint8_t)slot;
	g_queue_push_tail(&d->waiting[slot], GUINT_TO_POINTER(w->id));
	pump_soon(d);
}

void dialer_look_after(struct dialer *d, struct watch *w, struct span after)
{
	if (w->calls) {
		wait_for_slot(d, w);
		return;
	}
	if (w->halted)
		return;
	w->due = mono_add(loop_now(d->loop), after);
	schedule_set(d->schedule, w->id, w->due);
	arm(d);
}

static void give_back(struct dialer *d, struct watch *w)
{
	struct running *r = w->running;

	w->running = NULL;
	d->running--;
	d->running_in[r->slot]--;
	g_free(r);
	pump_soon(d);
}

struct watch *dialer_finish(void *ctx, struct dialer **ret_dialer)
{
	struct running *r = ctx;
	struct watch *w = r->watch;

	*ret_dialer = r->dialer;
	give_back(r->dialer, w);
	return w;
}

static void cancel(struct dialer *d, struct watch *w)
{
	if (!w->running)
		return;
	http_transfer_cancel(w->running->transfer);
	give_back(d, w);
}

/* Over a channel that is keyed with the token, the token itself does not travel (design: the channel). */
static char *make_path(const struct watch *w, const struct question *q)
{
	if (!q->query)
		return g_strdup_printf("/v1%s", q->resource);
	if (w->transport == TRANSPORT_PSK)
		return g_strdup_printf("/v1%s?%s", q->resource, q->query);
	char *token = g_uri_escape_string(w->token, NULL, FALSE);
	char *path = g_strdup_printf("/v1%s?%sagent_token=%s", q->resource, q->query, token);

	secret_wipe_text(token);
	return path;
}

void dialer_ask(struct dialer *d, struct watch *w, const struct question *q, http_done_fn done)
{
	struct running *r = g_new0(struct running, 1);
	char identity[TLS_IDENTITY_MAX];
	char *path = make_path(w, q);
	struct http_call call = {.to = w->to,
				 .method = q->method,
				 .path = path,
				 .body = q->body,
				 .body_length = q->body ? strlen(q->body) : 0,
				 .reply_limit = q->reply_limit,
				 .connect_timeout = CONNECT_MOST,
				 .first_byte_timeout = q->first_byte,
				 .total_timeout = q->total,
				 .transport = w->transport,
				 .psk_identity = identity,
				 .psk_key = w->psk,
				 .certificate_sha256 = w->pin};

	g_assert(!w->running);
	tls_psk_identity(&w->node, w->epoch, identity);
	*r = (struct running){.dialer = d, .watch = w, .slot = q->slot};
	w->running = r;
	d->running++;
	d->running_in[q->slot]++;
	r->transfer = http_client_start(d->client, &call, done, r);
	secret_wipe_text(path);
}

/* ---- the schedule */

static bool has_room(const struct dialer *d, enum slot slot)
{
	return d->running < SLOTS_MOST &&
	       (slot != SLOT_SLOW || d->running_in[SLOT_SLOW] < SLOTS_SLOW_MOST);
}

/* The next record that waits in this queue, NULL if there is none. */
static struct watch *take_waiting(struct dialer *d, enum slot slot)
{
	while (!g_queue_is_empty(&d->waiting[slot])) {
		uint32_t id = GPOINTER_TO_UINT(g_queue_pop_head(&d->waiting[slot]));
		struct watch *w = table_at(d->table, id);

		if (uuid_is_set(&w->node) && w->waiting == slot && !w->running) {
			w->waiting = SLOT_NONE;
			return w;
		}
	}
	return NULL;
}

static void note_lateness(struct dialer *d, const struct watch *w)
{
	struct mono now = loop_now(d->loop);
	int64_t late_us = (int64_t)(now.us - w->due.us);

	if (late_us < LATE.us || !mono_reached(mono_add(d->late_logged, LATE_LOG_EVERY), now))
		return;
	d->late_logged = now;
	log_warn(NULL, "looks at agents are late", F_INT("late_ms", late_us / 1000),
		 F_INT("watched", table_count(d->table)));
}

static unsigned start_waiting(struct dialer *d, enum slot slot, unsigned most)
{
	unsigned started = 0;
	struct watch *w;

	while (started < most && has_room(d, slot) && (w = take_waiting(d, slot))) {
		started++;
		if (w->calls) {
			call_start(d, w);
			continue;
		}
		if (slot == SLOT_USUAL)
			note_lateness(d, w);
		look_start(d, w);
	}
	return started;
}

static void on_tick(void *ctx)
{
	struct dialer *d = ctx;
	uint32_t id;
	struct mono due;
	unsigned taken = 0;

	while (taken++ < 4 * STARTS_PER_TURN &&
	       schedule_take_due(d->schedule, loop_now(d->loop), &id, &due))
		wait_for_slot(d, table_at(d->table, id));
	arm(d);
}

static void on_pump(void *ctx)
{
	struct dialer *d = ctx;
	unsigned started = 0;

	for (enum slot s = SLOT_CALL; s <= SLOT_SLOW; s++)
		started += start_waiting(d, s, STARTS_PER_TURN - started);
	if (started == STARTS_PER_TURN)
		pump_soon(d);
}

/* ---- messages of the conductor */

static void drop_calls(struct dialer *d, struct watch *w, const char *reason)
{
	struct call *c = w->calls;

	w->calls = NULL;
	while (c) {
		struct call *next = c->next;

		call_reject(d, w, c, reason);
		c = next;
	}
}

/* Everything that belongs to an epoch. */
static void forget_epoch(struct dialer *d, struct watch *w)
{
	struct watch empty = {.id = w->id, .node = w->node};

	cancel(d, w);
	drop_calls(d, w, "the boot that this command was for is over");
	schedule_remove(d->schedule, w->id);
	explicit_bzero(w, sizeof(*w));
	*w = empty;
}

/* NULL, or why the node is not watched. */
static char *check_watch(struct dialer *d, const struct message_dialer_watch *m,
			 struct dial_address *ret_to)
{
	unsigned count;
	const struct network *list =
		config_networks(d->config, OPTION_agent_allowed_networks, &count);
	g_autoptr(GError) error = NULL;

	if (!dial_address_check(m->address, m->port, list, count, ret_to, &error))
		return g_error_matches(error, INOX_ERROR, INOX_ERROR_DENIED)
			       ? g_strdup_printf("the agent's address %s is outside "
						 "[agent]allowed_networks",
						 m->address)
			       : g_strdup_printf("the agent's address cannot be dialled: %s",
						 error->message);
	if (m->transport > TRANSPORT_HTTP || m->phase > WATCH_IDLE)
		return g_strdup("the transport or the phase of the watch is unknown");
	if (m->transport == TRANSPORT_PINNED && strlen(m->certificate) != WATCH_PIN_TEXT - 1)
		return g_strdup("transport is pinned, but no certificate is known");
	return m->token ? NULL : g_strdup("the node has no agent token");
}

static void set_identity(struct watch *w, const struct message_dialer_watch *m,
			 const struct dial_address *to)
{
	w->to = *to;
	w->transport = (uint8_t)m->transport;
	g_strlcpy(w->token, secret_peek(m->token), sizeof(w->token));
	g_strlcpy(w->pin, m->certificate, sizeof(w->pin));
	tls_psk_of_token(m->token, w->psk);
}

/* A new command to follow starts with quick looks. */
static void set_work(struct dialer *d, struct watch *w, const struct message_dialer_watch *m)
{
	struct uuid command = {""};

	if (*m->command && !uuid_parse(m->command, &command, NULL))
		log_warn(w->node.s, "the command to follow is not a UUID");
	if (strcmp(command.s, w->command.s) != 0 || m->phase != w->phase)
		w->looks = 0;
	if (strcmp(command.s, w->command.s) != 0) {
		w->command_status = COMMAND_UNKNOWN;
		w->done = 0;
	}
	w->command = command;
	w->phase = (uint8_t)m->phase;
	w->interval_s = MAX(m->interval_s, 1);
	/* Who asks for the first contact wants to be told of it. */
	if (m->phase == WATCH_FIRST_CONTACT)
		w->alive = false;
	/* A look that runs for the old work is not waited for; a call is. */
	if (w->running && w->running->slot != SLOT_CALL)
		cancel(d, w);
}

static void on_watch(struct dialer *d, const struct message_dialer_watch *m)
{
	struct watch *w = table_find(d->table, &m->node);
	bool fresh = !w || w->epoch != m->epoch;
	struct dial_address to;
	g_autofree char *problem = NULL;

	if (!w)
		w = table_add(d->table, &m->node);
	else if (fresh)
		forget_epoch(d, w);
	w->epoch = m->epoch;
	if ((problem = check_watch(d, m, &to))) {
		cancel(d, w);
		schedule_remove(d->schedule, w->id);
		look_refuse(d, w, problem);
		return;
	}
	w->halted = w->token_lost;
	set_identity(w, m, &to);
	set_work(d, w, m);
	if (fresh)
		w->begun = loop_now(d->loop);
	if (!w->running)
		dialer_look_after(
			d, w,
			fresh ? pacing_first(w->phase, SPAN_SECONDS(w->interval_s), &w->node)
			      : SPAN_MS(0));
}

static void on_forget(struct dialer *d, const struct uuid *node)
{
	struct watch *w = table_find(d->table, node);

	if (!w)
		return;
	forget_epoch(d, w);
	table_remove(d->table, w);
}

/* Takes the call. */
static void add_call(struct dialer *d, const struct uuid *node, uint64_t epoch, struct call *c)
{
	struct watch *w = table_find(d->table, node);
	struct watch none = {.node = *node, .epoch = epoch};

	if (!w || w->epoch != epoch || w->halted) {
		call_reject(d, &none, c,
			    w && w->halted ? "the agent is left alone: its last refusal says why"
					   : "this boot of the node is not watched");
		return;
	}
	struct call **end = &w->calls;

	while (*end)
		end = &(*end)->next;
	*end = c;
	if (w->running && w->running->slot != SLOT_CALL)
		cancel(d, w);
	if (!w->running)
		wait_for_slot(d, w);
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct dialer *d = ctx;
	struct call *c;

	g_assert(fd < 0);
	if (m->type == MESSAGE_dialer_watch) {
		on_watch(d, &m->dialer_watch);
	} else if (m->type == MESSAGE_dialer_forget) {
		on_forget(d, &m->dialer_forget.node);
	} else if (m->type == MESSAGE_dialer_call) {
		c = g_new0(struct call, 1);
		c->request = m->dialer_call.request;
		c->command = g_steal_pointer(&m->dialer_call.command);
		c->params = g_steal_pointer(&m->dialer_call.params);
		c->wait = m->dialer_call.wait;
		c->timeout_s = m->dialer_call.timeout_s;
		add_call(d, &m->dialer_call.node, m->dialer_call.epoch, c);
	} else if (m->type == MESSAGE_dialer_list) {
		c = g_new0(struct call, 1);
		c->request = m->dialer_list.request;
		add_call(d, &m->dialer_list.node, m->dialer_list.epoch, c);
	} else {
		log_warn(NULL, "unexpected message of the conductor",
			 F_STR("type", message_type_text(m->type)));
	}
}

static void on_closed(void *ctx, const GError *error)
{
	struct dialer *d = ctx;

	log_info(NULL, "the conductor is gone", F_ERR(error));
	loop_stop(d->loop);
}

/* ---- life */

struct dialer *dialer_new(struct loop *l, const struct config *c, int channel_fd)
{
	struct dialer *d = g_new0(struct dialer, 1);

	d->loop = l;
	d->config = c;
	d->table = table_new();
	d->schedule = schedule_new();
	d->client = http_client_new(l);
	d->tick = loop_timer_new(l, on_tick, d);
	d->pump = loop_timer_new(l, on_pump, d);
	for (unsigned i = 0; i < SLOT_COUNT; i++)
		g_queue_init(&d->waiting[i]);
	d->channel = channel_new(l, channel_fd, on_message, on_closed, d);
	return d;
}

static void free_watch(void *ctx, struct watch *w)
{
	struct dialer *d = ctx;

	cancel(d, w);
	while (w->calls) {
		struct call *next = w->calls->next;

		call_free(w->calls);
		w->calls = next;
	}
	table_remove(d->table, w);
}

void dialer_free(struct dialer *d)
{
	if (!d)
		return;
	table_each(d->table, free_watch, d);
	for (unsigned i = 0; i < SLOT_COUNT; i++)
		g_queue_clear(&d->waiting[i]);
	loop_timer_free(d->tick);
	loop_timer_free(d->pump);
	channel_free(d->channel);
	http_client_free(d->client);
	schedule_free(d->schedule);
	table_free(d->table);
	g_free(d);
}
