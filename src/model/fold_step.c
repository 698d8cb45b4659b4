/* The steps: their list, how each one ends, and that none is carried out twice. */
#include <string.h>

#include "errors.h"
#include "fold.h"
#include "jsons.h"
#include "steps.h"

#define PROGRESS_EVERY SPAN_SECONDS(2)
#define RELISTS_MOST   3

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

static json_t *peek_wanted(const struct fold *x)
{
	return json_object_get(x->n->driver_internal_info, flow_words(&x->f)->wanted);
}

static bool plan_steps(const struct fold *x, json_t **ret_steps, json_t **ret_versions,
		       GError **error)
{
	const struct step_words *words = flow_words(&x->f);
	const json_t *wanted = peek_wanted(x);

	if (words == &clean_words)
		return steps_plan_cleaning(x->ev->outcome, wanted, x->ev->clean_priorities,
					   ret_steps, ret_versions, error);
	return steps_merge(x->ev->outcome, wanted, ret_steps, ret_versions, error);
}

static void begin_step(struct fold *x, int64_t step)
{
	struct flow *f = &x->f;

	f->step = step;
	f->runs = f->done = f->total = 0;
	x->dirty = true;
}

/* The agent is not what it was when it listed its steps.  What the operator has listed goes on where it was, and a list
 * that was made of the agent's begins anew.  False: too often. */
static bool relist(struct fold *x)
{
	if (++x->f.relists > RELISTS_MOST) {
		fold_fail(x, "The agent's hardware managers changed again and again");
		return false;
	}
	begin_step(x, peek_wanted(x) ? x->f.step : 0);
	return true;
}

/* Only cleaning can begin anew: a deployment that went past its image cannot. */
static bool has_changed(const struct fold *x, const json_t *versions)
{
	const json_t *before =
		json_object_get(x->n->driver_internal_info, "hardware_manager_version");

	return flow_words(&x->f) == &clean_words && before && !json_equal(before, versions);
}

void fold_load_steps(struct fold *x)
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
	if (has_changed(x, versions) && !relist(x))
		return;
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

void fold_end_agent(struct fold *x)
{
	struct flow *f = &x->f;

	fold_end_token(x);
	fold_set_info(x, "agent_url", NULL);
	f->active = f->by_lookup = f->by_contact = f->called = f->gone = false;
	g_clear_pointer(&f->pin, g_free);
	g_clear_pointer(&f->previous, g_free);
	g_clear_pointer(&f->older, g_free);
	x->dirty = true;
}

/* The next step is the next boot's: what was carried out stays behind, whatever becomes of the machine. */
static void step_succeeded(struct fold *x)
{
	struct flow *f = &x->f;
	bool reboots = json_is_true(json_object_get(fold_peek_step(x->n, f), "reboot_requested"));

	g_free(f->previous);
	f->previous = g_steal_pointer(&f->command);
	begin_step(x, f->step + 1);
	if (reboots)
		fold_end_agent(x);
	fold_enter(x, reboots ? operation_info[flow_operation(f)].first
			      : fold_phase_with(x, ACTION_STEP_SEND));
}

static void next_boot(struct fold *x)
{
	begin_step(x, x->f.step + 1);
	fold_end_agent(x);
}

/* Without an agent a step that needs one boots the ramdisk first, and is the next one again. */
enum phase fold_step_phase(struct fold *x)
{
	struct flow *f = &x->f;
	const json_t *step;

	while ((step = fold_peek_step(x->n, f))) {
		switch (steps_own(step)) {
		case OWN_NONE:
			return x->n->agent_token || f->bare ? PHASE_CLEAN_STEP_SEND
							    : PHASE_CLEAN_OFF;
		case OWN_HOLD: return PHASE_CLEAN_HOLD;
		case OWN_POWER_OFF: fold_end_agent(x); return PHASE_CLEAN_STEP_OFF;
		case OWN_REBOOT:
			if (f->bare)
				return PHASE_CLEAN_STEP_OFF;
			next_boot(x);
			return PHASE_CLEAN_OFF;
		case OWN_POWER_ON:
			if (f->bare)
				return PHASE_CLEAN_STEP_ON;
			begin_step(x, f->step + 1);
			if (!x->n->agent_token)
				return PHASE_CLEAN_OFF;
			break;
		case OWN_WAIT:
			if (steps_own_seconds(step))
				return PHASE_CLEAN_PAUSE;
			begin_step(x, f->step + 1);
			if (x->n->agent_token)
				return PHASE_CLEAN_RESUME;
			break;
		}
	}
	return PHASE_NONE;
}

/* An agent that nobody spoke with for a while is identified again: hands were at the machine, perhaps. */
void fold_end_own_step(struct fold *x)
{
	struct flow *f = &x->f;

	if (f->phase == PHASE_CLEAN_RESUME) {
		x->f.milestone = MILESTONE_IDENTITY;
		fold_enter(x, fold_phase_with(x, ACTION_CLAIM));
		return;
	}
	if (f->phase == PHASE_CLEAN_STEP_OFF && steps_own(fold_peek_step(x->n, f)) == OWN_REBOOT) {
		fold_enter(x, PHASE_CLEAN_STEP_ON);
		return;
	}
	begin_step(x, f->step + 1);
	fold_enter(x, x->n->agent_token ? PHASE_CLEAN_RESUME : PHASE_CLEAN_STEP_SEND);
}

/* The agent has refused the step, and not carried it out. */
static void versions_differ(struct fold *x, const char *name)
{
	g_autofree char *sentence = NULL;

	if (x->f.aborting) {
		fold_abort(x);
		return;
	}
	if (flow_words(&x->f) == &clean_words) {
		if (!relist(x))
			return;
		fold_set_info(x, "hardware_manager_version", NULL);
		fold_enter(x, fold_phase_with(x, ACTION_LOAD_STEPS));
		return;
	}
	sentence = g_strdup_printf("%s step %s failed: the agent's hardware managers changed after "
				   "it had listed its steps",
				   step_title(&x->f), name);
	fold_fail(x, sentence);
}

static void end_step(struct fold *x, enum command_status status, const char *reason)
{
	struct flow *f = &x->f;
	g_autofree char *name = fold_step_name(x);
	g_autofree char *sentence = NULL;

	switch (status) {
	case COMMAND_RUNNING: break;
	case COMMAND_SUCCEEDED:
		if (f->aborting)
			fold_abort(x);
		else
			step_succeeded(x);
		break;
	case COMMAND_FAILED:
		sentence = g_strdup_printf("%s step %s failed: %s", step_title(f), name,
					   reason && *reason ? reason : "no reason was given");
		fold_fail(x, sentence);
		break;
	case COMMAND_VERSION_MISMATCH: versions_differ(x, name); break;
	case COMMAND_UNKNOWN: fold_agent_restarted(x); break;
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

void fold_step_reply(struct fold *x)
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
	fold_answered(x);
	const json_t *entry = find_sent(x);

	if (!entry && has_forgotten(x)) {
		fold_agent_restarted(x);
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
	fold_contact(x);
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
