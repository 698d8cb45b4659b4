/* One look at an agent.
 *
 *   not alive yet         status -> list, where the channel alone does not prove the agent -> agent_alive
 *   follows a command     command (with a long poll in turn, if the agent is ours)
 *   else                  status, where the channel proves the agent; elsewhere the list, and in each fourth look the
 *                         status before it
 *
 * Where the token is given by contact, an agent that does not know it is offered it, until it is taken; the
 * next look is then the proof.
 *
 * An agent counts as seen only after an answer that needed the token: /v1/status is open to everybody
 * who answers at the address, except inside a channel that was opened with the token itself.
 */
#include <string.h>
#include <sys/random.h>

#include "agent_reply.h"
#include "dialer_part.h"
#include "errors.h"
#include "limit.h"
#include "log.h"

/* Between two of these the progress of the command is read.  So many agents of ours can be asked to wait for the
 * shortest time; of more each waits longer, so that a thousand steps cost no more than these. */
#define LONG_POLL      SPAN_SECONDS(3)
#define LONG_POLL_MOST SPAN_SECONDS(60)
#define LONG_POLLS_FEW 256
/* Silence after which a living agent counts as gone, and the failures that must have been seen in it. */
#define GONE_AFTER         SPAN_SECONDS(10)
#define GONE_FAILURES      3
#define PROGRESS_SPACING   SPAN_SECONDS(1)
#define LONG_POLL_FINISHES SPAN_SECONDS(2)
/* What a look asks for is at hand: who takes longer is stuck. */
#define ANSWERS SPAN_SECONDS(15)
/* The list proves an agent at rest, and its first command is another one after a restart.  So many looks of four
 * do without the status, which shows the restart of an agent that had no commands. */
#define LOOKS_BY_LIST 3
/* The beginning of a list up to the end of its first id: [{"id":"UUID */
#define LIST_HEAD    (8 + UUID_TEXT - 1)
#define DEAD_ANSWERS SPAN_SECONDS(5)

static struct mono now(const struct dialer *d)
{
	return loop_now(dialer_loop(d));
}

static struct span since(const struct dialer *d, struct mono t)
{
	return (struct span){(int64_t)(now(d).us - t.us)};
}

static bool follows_command(const struct watch *w)
{
	return w->alive && w->phase == WATCH_WORKING && uuid_is_set(&w->command);
}

/* Not GLib's generator: it seeds itself from a file, which the sandbox of this process refuses, and then
 * from system calls that end it. */
/* Taken in advance: each call of the system costs more than what it gives.  Up to 256 bytes it gives whole. */
static uint64_t new_chance(void)
{
	static uint64_t chances[32];
	static unsigned left;

	if (left == 0) {
		if (getrandom(chances, sizeof(chances), 0) != sizeof(chances))
			g_error("the system has no random numbers");
		left = G_N_ELEMENTS(chances);
	}
	return chances[--left] >> 1;
}

static void look_again(struct dialer *d, struct watch *w)
{
	struct pacing p = {.phase = w->phase,
			   .interval = SPAN_SECONDS(w->interval_s),
			   .watched = since(d, w->begun),
			   .failures = w->failures,
			   .looks = w->looks,
			   .node = &w->node,
			   .now = now(d),
			   .chance = new_chance()};

	dialer_look_after(d, w, pacing_next(&p));
}

/* ---- what the conductor is told */

static void tell_milestone(struct dialer *d, struct watch *w, enum milestone reached,
			   const char *reason)
{
	struct message m = {.type = MESSAGE_agent_milestone};
	uint32_t hash = g_str_hash(reason);

	if (reached <= w->furthest && hash == w->reason_hash)
		return;
	w->furthest = MAX(w->furthest, (uint8_t)reached);
	w->reason_hash = hash;
	g_autofree char *text = g_strdup(reason);

	m.agent_milestone.node = w->node;
	m.agent_milestone.epoch = w->epoch;
	m.agent_milestone.milestone = w->furthest;
	m.agent_milestone.reason = text;
	dialer_send(d, &m);
}

static void tell_alive(struct dialer *d, struct watch *w)
{
	struct message m = {.type = MESSAGE_agent_alive};
	g_autofree char *version = g_strdup(w->version);

	m.agent_alive.node = w->node;
	m.agent_alive.epoch = w->epoch;
	m.agent_alive.version = version;
	m.agent_alive.started_ms = w->started_ms;
	m.agent_alive.own_agent = w->own_agent;
	m.agent_alive.restarted = w->restarted;
	dialer_send(d, &m);
	w->alive = true;
	w->gone = w->restarted = false;
	w->reason_hash = 0;
}

static void tell_gone(struct dialer *d, struct watch *w, const char *reason)
{
	struct message m = {.type = MESSAGE_agent_gone};
	g_autofree char *text = g_strdup(reason);

	m.agent_gone.node = w->node;
	m.agent_gone.epoch = w->epoch;
	m.agent_gone.seconds = (uint32_t)(since(d, w->seen).us / 1000000);
	m.agent_gone.reason = text;
	dialer_send(d, &m);
	w->gone = true;
}

static void tell_command(struct dialer *d, struct watch *w, struct agent_result *r)
{
	struct message m = {.type = MESSAGE_agent_command};
	g_autofree char *id = g_strdup(r->id.s);
	g_autofree char *name = g_strdup(r->name);

	m.agent_command.node = w->node;
	m.agent_command.epoch = w->epoch;
	m.agent_command.command = id;
	m.agent_command.name = name;
	m.agent_command.status = r->status;
	m.agent_command.reason = r->reason;
	m.agent_command.outcome = r->outcome;
	m.agent_command.done = r->done;
	m.agent_command.total = r->total;
	dialer_send(d, &m);
	w->command_status = (uint8_t)r->status;
	w->done = r->done;
	w->told_progress = now(d);
}

static void offer(struct dialer *d, struct watch *w);

/* ---- the end of a look */

static void on_success(struct dialer *d, struct watch *w)
{
	bool tell = !w->alive || w->gone || w->restarted;

	if (w->alive)
		histogram_add(&d->metrics.staleness, BOUNDS_LONG, since(d, w->seen));
	w->seen = now(d);
	w->failures = 0;
	w->suspect = false;
	if (tell)
		tell_alive(d, w);
	/* A command that waits to be followed is not kept waiting any longer. */
	if (tell && follows_command(w))
		dialer_look_after(d, w, SPAN_MS(0));
	else
		look_again(d, w);
}

static void on_failure(struct dialer *d, struct watch *w, enum milestone reached,
		       const char *reason)
{
	w->failures = (uint16_t)MIN(w->failures + 1, 1000);
	if (!w->alive)
		tell_milestone(d, w, reached, reason);
	else if (!w->gone && w->failures >= GONE_FAILURES && since(d, w->seen).us > GONE_AFTER.us)
		tell_gone(d, w, reason);
	look_again(d, w);
}

void look_fail(struct dialer *d, struct watch *w, const char *reason)
{
	on_failure(d, w, MILESTONE_NONE, reason);
}

void look_refuse(struct dialer *d, struct watch *w, const char *reason)
{
	w->halted = true;
	w->reason_hash = 0;
	tell_milestone(d, w, MILESTONE_NONE, reason);
}

/* The agent refuses a token that it accepted before: it was replaced, or something else answers.  Nothing
 * is sent there any more in this epoch. */
static void on_token_lost(struct dialer *d, struct watch *w, const char *reason)
{
	g_autofree char *sentence = g_strdup_printf(
		"security event: the token was accepted before and is refused now: %s", reason);

	log_warn(w->node.s, "an agent refuses the token that it accepted before",
		 F_INT("epoch", w->epoch), F_STR("reason", reason));
	w->halted = w->token_lost = true;
	d->metrics.tokens_lost++;
	tell_gone(d, w, sentence);
}

/* An answer that no agent gives. */
static void on_malformed(struct dialer *d, struct watch *w, const struct http_outcome *outcome,
			 const char *reason)
{
	d->metrics.malformed++;
	on_failure(d, w, outcome->reached, reason);
}

/* Whether the look failed because the agent may have no token yet. */
static bool may_offer(const struct watch *w, const struct http_outcome *outcome)
{
	if (!w->offer || w->offered || w->alive || w->phase != WATCH_FIRST_CONTACT)
		return false;
	if (w->transport == TRANSPORT_PSK)
		return outcome->error && outcome->reached == MILESTONE_PORT;
	return !outcome->error && outcome->status == 401;
}

/* True if the answer is a whole 200; else the failure is dealt with. */
static bool is_good(struct dialer *d, struct watch *w, const struct http_outcome *outcome,
		    const char *what)
{
	bool busy = false;

	if (may_offer(w, outcome)) {
		offer(d, w);
		return false;
	}
	if (outcome->error) {
		on_failure(d, w, outcome->reached, outcome->error->message);
		return false;
	}
	if (outcome->status == 200)
		return true;
	g_autofree char *fault =
		agent_reply_fault(outcome->status, outcome->body, outcome->length, &busy);
	g_autofree char *reason = g_strdup_printf("%s: %s", what, fault);

	if (outcome->status == 401 && w->alive)
		on_token_lost(d, w, reason);
	else
		on_failure(d, w, outcome->reached, reason);
	return false;
}

/* ---- asking */

static void on_list(void *ctx, const struct http_outcome *outcome);
static void on_status(void *ctx, const struct http_outcome *outcome);
static void on_command(void *ctx, const struct http_outcome *outcome);

static struct span long_poll(const struct dialer *d)
{
	int64_t us = LONG_POLL.us * dialer_long_polls(d) / LONG_POLLS_FEW;

	return (struct span){CLAMP(us, LONG_POLL.us, LONG_POLL_MOST.us)};
}

static void ask(struct dialer *d, struct watch *w, enum look look, const char *resource,
		http_done_fn done)
{
	bool waits = look == LOOK_LONG_POLL;
	enum slot slot = waits ? SLOT_LONG : dialer_slot_of(d, w);
	struct span limit = waits ? long_poll(d) : dialer_command_timeout(d);

	if (!waits)
		limit.us = MIN(limit.us, slot == SLOT_DEAD ? DEAD_ANSWERS.us : ANSWERS.us);
	struct question q = {.slot = slot,
			     .method = "GET",
			     .resource = resource,
			     .query = look == LOOK_STATUS ? NULL
				      : waits             ? "wait=true&"
							  : "",
			     .reply_limit = LIMIT_AGENT_REPLY,
			     .first_byte = limit,
			     .total = limit};

	/* An answer that began within the wait may end behind it. */
	if (waits)
		q.total.us += LONG_POLL_FINISHES.us;
	w->look = (uint8_t)look;
	dialer_ask(d, w, &q, done);
}

static void ask_command(struct dialer *d, struct watch *w)
{
	g_autofree char *resource = g_strdup_printf("/commands/%s", w->command.s);
	bool waits = w->own_agent && w->command_status == COMMAND_RUNNING &&
		     w->look != LOOK_LONG_POLL && dialer_may_long_poll(d);

	ask(d, w, waits ? LOOK_LONG_POLL : LOOK_COMMAND, resource, on_command);
}

static void on_refused_offer(struct dialer *d, struct watch *w, const char *reason)
{
	g_autofree char *sentence = g_strdup_printf("refuses the token: %s", reason);

	on_failure(d, w, MILESTONE_PORT, sentence);
}

/* That it was taken is proved by nothing but the looks that follow. */
static void on_offer_answer(struct dialer *d, struct watch *w, const struct http_outcome *outcome)
{
	g_auto(agent_result) r = {.reason = NULL};
	g_autoptr(GError) error = NULL;

	if (!agent_reply_result(outcome->body, outcome->length, LIMIT_AGENT_REPLY, &r, &error)) {
		d->metrics.malformed++;
		on_refused_offer(d, w, error->message);
	} else if (r.status != COMMAND_SUCCEEDED) {
		on_refused_offer(d, w, *r.reason ? r.reason : command_status_text(r.status));
	} else {
		w->offered = true;
		log_notice(w->node.s, "an agent has taken its token", F_INT("epoch", w->epoch));
		dialer_look_after(d, w, SPAN_MS(0));
	}
}

static void on_offer(void *ctx, const struct http_outcome *outcome)
{
	struct dialer *d;
	struct watch *w = dialer_finish(ctx, outcome, &d);
	bool busy = false;

	if (outcome->error) {
		on_failure(d, w, MIN(outcome->reached, MILESTONE_PORT), outcome->error->message);
	} else if (outcome->status != 200) {
		g_autofree char *fault =
			agent_reply_fault(outcome->status, outcome->body, outcome->length, &busy);

		g_autofree char *reason = g_strconcat(
			fault,
			outcome->status == 401 ? " (it has one from somebody else, or waits "
						 "for none)"
					       : "",
			NULL);

		on_refused_offer(d, w, reason);
	} else {
		on_offer_answer(d, w, outcome);
	}
}

static void offer(struct dialer *d, struct watch *w)
{
	enum slot slot = dialer_slot_of(d, w);
	char *body =
		g_strdup_printf("{\"name\": \"poll.set_node_info\", \"params\": {\"node_info\": "
				"{\"node\": {\"uuid\": \"%s\"}, \"config\": "
				"{\"agent_token\": \"%s\"}}}}",
				w->node.s, w->token);
	struct question q = {.slot = slot,
			     .introduces = true,
			     .body = body,
			     .reply_limit = LIMIT_AGENT_REPLY,
			     .first_byte = slot == SLOT_DEAD ? DEAD_ANSWERS : ANSWERS};

	q.total = q.first_byte;
	q.method = "POST";
	q.resource = "/commands/";
	w->look = LOOK_OFFER;
	dialer_ask(d, w, &q, on_offer);
	secret_wipe_text(body);
}

/* An agent at rest that has given no cause for doubt. */
static bool list_is_enough(const struct watch *w)
{
	return w->transport != TRANSPORT_PSK && w->alive && !w->gone && !w->suspect &&
	       w->failures == 0 && w->started_ms && w->without_status < LOOKS_BY_LIST;
}

static void ask_status(struct dialer *d, struct watch *w)
{
	ask(d, w, LOOK_STATUS, "/status", on_status);
}

static void ask_list(struct dialer *d, struct watch *w)
{
	ask(d, w, LOOK_LIST, "/commands/", on_list);
}

void look_start(struct dialer *d, struct watch *w)
{
	if (follows_command(w) && !w->suspect) {
		ask_command(d, w);
	} else if (list_is_enough(w)) {
		w->without_status++;
		ask_list(d, w);
	} else {
		ask_status(d, w);
	}
}

static void on_status(void *ctx, const struct http_outcome *outcome)
{
	struct dialer *d;
	struct watch *w = dialer_finish(ctx, outcome, &d);
	struct agent_status status;
	g_autoptr(GError) error = NULL;

	if (!is_good(d, w, outcome, "GET /v1/status"))
		return;
	if (!agent_reply_status(outcome->body, outcome->length, &status, &error)) {
		on_malformed(d, w, outcome, error->message);
		return;
	}
	w->restarted = w->restarted || (w->started_ms && w->started_ms != status.started_ms);
	w->started_ms = status.started_ms;
	w->own_agent = status.own_agent;
	g_strlcpy(w->version, status.version, sizeof(w->version));
	w->without_status = 0;
	if (w->transport == TRANSPORT_PSK)
		on_success(d, w);
	else
		ask_list(d, w);
}

/* Whether the list begins with another command than the one before; the agent may have started again. */
static bool list_began_anew(struct watch *w, const char *list)
{
	g_autofree char *head = g_strndup(list, LIST_HEAD);
	uint32_t first = strcmp(head, "[]") == 0 ? 0 : g_str_hash(head);
	bool anew = w->first_listed && first != w->first_listed;

	w->first_listed = first;
	return anew;
}

static void on_list(void *ctx, const struct http_outcome *outcome)
{
	struct dialer *d;
	struct watch *w = dialer_finish(ctx, outcome, &d);
	g_autoptr(GError) error = NULL;

	if (!is_good(d, w, outcome, "GET /v1/commands/"))
		return;
	g_autofree char *list =
		agent_reply_list(outcome->body, outcome->length, LIMIT_AGENT_REPLY, &error);

	if (!list)
		on_malformed(d, w, outcome, error->message);
	else if (list_began_anew(w, list) && w->without_status)
		ask_status(d, w);
	else
		on_success(d, w);
}

static void on_command_unknown(struct dialer *d, struct watch *w)
{
	struct agent_result r = {.id = w->command, .status = COMMAND_UNKNOWN};

	r.reason = g_strdup("the agent does not know this command");
	if (w->command_status != COMMAND_UNKNOWN || w->looks == 0)
		tell_command(d, w, &r);
	agent_result_clear(&r);
	w->seen = now(d);
	w->failures = 0;
	w->looks = (uint16_t)MIN(w->looks + 1, 1000);
	/* A restart is the usual cause. */
	w->suspect = true;
	look_again(d, w);
}

static void on_result(struct dialer *d, struct watch *w, struct agent_result *r)
{
	bool changed = r->status != w->command_status;
	bool progress = r->done != w->done && since(d, w->told_progress).us >= PROGRESS_SPACING.us;

	if (changed || progress)
		tell_command(d, w, r);
	if (r->status != COMMAND_RUNNING)
		w->command.s[0] = '\0';
	w->looks = (uint16_t)MIN(w->looks + 1, 1000);
	on_success(d, w);
	/* Our own agent is asked to wait with its answer until there is something to say. */
	if (r->status == COMMAND_RUNNING && w->own_agent && dialer_may_long_poll(d))
		dialer_look_after(d, w, w->look == LOOK_LONG_POLL ? SPAN_SECONDS(1) : SPAN_MS(0));
}

static void on_command(void *ctx, const struct http_outcome *outcome)
{
	struct dialer *d;
	struct watch *w = dialer_finish(ctx, outcome, &d);
	g_auto(agent_result) r = {.reason = NULL};
	g_autoptr(GError) error = NULL;

	/* Nothing happened while the agent was asked to wait: now its progress is read. */
	if (w->look == LOOK_LONG_POLL && outcome->sent &&
	    g_error_matches(outcome->error, INOX_ERROR, INOX_ERROR_TIMEOUT)) {
		dialer_look_after(d, w, SPAN_MS(0));
		return;
	}
	if (!outcome->error && outcome->status == 404) {
		on_command_unknown(d, w);
		return;
	}
	if (!is_good(d, w, outcome, "GET /v1/commands/ID"))
		return;
	if (!agent_reply_result(outcome->body, outcome->length, LIMIT_AGENT_REPLY, &r, &error)) {
		on_malformed(d, w, outcome, error->message);
		return;
	}
	if (strcmp(r.id.s, w->command.s) != 0) {
		on_malformed(d, w, outcome,
			     "the agent answers with another command than the one asked for");
		return;
	}
	on_result(d, w, &r);
}
