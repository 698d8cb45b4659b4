/* node_fold(): the pure function that moves a node.
 *
 * The flow is parsed into a struct, the event's handler changes it and the node, and the result is
 * printed back.  Where a flow goes next follows from phases.def; the handlers only say "advance",
 * "trouble" or "fail".  Every change after which an answer under way would be wrong raises f.turn, and
 * answers carry the turn they belong to: stale, repeated and foreign ones fall through without effect.
 */
#include "fold.h"

#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "jsons.h"

/* When a BMC took the request but the power did not change, it is asked again after this long. */
#define ASK_AGAIN    SPAN_SECONDS(20)
#define BACK_OFF_MAX 30
/* An agent that is kept is heard at least this often. */
#define IDLE_LOOK_MOST_S 100
/* A new boot is the better answer to an agent that does not do what it is asked to. */
#define FAST_ATTEMPTS 4

void fold_set_text(struct fold *x, enum node_attr attr, char **field, const char *value)
{
	if (g_strcmp0(*field, value) == 0)
		return;
	g_free(*field);
	*field = g_strdup(value);
	attr_set_add(x->changed, attr);
}

void fold_set_json(struct fold *x, enum node_attr attr, json_t **field, json_t *value)
{
	if (json_equal(*field, value)) {
		json_decref(value);
		return;
	}
	json_decref(*field);
	*field = value;
	attr_set_add(x->changed, attr);
}

void fold_set_info(struct fold *x, const char *key, json_t *value)
{
	json_t *info = x->n->driver_internal_info;
	const json_t *old = json_object_get(info, key);

	if (!value ? !old : old && json_equal(old, value)) {
		json_decref(value);
		return;
	}
	if (value)
		json_object_set_new(info, key, value);
	else
		json_object_del(info, key);
	attr_set_add(x->changed, NODE_ATTR_driver_internal_info);
}

static void set_target(struct fold *x, enum provision_state target)
{
	if (x->n->target_provision_state == (int)target)
		return;
	x->n->target_provision_state = (int)target;
	attr_set_add(x->changed, NODE_ATTR_target_provision_state);
}

/* Cleaning that an operator asked for by steps leads back to where it started. */
static enum provision_state target_of(const struct node *n, enum provision_state s)
{
	enum provision_state to = provision_state_target(s);
	bool manual = json_object_get(n->driver_internal_info, clean_words.wanted);

	return to == STATE_AVAILABLE && manual ? STATE_MANAGEABLE : to;
}

void fold_set_state(struct fold *x, enum provision_state s)
{
	struct node *n = x->n;
	bool working = provision_state_flags(s) & S_WORKING;

	if (n->provision_state != (int)s) {
		n->provision_state = (int)s;
		n->provision_updated_at = x->ev->now;
		attr_set_add(x->changed, NODE_ATTR_provision_state);
		attr_set_add(x->changed, NODE_ATTR_provision_updated_at);
	}
	set_target(x, target_of(x->n, s));
	FOLD_TEXT(x, reservation, working ? x->ev->host : NULL);
}

void fold_end_token(struct fold *x)
{
	if (x->n->agent_verifier)
		FOLD_TEXT(x, agent_verifier_before, x->n->agent_verifier);
	FOLD_TEXT(x, agent_verifier, NULL);
	FOLD_TEXT(x, agent_token, NULL);
}

void fold_note(struct fold *x, const char *reason)
{
	g_free(x->f.reason);
	x->f.reason = g_strdup(reason && *reason ? reason : NULL);
	x->dirty = true;
}

static bool has_more_steps(const struct node *n, const struct flow *f)
{
	return fold_peek_step(n, f) != NULL;
}

static bool is_passed_over(const struct node *n, const struct flow *f, enum phase p)
{
	const struct phase_info *info = &phase_info[p];

	/* The address outlives the other boot data of a rescued machine. */
	if ((info->flags & P_BOOT_DATA) && !f->path && !n->agent_address)
		return true;
	if ((info->flags & P_OWN) && !f->own_agent)
		return true;
	if (info->flags & (f->stays ? P_LEAVE : P_STAY))
		return true;
	if (info->flags & (deployment_uses_media(n) ? P_NETWORK : P_MEDIA))
		return true;
	return (info->action == ACTION_STEP_SEND || info->action == ACTION_STEP_WAIT) &&
	       !has_more_steps(n, f);
}

static enum phase first_not_passed_over(const struct node *n, const struct flow *f, enum phase p)
{
	while (p != PHASE_NONE && is_passed_over(n, f, p))
		p = flow_phase_after(p);
	return p;
}

bool flow_begins_boot(const struct node *n)
{
	g_auto(flow) f = {.phase = PHASE_NONE};

	if (!flow_parse(n->flow, &f, NULL))
		return false;
	/* Taking back an older boot's data ends with the path forgotten. */
	if (flow_action(&f) == ACTION_WITHDRAW)
		g_clear_pointer(&f.path, g_free);
	return phase_info[first_not_passed_over(n, &f, flow_phase_after(f.phase))].action ==
	       ACTION_PUBLISH;
}

enum phase fold_phase_with(const struct fold *x, enum action action)
{
	for (unsigned p = operation_info[flow_operation(&x->f)].first; p != PHASE_NONE;
	     p = flow_phase_after(p))
		if (phase_info[p].action == action)
			return p;
	return PHASE_NONE;
}

static unsigned patience(const struct fold *x)
{
	const struct flow_limits *limits = &x->ev->limits;
	unsigned own = 0;

	if (flow_operation(&x->f) == OPERATION_CLEAN)
		own = limits->clean_callback_s;
	else if (flow_operation(&x->f) == OPERATION_RESCUE)
		own = limits->rescue_callback_s;
	return own ? own : limits->callback_s;
}

struct wall fold_deadline(const struct fold *x)
{
	const struct flow_limits *limits = &x->ev->limits;
	unsigned seconds = 0;

	switch (phase_info[x->f.phase].limit) {
	case LIMIT_POWER: seconds = limits->power_s; break;
	case LIMIT_CALLBACK: seconds = patience(x); break;
	case LIMIT_IDLE: seconds = CLAMP(x->ev->fast_track_s / 3, 1, IDLE_LOOK_MOST_S); break;
	case LIMIT_DAY: seconds = 24 * 3600; break;
	}
	if (limits->power_s == 0)
		return (struct wall){0};
	if (seconds == FLOW_FOREVER)
		return FLOW_NEVER;
	if (flow_action(&x->f) == ACTION_SOFT_OFF && x->f.patience)
		seconds = (unsigned)x->f.patience;
	return wall_add(x->ev->now, SPAN_SECONDS(seconds));
}

/* What node.deploy_step or node.clean_step shows. */
static json_t *shown_step(const struct fold *x)
{
	const struct phase_info *info = &phase_info[x->f.phase];
	const json_t *step = fold_peek_step(x->n, &x->f);

	if (info->step)
		return json_pack("{s:s, s:s, s:i, s:n}", "interface", "deploy", "step", info->step,
				 "priority", info->priority, "argsinfo");
	if (info->action == ACTION_STEP_SEND || info->action == ACTION_STEP_WAIT)
		return attr_masked(step);
	return json_object();
}

/* A new boot epoch: whatever belonged to the one before is dead from here. */
static bool begin_boot(struct fold *x)
{
	struct node *n = x->n;
	const struct event *ev = x->ev;
	struct flow *f = &x->f;

	if (!ev->assigned_address || !ev->fresh_path || !(ev->fresh_token || ev->by_lookup)) {
		fold_fail_phase(x, ev->reason ? ev->reason : "there is no address for it");
		return false;
	}
	n->boot_epoch++;
	attr_set_add(x->changed, NODE_ATTR_boot_epoch);
	fold_end_token(x);
	FOLD_TEXT(x, agent_token, ev->by_lookup ? NULL : ev->fresh_token);
	FOLD_TEXT(x, agent_verifier, ev->by_lookup ? NULL : ev->fresh_verifier);
	FOLD_TEXT(x, agent_address, ev->assigned_address);
	fold_set_info(x, "agent_url", NULL);
	g_free(f->path);
	f->path = g_strdup(ev->fresh_path);
	f->agent_started = 0;
	f->restarts = 0;
	f->active = ev->active;
	f->by_lookup = ev->by_lookup;
	f->by_contact = ev->by_contact;
	f->called = false;
	f->kept = false;
	g_clear_pointer(&f->pin, g_free);
	g_free(f->basis);
	f->basis = fold_boot_basis(n);
	return true;
}

/* The machine keeps its address when it goes on running. */
static void end_boot(struct fold *x, bool keep_address)
{
	fold_end_token(x);
	if (!keep_address)
		FOLD_TEXT(x, agent_address, NULL);
	fold_set_info(x, "agent_url", NULL);
	g_clear_pointer(&x->f.path, g_free);
	/* No look-up and no heartbeat belongs to it any more. */
	x->f.active = x->f.by_lookup = x->f.by_contact = x->f.called = false;
	x->f.kept &= keep_address;
	g_clear_pointer(&x->f.pin, g_free);
}

static bool is_before_steps(enum action action)
{
	return action == ACTION_IDENTIFY || action == ACTION_CLAIM || action == ACTION_LOAD_STEPS;
}

void fold_enter(struct fold *x, enum phase p)
{
	struct flow *f = &x->f;

	if (p != PHASE_NONE && phase_info[p].action == ACTION_STEP_SEND)
		f->stays = fold_may_stay(x);
	p = first_not_passed_over(x->n, f, p);
	if (p == PHASE_NONE) {
		fold_finish(x);
		return;
	}
	f->phase = p;
	f->turn++;
	f->since = x->ev->now;
	f->until = fold_deadline(x);
	f->retry_at = f->asked_at = (struct wall){0};
	f->attempt = 0;
	/* A step that was sent before may run: a restart of the agent is often seen late. */
	f->sending = phase_info[p].action == ACTION_STEP_SEND && f->runs > 0;
	f->fast &= is_before_steps(phase_info[p].action);
	g_clear_pointer(&f->command, g_free);
	fold_note(x, NULL);
	if (phase_info[p].action == ACTION_PUBLISH && !begin_boot(x))
		return;
	/* The agent was asked just before: the BMC is asked only when that had no effect. */
	if (phase_info[p].action == ACTION_CONFIRM_OFF)
		f->asked_at = x->ev->now;
	if (phase_info[p].action == ACTION_CONTACT)
		f->milestone = MILESTONE_POWER;
	if (phase_info[p].action == ACTION_FINALIZE)
		f->runs = 0;
	if (phase_info[p].state != STATE_NONE)
		fold_set_state(x, phase_info[p].state);
	if (flow_operation(f) == OPERATION_CLEAN)
		FOLD_JSON(x, clean_step, shown_step(x));
	else
		FOLD_JSON(x, deploy_step, shown_step(x));
}

void fold_advance(struct fold *x)
{
	fold_enter(x, flow_phase_after(x->f.phase));
}

void fold_start(struct fold *x, enum operation op)
{
	/* Boot data of an older flow stay known until they are taken back.  The turn starts at the clock,
	 * so that answers for an older flow never fit a newer one. */
	g_autofree char *path = g_steal_pointer(&x->f.path);
	int64_t turn = MAX(x->f.turn, x->ev->now.us);
	bool kept = x->f.kept;

	if (op != OPERATION_RESCUE)
		fold_forget_password(x);

	flow_clear(&x->f);
	x->f.path = g_steal_pointer(&path);
	x->f.kept = kept;
	x->f.turn = turn;
	x->f.started = x->ev->now;
	fold_enter(x, operation_info[op].first);
}

/* What a clean-up could not do stays to be read behind the error that made it necessary. */
static void note_skipped(struct fold *x, const char *reason)
{
	const struct phase_info *info = &phase_info[x->f.phase];

	if (operation_info[info->operation].end != END_KEEP || !x->n->last_error)
		return;
	g_autofree char *sentence = g_strdup_printf("%s (Afterwards, failed to %s: %s)",
						    x->n->last_error, info->what, reason);

	FOLD_TEXT(x, last_error, sentence);
}

void fold_fail_phase(struct fold *x, const char *reason)
{
	const struct phase_info *info = &phase_info[x->f.phase];
	g_autofree char *sentence = NULL;

	if (fold_give_up_kept(x))
		return;
	if (info->flags & P_SKIP) {
		note_skipped(x, reason);
		fold_advance(x);
		return;
	}
	if (info->operation == OPERATION_VERIFY)
		sentence = g_strdup_printf("Failed to get power state for node %s. Error: %s",
					   x->n->uuid.s, reason);
	else
		sentence = g_strdup_printf("Failed to %s: %s", info->what, reason);
	fold_fail(x, sentence);
}

void fold_trouble(struct fold *x, bool retry, const char *reason)
{
	struct flow *f = &x->f;
	const struct phase_info *info = &phase_info[f->phase];

	if (!reason || !*reason)
		reason = "no reason was given";
	if (!retry || f->attempt + 1 >= (f->fast ? FAST_ATTEMPTS : info->attempts)) {
		fold_fail_phase(x, reason);
		return;
	}
	int64_t pause = MIN(1 << MIN(f->attempt, 10), BACK_OFF_MAX);

	f->attempt++;
	f->turn++;
	f->retry_at = wall_add(x->ev->now, SPAN_SECONDS(pause));
	if (info->limit == LIMIT_POWER)
		f->until = wall_add(fold_deadline(x), SPAN_SECONDS(pause));
	fold_note(x, reason);
}

static void record_power(struct fold *x)
{
	const struct event *ev = x->ev;

	if (ev->power == POWER_ON || ev->power == POWER_OFF)
		FOLD_TEXT(x, power_state, power_state_text(ev->power));
	if (ev->boot_mode != BOOT_MODE_UNKNOWN)
		FOLD_TEXT(x, boot_mode, boot_mode_text(ev->boot_mode));
}

static void power_answer(struct fold *x, enum power_state wanted)
{
	struct flow *f = &x->f;

	if (x->ev->power == wanted) {
		fold_advance(x);
		return;
	}
	if (f->asked_at.us == 0) {
		f->asked_at = x->ev->now;
		x->dirty = true;
	} else if (flow_action(f) != ACTION_SOFT_OFF &&
		   wall_reached(wall_add(f->asked_at, ASK_AGAIN), x->ev->now)) {
		f->asked_at.us = 0;
		f->turn++;
		x->dirty = true;
	}
}

static void fold_bmc(struct fold *x)
{
	enum action action = flow_action(&x->f);

	if (!x->ev->ok) {
		fold_trouble(x, x->ev->retry, x->ev->reason);
		return;
	}
	record_power(x);
	if (action == ACTION_POWER_ON)
		power_answer(x, POWER_ON);
	else if (action == ACTION_POWER_OFF || action == ACTION_SOFT_OFF ||
		 action == ACTION_CONFIRM_OFF)
		power_answer(x, POWER_OFF);
	else if (action == ACTION_GET_POWER && x->ev->power != POWER_ON &&
		 x->ev->power != POWER_OFF)
		fold_trouble(x, true, "the BMC reports no power state");
	else
		fold_advance(x);
}

/* Boot data that are not taken back would be forgotten: a refusal is not the last word where there is a day. */
static void fold_boot(struct fold *x)
{
	if (!x->ev->ok) {
		bool patient = phase_info[x->f.phase].limit == LIMIT_DAY;

		fold_trouble(x, x->ev->retry || patient, x->ev->reason);
		return;
	}
	if (flow_action(&x->f) == ACTION_KEEP_AGENT) {
		x->f.kept = true;
		g_clear_pointer(&x->f.path, g_free);
	}
	if (flow_action(&x->f) == ACTION_WITHDRAW || flow_action(&x->f) == ACTION_WITHDRAW_BOOT)
		end_boot(x, flow_action(&x->f) == ACTION_WITHDRAW_BOOT);
	fold_advance(x);
}

static void contact_deadline(struct fold *x)
{
	const char *what = x->f.active && !x->f.called ? "heartbeat" : "answer";
	g_autofree char *reason = g_strdup_printf(
		"no %s from %s within %lld s (furthest: %s%s%s)", what, x->n->agent_address,
		(long long)((x->ev->now.us - x->f.since.us) / 1000000),
		milestone_text((unsigned)x->f.milestone), x->f.reason ? "; " : "",
		x->f.reason ? x->f.reason : "");

	fold_fail_phase(x, reason);
}

static void fold_passed_deadline(struct fold *x)
{
	struct flow *f = &x->f;
	const struct phase_info *info = &phase_info[f->phase];

	if (f->until.us == 0 || !wall_reached(f->until, x->ev->now))
		return;
	if (info->action == ACTION_CONTACT) {
		contact_deadline(x);
		return;
	}
	if (info->action == ACTION_IDLE) {
		fold_idle_deadline(x);
		return;
	}
	/* The dialer reports changes only: silence of an agent that it did not lose is a long step.  The
	 * new turn makes the conductor renew the watch, so a dialer that forgot the node reports again. */
	if (info->action == ACTION_STEP_WAIT && !f->gone) {
		f->until = fold_deadline(x);
		f->turn++;
		x->dirty = true;
		return;
	}
	g_autofree char *reason = g_strdup_printf(
		"not done after %lld s%s%s", (long long)((x->ev->now.us - f->since.us) / 1000000),
		f->reason ? ": " : "", f->reason ? f->reason : "");

	fold_trouble(x, info->limit == LIMIT_POWER && info->action != ACTION_SOFT_OFF, reason);
}

static void fold_unable(struct fold *x)
{
	fold_fail_phase(x, x->ev->reason ? x->ev->reason : "the conductor gives no reason");
}

static void fold_taken(struct fold *x)
{
	if (x->f.until.us != 0)
		return;
	x->f.since = x->ev->now;
	x->f.until = fold_deadline(x);
	x->dirty = true;
	if (x->n->reservation)
		FOLD_TEXT(x, reservation, x->ev->host);
}

/* An answer that the phase waits for and that belongs to its turn. */
static bool is_answer(const struct fold *x, enum event_kind kind)
{
	return action_info[flow_action(&x->f)].answer == kind && (uint64_t)x->f.turn == x->ev->turn;
}

/* A step is announced once, and then looked for.  Finalizing is announced each time: there is no list to be
 * had from an agent that has finalized. */
static bool is_about_sending(const struct fold *x, enum event_kind kind)
{
	if (!is_answer(x, EVENT_AGENT_REPLY))
		return false;
	if (flow_action(&x->f) == ACTION_FINALIZE)
		return kind == EVENT_SENDING;
	return flow_action(&x->f) == ACTION_STEP_SEND && x->f.sending == (kind == EVENT_AGENT_LIST);
}

/* Something the agent of the current boot says of itself. */
static bool is_agents(const struct fold *x)
{
	return action_info[flow_action(&x->f)].watch != WATCH_OFF &&
	       (uint64_t)x->n->boot_epoch == x->ev->epoch;
}

static void fold_worker_event(struct fold *x)
{
	static void (*const handlers[EVENT_COUNT])(struct fold *) = {
		[EVENT_BMC] = fold_bmc,
		[EVENT_BOOT] = fold_boot,
		[EVENT_AGENT_REPLY] = fold_reply,
		[EVENT_AGENT_LIST] = fold_list,
		[EVENT_SENDING] = fold_sending,
		[EVENT_DEADLINE] = fold_passed_deadline,
		[EVENT_UNABLE] = fold_unable,
		[EVENT_TAKEN] = fold_taken,
		[EVENT_AGENT_ALIVE] = fold_alive,
		[EVENT_AGENT_MILESTONE] = fold_milestone,
		[EVENT_AGENT_GONE] = fold_gone,
		[EVENT_AGENT_COMMAND] = fold_command,
		[EVENT_AGENT_HEARTBEAT] = fold_heartbeat,
		[EVENT_AGENT_LOOKUP] = fold_lookup,
		[EVENT_AGENT_OLD_TOKEN] = fold_old_token,
	};
	enum event_kind kind = x->ev->kind;
	bool fits = false;

	switch (kind) {
	case EVENT_BMC:
	case EVENT_BOOT:
	case EVENT_AGENT_REPLY: fits = is_answer(x, kind); break;
	case EVENT_AGENT_LIST:
	case EVENT_SENDING: fits = is_about_sending(x, kind); break;
	case EVENT_AGENT_ALIVE:
	case EVENT_AGENT_MILESTONE:
	case EVENT_AGENT_GONE:
	case EVENT_AGENT_COMMAND: fits = is_agents(x); break;
	/* The agent may call before the BMC has said that the machine is on. */
	case EVENT_AGENT_HEARTBEAT:
	case EVENT_AGENT_LOOKUP:
	case EVENT_AGENT_OLD_TOKEN:
		fits = x->f.active && (uint64_t)x->n->boot_epoch == x->ev->epoch;
		break;
	case EVENT_UNABLE:
	case EVENT_DEADLINE: fits = (uint64_t)x->f.turn == x->ev->turn; break;
	case EVENT_TAKEN: fits = true; break;
	case EVENT_VERB:
	case EVENT_POWER_REQUEST:
	case EVENT_COUNT: break;
	}
	if (fits)
		handlers[kind](x);
}

/* No flow, or an agent that waits: the power sync's answer is adopted. */
static void fold_at_rest(struct fold *x)
{
	if (x->ev->kind == EVENT_BMC && x->ev->ok && !x->n->reservation)
		record_power(x);
}

bool node_fold(struct node *n, const struct event *ev, attr_set changed, GError **error)
{
	struct fold x = {.n = n, .ev = ev, .changed = changed};
	bool ok = true;

	if (!flow_parse(n->flow, &x.f, error))
		return false;
	if (ev->kind == EVENT_VERB)
		ok = fold_verb(&x, error);
	else if (ev->kind == EVENT_POWER_REQUEST)
		ok = fold_power_request(&x, error);
	else if (x.f.phase != PHASE_NONE &&
		 (flow_action(&x.f) != ACTION_IDLE || ev->kind != EVENT_BMC))
		fold_worker_event(&x);
	else
		fold_at_rest(&x);
	if (x.dirty)
		FOLD_JSON(&x, flow, flow_print(&x.f));
	flow_clear(&x.f);
	return ok;
}
