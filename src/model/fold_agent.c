/* What the agent says of itself, and what it answers. */
#include <string.h>

#include "errors.h"
#include "fold.h"
#include "jsons.h"

#define HEARTBEAT_EVERY SPAN_SECONDS(10)
#define RESTARTS_MOST   3
#define RUNS_MOST       2
#define REFUSALS_ENOUGH 3

static void show_contact(struct fold *x)
{
	char text[WALL_TEXT];

	x->f.contact_at = x->ev->now;
	x->dirty = true;
	wall_print(x->ev->now, text);
	fold_set_info(x, "agent_last_heartbeat", json_string(text));
}

/* An idle agent is looked at seldom, and each time counts. */
static bool was_heard_lately(const struct fold *x)
{
	return flow_action(&x->f) != ACTION_IDLE &&
	       !wall_reached(wall_add(x->f.contact_at, HEARTBEAT_EVERY), x->ev->now);
}

/* An answer to something that was asked.  It does not take back that the agent is gone: the dialer, which
 * said so, does that, or else it would not say it a second time. */
void fold_answered(struct fold *x)
{
	struct flow *f = &x->f;

	if (was_heard_lately(x))
		return;
	if (phase_info[f->phase].limit == LIMIT_CALLBACK)
		f->until = fold_deadline(x);
	show_contact(x);
}

/* Coming back takes back what going has done: an agent that comes and goes moves no other deadline. */
void fold_contact(struct fold *x)
{
	struct flow *f = &x->f;

	if (f->gone) {
		f->gone = false;
		if (phase_info[f->phase].limit == LIMIT_CALLBACK)
			f->until = fold_deadline(x);
		fold_note(x, NULL);
	}
	fold_answered(x);
}

static bool runs_step(const struct flow *f)
{
	return flow_action(f) == ACTION_STEP_WAIT ||
	       (flow_action(f) == ACTION_STEP_SEND && f->sending);
}

/* These start from the beginning whenever they are asked for, so they may run again; of other steps nobody
 * knows. */
static bool may_run_again(const char *name)
{
	static const char *const names[] = {"deploy.write_image", "deploy.erase_devices_metadata",
					    "deploy.erase_devices"};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* The agent lost its memory: who it is for, and the command that ran. */
void fold_agent_restarted(struct fold *x)
{
	struct flow *f = &x->f;
	g_autofree char *name = fold_step_name(x);
	g_autofree char *sentence = NULL;

	if (flow_action(f) == ACTION_EJECT || flow_action(f) == ACTION_WITHDRAW_TOKEN ||
	    flow_action(f) == ACTION_BOOT_DISK || flow_action(f) == ACTION_SYNC ||
	    flow_action(f) == ACTION_AGENT_OFF || flow_action(f) == ACTION_KEEP_AGENT ||
	    flow_action(f) == ACTION_IDLE || flow_action(f) == ACTION_HOLD ||
	    flow_action(f) == ACTION_PAUSE)
		return;
	f->restarts++;
	if (runs_step(f) && (!may_run_again(name) || f->runs >= RUNS_MOST)) {
		sentence = g_strdup_printf("The agent restarted while it ran %s step %s%s",
					   flow_words(f)->kind, name,
					   f->runs >= RUNS_MOST ? ", again" : "");
		fold_fail(x, sentence);
	} else if (f->restarts > RESTARTS_MOST) {
		fold_fail(x, "The agent restarted again and again");
	} else {
		fold_enter(x, fold_phase_with(x, ACTION_IDENTIFY));
	}
}

void fold_alive(struct fold *x)
{
	struct flow *f = &x->f;
	const struct event *ev = x->ev;
	bool restarted = ev->restarted || (f->agent_started != 0 && ev->started_ms != 0 &&
					   (uint64_t)f->agent_started != ev->started_ms);

	fold_contact(x);
	if (ev->started_ms)
		f->agent_started = (int64_t)(ev->started_ms & INT64_MAX);
	f->own_agent = ev->own_agent;
	x->dirty = true;
	if (ev->version && *ev->version)
		fold_set_info(x, "agent_version", json_string(ev->version));
	if (ev->agent_url)
		fold_set_info(x, "agent_url", json_string(ev->agent_url));
	if (flow_action(f) == ACTION_CONTACT) {
		f->milestone = MILESTONE_TOKEN;
		fold_advance(x);
	} else if (restarted) {
		fold_agent_restarted(x);
	}
}

/* The agent of an active node says where it is: from here it is dialled, and what it is asked and what it
 * answers is as in passive mode.  Later heartbeats are shown and lengthen nothing: an agent that calls
 * and cannot be dialled must not keep its node waiting for ever. */
void fold_heartbeat(struct fold *x)
{
	struct flow *f = &x->f;
	const struct event *ev = x->ev;
	bool first = !f->called;

	f->called = true;
	x->dirty |= first;
	if (ev->pin && g_strcmp0(f->pin, ev->pin) != 0) {
		g_free(f->pin);
		f->pin = g_strdup(ev->pin);
		x->dirty = true;
	}
	if (first || !was_heard_lately(x))
		show_contact(x);
	fold_set_info(x, "agent_url", json_string(ev->agent_url));
	if (ev->version && *ev->version)
		fold_set_info(x, "agent_version", json_string(ev->version));
	if (!first || flow_action(f) != ACTION_CONTACT)
		return;
	f->milestone = MAX(f->milestone, MILESTONE_ADDRESS);
	f->until = fold_deadline(x);
	fold_note(x, NULL);
}

void fold_lookup(struct fold *x)
{
	if (!x->f.by_lookup || x->n->agent_token)
		return;
	FOLD_TEXT(x, agent_token, x->ev->fresh_token);
	FOLD_TEXT(x, agent_verifier, x->ev->fresh_verifier);
	fold_note(x, "the agent has looked up its node, and its heartbeat has not come yet");
}

void fold_old_token(struct fold *x)
{
	fold_note(
		x,
		"a heartbeat with the token of an earlier boot was refused: an agent of that boot "
		"is still running somewhere");
}

/* Outside of the first contact these come from a dialer that was started anew and does not get through: it
 * cannot lose an agent that it never had. */
void fold_milestone(struct fold *x)
{
	if (x->f.fast && fold_give_up_kept(x))
		return;
	if (flow_action(&x->f) == ACTION_CONTACT)
		x->f.milestone = MAX((int64_t)x->ev->milestone, MILESTONE_POWER);
	else
		x->f.gone = true;
	fold_note(x, x->ev->reason);
}

void fold_gone(struct fold *x)
{
	struct flow *f = &x->f;

	if (flow_action(f) == ACTION_CONTACT || f->gone)
		return;
	if (f->fast && fold_give_up_kept(x))
		return;
	f->gone = true;
	if (phase_info[f->phase].limit == LIMIT_CALLBACK && f->until.us != 0)
		f->until = wall_add(fold_deadline(x), SPAN_SECONDS(-(int64_t)x->ev->silent_s));
	fold_note(x, x->ev->reason);
}

/* Who has finalized closes its port for good.  So when the answer to an earlier attempt was lost, a port that
 * stays closed on a living machine is the answer.  `runs` counts the attempts that may have been carried
 * out. */
static void finalize_reply(struct fold *x)
{
	struct flow *f = &x->f;
	const struct event *ev = x->ev;
	bool runs_on = ev->ok && ev->status == COMMAND_RUNNING;

	if (ev->ok && ev->status == COMMAND_SUCCEEDED) {
		fold_advance(x);
		return;
	}
	if (!ev->unclear && !runs_on && f->runs > 0)
		f->runs--;
	if (ev->refused && f->runs > 0 && f->attempt >= REFUSALS_ENOUGH)
		fold_advance(x);
	else
		fold_trouble(x, ev->retry || ev->unclear || runs_on, ev->reason);
}

static bool is_refusal_of_stock_agent(const struct event *ev)
{
	return ev->reason && strstr(ev->reason, "standalone");
}

void fold_reply(struct fold *x)
{
	const struct event *ev = x->ev;
	enum action action = flow_action(&x->f);
	bool done = ev->ok && (ev->status == COMMAND_SUCCEEDED ||
			       (action == ACTION_AGENT_OFF && ev->status == COMMAND_RUNNING));

	if (ev->ok)
		fold_answered(x);
	if (action == ACTION_STEP_SEND) {
		fold_step_reply(x);
	} else if (action == ACTION_FINALIZE) {
		finalize_reply(x);
	} else if (action == ACTION_CLAIM && !done && is_refusal_of_stock_agent(ev)) {
		fold_advance(x);
	} else if (!done) {
		fold_trouble(x,
			     ev->retry || ev->unclear || (ev->ok && ev->status == COMMAND_RUNNING),
			     ev->reason);
	} else if (action == ACTION_LOAD_STEPS) {
		fold_load_steps(x);
	} else {
		if (action == ACTION_IDENTIFY)
			x->f.milestone = MILESTONE_IDENTITY;
		fold_advance(x);
	}
}
