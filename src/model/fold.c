/* node_fold(): the pure function that moves a node.
 *
 * The flow is parsed into a struct, the event's handler changes it and the node, and the result is
 * printed back.  Where a flow goes next follows from phases.def; the handlers only say "advance",
 * "trouble" or "fail".  Every change after which an answer under way would be wrong raises f.turn, and
 * answers carry the turn they belong to: stale, repeated and foreign ones fall through without effect.
 */
#include "fold.h"

/* When a BMC took the request but the power did not change, it is asked again after this long. */
#define ASK_AGAIN SPAN_SECONDS(20)
/* How often an operation begins its boot again, as the time of an ISO was over. */
#define OVERS_MOST 3

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
		fold_end_boot(x, flow_action(&x->f) == ACTION_WITHDRAW_BOOT);
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
	if (info->action == ACTION_PAUSE) {
		fold_advance(x);
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

/* The conductor was away for long, or the BMC has taken its time: a URL that is worth nothing need not be tried. */
static void fold_media_over(struct fold *x)
{
	if (++x->f.overs > OVERS_MOST) {
		fold_fail_phase(x, "the time of the ISO's URL was over again and again");
		return;
	}
	fold_end_agent(x);
	fold_enter(x, operation_info[flow_operation(&x->f)].first);
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
		[EVENT_MEDIA_OVER] = fold_media_over,
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
	case EVENT_MEDIA_OVER:
		fits = flow_is_before_media(&x->f) && (uint64_t)x->f.turn == x->ev->turn;
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
