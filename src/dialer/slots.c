/* Who may dial: the schedule, and the slots that looks and calls wait for.
 *
 * Each kind of slot has its own limit, so that what hangs takes nothing from what answers.  A look at an agent
 * that answered last time is in a slot of the usual kind; when it takes longer than a moment it is counted as
 * one at a dead agent, and if those slots are full the oldest of them is given up for it.
 */
#include <string.h>
#include <sys/resource.h>

#include "dialer_part.h"
#include "errors.h"
#include "log.h"

/* Starting a look costs some 100 us with its TLS handshake: one turn stays below 20 ms. */
#define STARTS_PER_TURN 64
/* Who is behind the others in order still gets this many, or they would wait for ever in an overload. */
#define STARTS_OF_EACH 4
#define LATE           SPAN_SECONDS(1)
#define LATE_LOG_EVERY SPAN_SECONDS(60)
/* How long a look may hold a usual slot: eight times what good ones take lately, for all may be slow because
 * this machine is busy.  And how often that is looked after. */
#define MOMENT_LEAST  SPAN_SECONDS(1)
#define MOMENT_MOST   SPAN_SECONDS(5)
#define MOMENT_FACTOR 8
#define LATELY        64 /* looks */
#define RIPEN_EVERY   SPAN_MS(250)
/* The conductor does not read: nothing new is begun until it does. */
#define BACKLOG_MOST  (1024u * 1024)
#define BACKLOG_PAUSE SPAN_MS(20)
/* Descriptors beside the connections. */
#define SPARE_FDS 64
/* Failures after which an agent that was alive is one of the dead. */
#define DEAD_FAILURES 3

/* Includes the TLS handshake.  Nodes are near; 2 s are two attempts of TCP. */
#define CONNECT_USUAL SPAN_SECONDS(5)
#define CONNECT_DOUBT SPAN_SECONDS(2)

static const struct {
	enum config_option most;
	struct span connect;
	bool is_queue;
} kinds[SLOT_COUNT] = {
	[SLOT_CALL] = {OPTION_agent_dial_commands, CONNECT_USUAL, true},
	[SLOT_USUAL] = {OPTION_agent_dial_connections, CONNECT_USUAL, true},
	[SLOT_CONTACT] = {OPTION_agent_dial_first_contacts, CONNECT_DOUBT, true},
	[SLOT_RETRY] = {OPTION_agent_dial_unreachable, CONNECT_DOUBT, true},
	[SLOT_DEAD] = {OPTION_agent_dial_unreachable, CONNECT_DOUBT, true},
	[SLOT_LONG] = {OPTION_agent_dial_long_polls, CONNECT_USUAL, false},
};

/* A transfer and the slot that it holds. */
struct running {
	struct dialer *dialer;
	struct watch *watch;
	struct http_transfer *transfer;
	enum slot slot;
	struct mono since;
	GList link; /* in young or old, while the slot is of the usual kind or of the dead */
};

struct slots {
	unsigned most[SLOT_COUNT], running[SLOT_COUNT];
	GQueue waiting[SLOT_COUNT]; /* ids; an id counts if its record waits in this queue */
	GQueue young, old;          /* of struct running, the oldest first */
	struct loop_timer *tick;    /* the next one is due */
	struct loop_timer *pump;    /* something may have become startable */
	struct loop_timer *ripen;
	struct mono ripen_due, late_logged;
	int64_t typical_us; /* duration of good looks lately */
};

bool dialer_may_long_poll(const struct dialer *d)
{
	return d->slots->running[SLOT_LONG] < d->slots->most[SLOT_LONG];
}

unsigned dialer_long_polls(const struct dialer *d)
{
	return d->slots->running[SLOT_LONG];
}

enum slot dialer_slot_of(const struct dialer *d, const struct watch *w)
{
	struct span watched = {(int64_t)(loop_now(d->loop).us - w->begun.us)};

	if (w->phase == WATCH_FIRST_CONTACT && !w->alive)
		return pacing_is_patient(w->phase, watched) ? SLOT_CONTACT : SLOT_DEAD;
	if (w->failures == 0)
		return SLOT_USUAL;
	return w->failures < DEAD_FAILURES ? SLOT_RETRY : SLOT_DEAD;
}

/* ---- waiting */

static void arm(struct dialer *d)
{
	uint64_t now = loop_now(d->loop).us;
	struct mono due;

	if (schedule_peek(d->schedule, &due))
		loop_timer_arm(d->slots->tick,
			       (struct span){due.us > now ? (int64_t)(due.us - now) : 0});
}

static void pump_soon(struct dialer *d)
{
	loop_timer_arm(d->slots->pump, SPAN_MS(0));
}

void dialer_wait_for_slot(struct dialer *d, struct watch *w)
{
	enum slot slot = w->calls ? SLOT_CALL : dialer_slot_of(d, w);

	schedule_remove(d->schedule, w->id);
	if (w->waiting == slot)
		return;
	w->waiting = (uint8_t)slot;
	g_queue_push_tail(&d->slots->waiting[slot], GUINT_TO_POINTER(w->id));
	pump_soon(d);
}

void dialer_look_after(struct dialer *d, struct watch *w, struct span after)
{
	if (w->calls) {
		dialer_wait_for_slot(d, w);
		return;
	}
	if (w->halted)
		return;
	/* Out of its queue: when it is due, a look may run that began from there. */
	w->waiting = SLOT_NONE;
	w->due = mono_add(loop_now(d->loop), after);
	schedule_set(d->schedule, w->id, w->due);
	arm(d);
}

/* ---- slots */

static void leave_list(struct slots *s, struct running *r)
{
	if (r->slot == SLOT_USUAL)
		g_queue_unlink(&s->young, &r->link);
	else if (r->slot == SLOT_DEAD)
		g_queue_unlink(&s->old, &r->link);
	s->running[r->slot]--;
}

static void enter_list(struct slots *s, struct running *r, enum slot slot)
{
	r->slot = slot;
	s->running[slot]++;
	if (slot == SLOT_USUAL)
		g_queue_push_tail_link(&s->young, &r->link);
	else if (slot == SLOT_DEAD)
		g_queue_push_tail_link(&s->old, &r->link);
}

static void give_back(struct dialer *d, struct watch *w)
{
	struct running *r = w->running;

	w->running = NULL;
	leave_list(d->slots, r);
	g_free(r);
	pump_soon(d);
}

struct watch *dialer_finish(void *ctx, const struct http_outcome *outcome,
			    struct dialer **ret_dialer)
{
	struct running *r = ctx;
	struct watch *w = r->watch;

	struct slots *s = r->dialer->slots;

	figures_count(r->dialer, r->slot, outcome);
	if (!outcome->error && (r->slot == SLOT_USUAL || r->slot == SLOT_DEAD)) {
		int64_t took_us = (int64_t)(loop_now(r->dialer->loop).us - r->since.us);

		s->typical_us += (took_us - s->typical_us) / LATELY;
	}
	*ret_dialer = r->dialer;
	give_back(r->dialer, w);
	return w;
}

void dialer_cancel(struct dialer *d, struct watch *w)
{
	if (!w->running)
		return;
	http_transfer_cancel(w->running->transfer);
	give_back(d, w);
}

bool dialer_runs_call(const struct watch *w)
{
	return w->running && w->running->slot == SLOT_CALL;
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
				 .connect_timeout = kinds[q->slot].connect,
				 .first_byte_timeout = q->first_byte,
				 .total_timeout = q->total,
				 .transport = w->transport,
				 .psk_identity = identity,
				 .psk_key = w->psk,
				 .certificate_sha256 = w->pin};

	g_assert(!w->running);
	tls_psk_identity(&w->node, w->epoch, identity);
	*r = (struct running){.dialer = d, .watch = w, .since = loop_now(d->loop)};
	r->link.data = r;
	enter_list(d->slots, r, q->slot);
	w->running = r;
	r->transfer = q->introduces ? http_client_introduce(d->client, &call, done, r)
				    : http_client_start(d->client, &call, done, r);
	secret_wipe_text(path);
}

/* ---- looks that take long */

static void give_up(struct dialer *d, struct running *r)
{
	struct watch *w = r->watch;
	char to[ENDPOINT_TEXT];

	dial_address_print(&w->to, to);
	g_autofree char *reason = g_strdup_printf("%s did not answer in time", to);

	d->metrics.given_up++;
	dialer_cancel(d, w);
	look_fail(d, w, reason);
}

static struct span moment(const struct slots *s)
{
	return (struct span){CLAMP(s->typical_us * MOMENT_FACTOR, MOMENT_LEAST.us, MOMENT_MOST.us)};
}

/* What holds a usual slot for longer than a moment goes on, but as one of the dead. */
static void on_ripen(void *ctx)
{
	struct dialer *d = ctx;
	struct slots *s = d->slots;
	struct mono now = loop_now(d->loop);
	/* When this process itself was late, nothing is said about the agents. */
	bool behind = mono_reached(mono_add(s->ripen_due, RIPEN_EVERY), now);

	s->ripen_due = mono_add(now, RIPEN_EVERY);
	loop_timer_arm(s->ripen, RIPEN_EVERY);
	while (!behind && s->young.head) {
		struct running *r = s->young.head->data;

		if (!mono_reached(mono_add(r->since, moment(s)), now))
			break;
		if (s->running[SLOT_DEAD] >= s->most[SLOT_DEAD])
			give_up(d, s->old.head->data);
		leave_list(s, r);
		enter_list(s, r, SLOT_DEAD);
		pump_soon(d);
	}
}

/* ---- the schedule */

/* The next record that waits in this queue, NULL if there is none. */
static struct watch *take_waiting(struct dialer *d, enum slot slot)
{
	GQueue *queue = &d->slots->waiting[slot];

	while (!g_queue_is_empty(queue)) {
		uint32_t id = GPOINTER_TO_UINT(g_queue_pop_head(queue));
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

	histogram_add(&d->metrics.lateness, BOUNDS_SHORT, (struct span){late_us});
	if (late_us < LATE.us ||
	    !mono_reached(mono_add(d->slots->late_logged, LATE_LOG_EVERY), now))
		return;
	d->slots->late_logged = now;
	log_warn(NULL, "looks at agents are late", F_INT("late_ms", late_us / 1000),
		 F_INT("watched", table_count(d->table)));
}

static unsigned start_waiting(struct dialer *d, enum slot slot, unsigned most)
{
	struct slots *s = d->slots;
	unsigned started = 0;
	struct watch *w;

	while (started < most && s->running[slot] < s->most[slot] && (w = take_waiting(d, slot))) {
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
		dialer_wait_for_slot(d, table_at(d->table, id));
	arm(d);
}

static void on_pump(void *ctx)
{
	struct dialer *d = ctx;
	unsigned started = 0;

	if (channel_queued_bytes(d->channel) > BACKLOG_MOST) {
		d->metrics.held_back++;
		loop_timer_arm(d->slots->pump, BACKLOG_PAUSE);
		return;
	}
	for (enum slot slot = SLOT_NONE + 1; slot < SLOT_COUNT; slot++)
		if (kinds[slot].is_queue)
			started += start_waiting(d, slot, STARTS_OF_EACH);
	for (enum slot slot = SLOT_NONE + 1; slot < SLOT_COUNT; slot++)
		if (kinds[slot].is_queue && started < STARTS_PER_TURN)
			started += start_waiting(d, slot, STARTS_PER_TURN - started);
	if (started >= STARTS_PER_TURN)
		pump_soon(d);
}

/* ---- life */

/* Raises the limit on descriptors to what the slots need; if that is not allowed, there are fewer slots. */
static void fit_descriptors(struct slots *s)
{
	struct rlimit limit;
	rlim_t wanted = SPARE_FDS;

	for (unsigned i = 0; i < SLOT_COUNT; i++)
		wanted += s->most[i];
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = MIN(wanted, limit.rlim_max);
	if (limit.rlim_cur >= wanted && setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	getrlimit(RLIMIT_NOFILE, &limit);
	log_warn(NULL, "fewer connections than configured: the limit on descriptors is low",
		 F_INT("wanted", (int64_t)wanted), F_INT("limit", (int64_t)limit.rlim_cur));
	for (unsigned i = 0; i < SLOT_COUNT; i++)
		s->most[i] = (unsigned)(s->most[i] * limit.rlim_cur / (wanted + SPARE_FDS));
}

struct slots *slots_new(struct dialer *d)
{
	struct slots *s = g_new0(struct slots, 1);

	for (enum slot slot = SLOT_NONE + 1; slot < SLOT_COUNT; slot++) {
		s->most[slot] = (unsigned)config_int(d->config, kinds[slot].most);
		g_queue_init(&s->waiting[slot]);
	}
	fit_descriptors(s);
	s->tick = loop_timer_new(d->loop, on_tick, d);
	s->pump = loop_timer_new(d->loop, on_pump, d);
	s->ripen = loop_timer_new(d->loop, on_ripen, d);
	s->ripen_due = mono_add(loop_now(d->loop), RIPEN_EVERY);
	loop_timer_arm(s->ripen, RIPEN_EVERY);
	return s;
}

void slots_fill(const struct slots *s, struct dialer_metrics *m)
{
	uint64_t *const running[SLOT_COUNT] = {
		[SLOT_CALL] = &m->in_call,       [SLOT_USUAL] = &m->in_usual,
		[SLOT_CONTACT] = &m->in_contact, [SLOT_RETRY] = &m->in_retry,
		[SLOT_DEAD] = &m->in_dead,       [SLOT_LONG] = &m->in_long,
	};
	uint64_t *const waiting[SLOT_COUNT] = {
		[SLOT_CALL] = &m->waits_call,       [SLOT_USUAL] = &m->waits_usual,
		[SLOT_CONTACT] = &m->waits_contact, [SLOT_RETRY] = &m->waits_retry,
		[SLOT_DEAD] = &m->waits_dead,
	};

	for (unsigned i = SLOT_NONE + 1; i < SLOT_COUNT; i++) {
		*running[i] = s->running[i];
		if (waiting[i])
			*waiting[i] = s->waiting[i].length;
	}
}

void slots_free(struct slots *s)
{
	for (unsigned i = 0; i < SLOT_COUNT; i++)
		g_queue_clear(&s->waiting[i]);
	loop_timer_free(s->tick);
	loop_timer_free(s->pump);
	loop_timer_free(s->ripen);
	g_free(s);
}
