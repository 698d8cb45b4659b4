/* What the agent says, and the commands that must not be carried out twice. */
#include <string.h>

#include "errors.h"
#include "fold.h"
#include "jsons.h"
#include "steps.h"

#define HEARTBEAT_EVERY SPAN_SECONDS(10)
#define PROGRESS_EVERY  SPAN_SECONDS(2)
#define RESTARTS_MOST   3
#define RUNS_MOST       2
#define REFUSALS_ENOUGH 3

json_t *fold_peek_step(const struct node *n, const struct flow *f)
{
	const json_t *list = json_object_get(n->driver_internal_info, flow_words(f)->steps);

	return json_array_get(list, (size_t)f->step);
}

char *fold_step_name(const struct fold *x)
{
	const json_t *step = fold_peek_step(x->n, &x->f);
	const char *interface = json_peek_string(step, "interface");
	const char *name = json_peek_string(step, "step");

	return g_strdup_printf("%s.%s", interface ? interface : "?", name ? name : "?");
}

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
static void answered(struct fold *x)
{
	struct flow *f = &x->f;

	if (was_heard_lately(x))
		return;
	if (phase_info[f->phase].limit == LIMIT_CALLBACK)
		f->until = fold_deadline(x);
	show_contact(x);
}

static void contact(struct fold *x)
{
	struct flow *f = &x->f;

	if (f->gone) {
		f->gone = false;
		f->until = fold_deadline(x);
		fold_note(x, NULL);
	}
	answered(x);
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
static void agent_restarted(struct fold *x)
{
	struct flow *f = &x->f;
	g_autofree char *name = fold_step_name(x);
	g_autofree char *sentence = NULL;

	if (flow_action(f) == ACTION_EJECT || flow_action(f) == ACTION_WITHDRAW_TOKEN ||
	    flow_action(f) == ACTION_BOOT_DISK || flow_action(f) == ACTION_SYNC ||
	    flow_action(f) == ACTION_AGENT_OFF || flow_action(f) == ACTION_KEEP_AGENT ||
	    flow_action(f) == ACTION_IDLE)
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

	contact(x);
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
		agent_restarted(x);
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

static bool plan_steps(const struct fold *x, json_t **ret_steps, json_t **ret_versions,
		       GError **error)
{
	const struct step_words *words = flow_words(&x->f);
	const json_t *wanted = json_object_get(x->n->driver_internal_info, words->wanted);

	if (words == &clean_words)
		return steps_plan_cleaning(x->ev->outcome, wanted, x->ev->clean_priorities,
					   ret_steps, ret_versions, error);
	return steps_merge(x->ev->outcome, wanted, ret_steps, ret_versions, error);
}

static void load_steps(struct fold *x)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) steps = NULL;
	g_autoptr(json_t) versions = NULL;

	if (!plan_steps(x, &steps, &versions, &error)) {
		/* Another boot would list the same. */
		x->f.fast = false;
		fold_fail_phase(x, error->message);
		return;
	}
	fold_set_info(x, "hardware_manager_version", g_steal_pointer(&versions));
	/* After a restart of the agent the list stays, and the flow goes on where it was. */
	if (x->f.step == 0 && x->f.runs == 0)
		fold_set_info(x, flow_words(&x->f)->steps, g_steal_pointer(&steps));
	if (x->ev->command && *x->ev->command) {
		g_free(x->f.previous);
		x->f.previous = g_strdup(x->ev->command);
	}
	fold_advance(x);
}

static const char *step_title(const struct flow *f)
{
	return flow_words(f) == &clean_words ? "Clean" : "Deploy";
}

static void end_step(struct fold *x, enum command_status status, const char *reason)
{
	struct flow *f = &x->f;
	g_autofree char *name = fold_step_name(x);
	g_autofree char *sentence = NULL;

	switch (status) {
	case COMMAND_RUNNING: break;
	case COMMAND_SUCCEEDED:
		if (f->aborting) {
			fold_abort(x);
			break;
		}
		g_free(f->previous);
		f->previous = g_steal_pointer(&f->command);
		f->step++;
		f->runs = f->done = f->total = 0;
		fold_enter(x, fold_phase_with(x, ACTION_STEP_SEND));
		break;
	case COMMAND_FAILED:
		sentence = g_strdup_printf("%s step %s failed: %s", step_title(f), name,
					   reason && *reason ? reason : "no reason was given");
		fold_fail(x, sentence);
		break;
	case COMMAND_VERSION_MISMATCH:
		sentence = g_strdup_printf("%s step %s failed: the agent's hardware managers "
					   "changed after it had listed its steps",
					   step_title(f), name);
		fold_fail(x, sentence);
		break;
	case COMMAND_UNKNOWN: agent_restarted(x); break;
	}
}

static void follow(struct fold *x, const char *command, enum command_status status,
		   const char *reason)
{
	/* The id may lie in the flow that fold_enter() changes. */
	g_autofree char *id = g_strdup(command);

	fold_enter(x, fold_phase_with(x, ACTION_STEP_WAIT));
	x->f.command = g_steal_pointer(&id);
	x->f.milestone = MILESTONE_COMMAND;
	end_step(x, status, reason);
}

static void step_reply(struct fold *x)
{
	const struct event *ev = x->ev;

	if (ev->ok && ev->command && *ev->command) {
		follow(x, ev->command, ev->status, ev->reason);
		return;
	}
	/* Not heard is not undone: `sending` stays, and the conductor asks for the list. */
	if (!ev->unclear)
		x->f.sending = false;
	fold_trouble(x, ev->unclear || ev->retry, ev->ok ? "the agent gave no id" : ev->reason);
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
		answered(x);
	if (action == ACTION_STEP_SEND) {
		step_reply(x);
	} else if (action == ACTION_FINALIZE) {
		finalize_reply(x);
	} else if (action == ACTION_CLAIM && !done && is_refusal_of_stock_agent(ev)) {
		fold_advance(x);
	} else if (!done) {
		fold_trouble(x,
			     ev->retry || ev->unclear || (ev->ok && ev->status == COMMAND_RUNNING),
			     ev->reason);
	} else if (action == ACTION_LOAD_STEPS) {
		load_steps(x);
	} else {
		if (action == ACTION_IDENTIFY)
			x->f.milestone = MILESTONE_IDENTITY;
		fold_advance(x);
	}
}

/* The newest command of the step's kind that is not the one before.  An agent that was kept lists those of older
 * operations, too. */
static const json_t *find_sent(const struct fold *x)
{
	const json_t *list = x->ev->outcome;
	const char *execute = strchr(flow_words(&x->f)->execute, '.') + 1;

	for (size_t i = json_array_size(list); i-- > 0;) {
		const json_t *entry = json_array_get(list, i);
		const char *id = json_peek_string(entry, "id");
		const char *name = json_peek_string(entry, "name");

		if (id && g_strcmp0(id, x->f.older) == 0)
			return NULL;
		if (!id || !name || strcmp(name, execute) != 0)
			continue;
		return g_strcmp0(id, x->f.previous) == 0 ? NULL : entry;
	}
	return NULL;
}

/* An agent that does not know what it did before has lost its memory, and with it what became of the step. */
static bool has_forgotten(const struct fold *x)
{
	const json_t *list = x->ev->outcome;

	for (size_t i = 0; i < json_array_size(list); i++)
		if (g_strcmp0(json_peek_string(json_array_get(list, i), "id"), x->f.previous) == 0)
			return false;
	return x->f.previous != NULL;
}

void fold_list(struct fold *x)
{
	const struct event *ev = x->ev;

	if (!ev->ok) {
		fold_trouble(x, ev->retry || ev->unclear, ev->reason);
		return;
	}
	answered(x);
	const json_t *entry = find_sent(x);

	if (!entry && has_forgotten(x)) {
		agent_restarted(x);
		return;
	}
	if (!entry) {
		x->f.sending = false;
		fold_trouble(x, true, "the command did not reach the agent");
		return;
	}
	const char *status = json_peek_string(entry, "status");
	int known = status ? command_status_parse(status) : -1;

	follow(x, json_peek_string(entry, "id"),
	       known < 0 ? COMMAND_RUNNING : (enum command_status)known,
	       json_peek_string(entry, "reason"));
}

void fold_command(struct fold *x)
{
	struct flow *f = &x->f;
	const struct event *ev = x->ev;

	if (flow_action(f) != ACTION_STEP_WAIT || g_strcmp0(ev->command, f->command) != 0)
		return;
	contact(x);
	if (ev->status != COMMAND_RUNNING) {
		end_step(x, ev->status, ev->reason);
		return;
	}
	if (ev->done == 0 || !wall_reached(wall_add(f->progress_at, PROGRESS_EVERY), ev->now))
		return;
	f->done = (int64_t)(ev->done & INT64_MAX);
	f->total = (int64_t)(ev->total & INT64_MAX);
	f->progress_at = ev->now;
	x->dirty = true;
}

void fold_sending(struct fold *x)
{
	x->f.sending = true;
	x->f.runs++;
	x->f.turn++;
	x->dirty = true;
}
