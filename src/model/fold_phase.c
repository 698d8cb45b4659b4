/* Where a flow goes: phases are entered, passed over, repeated and given up. */
#include "deployment.h"
#include "fold.h"
#include "jsons.h"
#include "steps.h"

#define BOOT_MACS "boot_macs"
/* An agent that is kept is heard at least this often. */
#define IDLE_LOOK_MOST_S 100
/* A new boot is the better answer to an agent that does not do what it is asked to. */
#define FAST_ATTEMPTS 4

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
	if ((info->flags & P_JUMP) || ((info->flags & P_AGENT) && !n->agent_token) ||
	    (f->bare && !(info->flags & P_BARE)))
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

const json_t *flow_peek_boot_macs(const struct node *n)
{
	return json_object_get(n->driver_internal_info, BOOT_MACS);
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
	case LIMIT_STEP: seconds = steps_own_seconds(fold_peek_step(x->n, &x->f)); break;
	case LIMIT_NEVER: seconds = FLOW_FOREVER; break;
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
	if (step && (info->action == ACTION_STEP_SEND || info->action == ACTION_STEP_WAIT ||
		     (info->flags & P_JUMP && info->action != ACTION_IDENTIFY)))
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
	fold_set_info(x, BOOT_MACS, ev->boot_macs ? json_deep_copy(ev->boot_macs) : NULL);
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

void fold_end_boot(struct fold *x, bool keep_address)
{
	fold_end_token(x);
	if (!keep_address) {
		FOLD_TEXT(x, agent_address, NULL);
		fold_set_info(x, BOOT_MACS, NULL);
	}
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

/* Where the way leads that begins at this phase; a clean step may lead elsewhere. */
static enum phase find_way(struct fold *x, enum phase p)
{
	if (p == PHASE_NONE || phase_info[p].flags & P_JUMP)
		return p;
	if (phase_info[p].action == ACTION_STEP_SEND)
		x->f.stays = fold_may_stay(x);
	p = first_not_passed_over(x->n, &x->f, p);
	if (p != PHASE_CLEAN_STEP_SEND)
		return p;
	/* Steps that are done by what comes next may be the last ones. */
	enum phase of_step = fold_step_phase(x);

	return of_step == PHASE_NONE ? first_not_passed_over(x->n, &x->f, p) : of_step;
}

void fold_enter(struct fold *x, enum phase p)
{
	struct flow *f = &x->f;

	p = find_way(x, p);
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
	if (phase_info[x->f.phase].flags & P_JUMP) {
		fold_end_own_step(x);
		return;
	}
	fold_enter(x, flow_phase_after(x->f.phase));
}

static void start(struct fold *x, enum operation op, bool bare)
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
	x->f.bare = bare;
	x->f.phase = operation_info[op].first;
	fold_enter(x, x->f.phase);
}

void fold_start(struct fold *x, enum operation op)
{
	start(x, op, false);
}

void fold_start_bare(struct fold *x, enum operation op)
{
	start(x, op, true);
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
	int64_t pause = MIN(1 << MIN(f->attempt, 10), FLOW_BACK_OFF_MAX);

	f->attempt++;
	f->turn++;
	f->retry_at = wall_add(x->ev->now, SPAN_SECONDS(pause));
	if (info->limit == LIMIT_POWER)
		f->until = wall_add(fold_deadline(x), SPAN_SECONDS(pause));
	fold_note(x, reason);
}
