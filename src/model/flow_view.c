/* The flow for people. */
#include <string.h>

#include "fold.h"
#include "jsons.h"

static void add_time(json_t *view, const char *key, struct wall t)
{
	char text[WALL_TEXT];

	if (t.us == 0) {
		json_object_set_new(view, key, json_null());
		return;
	}
	wall_print(t, text);
	json_object_set_new(view, key, json_string(text));
}

static long long seconds_between(struct wall from, struct wall to)
{
	return MAX((to.us - from.us) / 1000000, 0);
}

/* The boot that begins here is the one that the step before has asked for. */
static bool is_asked_for(const struct node *n, const struct flow *f)
{
	const json_t *steps = json_object_get(n->driver_internal_info, flow_words(f)->steps);

	if (f->step == 0 || f->phase != operation_info[flow_operation(f)].first)
		return false;
	return json_is_true(
		json_object_get(json_array_get(steps, (size_t)f->step - 1), "reboot_requested"));
}

static void add_progress(GString *text, const struct node *n, const struct flow *f)
{
	const json_t *step = fold_peek_step(n, f);
	enum action action = flow_action(f);

	if (step && (action == ACTION_STEP_SEND || action == ACTION_STEP_WAIT))
		g_string_append_printf(text, " %s.%s",
				       json_string_value(json_object_get(step, "interface")),
				       json_string_value(json_object_get(step, "step")));
	if (step && phase_info[f->phase].flags & P_JUMP && action != ACTION_IDENTIFY)
		g_string_append_printf(text, " (step %s.%s)", json_peek_string(step, "interface"),
				       json_peek_string(step, "step"));
	if (is_asked_for(n, f))
		g_string_append(text, ", because the step before has asked for a reboot");
	if (action == ACTION_CONTACT && f->active && !f->called)
		g_string_append(text, ", which has to send its first heartbeat,");
	if (action == ACTION_CONTACT)
		g_string_append_printf(text, " at %s (so far: %s)", n->agent_address,
				       milestone_text((unsigned)f->milestone));
	if (f->done && f->total)
		g_string_append_printf(text, ", %lld of %lld bytes (%d %%) done",
				       (long long)f->done, (long long)f->total,
				       (int)((double)f->done * 100 / (double)f->total));
	else if (f->done)
		g_string_append_printf(text, ", %lld bytes done", (long long)f->done);
}

static void add_ending(GString *text, const struct flow *f, struct wall now)
{
	const struct phase_info *info = &phase_info[f->phase];

	if (f->attempt)
		g_string_append_printf(text, "; attempt %lld of %u", (long long)f->attempt + 1,
				       info->attempts);
	if (f->reason)
		g_string_append_printf(text, "; last problem: %s", f->reason);
	if (f->gone)
		g_string_append(text, "; the agent does not answer at present");
	if (f->until.us == 0)
		g_string_append(text, "; the conductor has not taken it up yet");
	else if (flow_action(f) == ACTION_PAUSE)
		g_string_append_printf(text, "; it goes on in %lld s",
				       seconds_between(now, f->until));
	else if (!flow_has_deadline(f))
		g_string_append(text, "; there is no deadline");
	else
		g_string_append_printf(text, "; if that does not happen within %lld s, %s",
				       seconds_between(now, f->until),
				       info->flags & P_SKIP ? "the flow goes on without it"
							    : "the phase fails");
	g_string_append_c(text, '.');
}

static char *why_idle(const struct node *n, const struct flow *f, struct wall now)
{
	char since[WALL_TEXT];

	wall_print(f->started, since);
	return g_strdup_printf(
		"Nothing is under way. The agent of epoch %lld stays up at %s for a fast start, since "
		"%s (%lld s)%s%s%s.",
		(long long)n->boot_epoch, n->agent_address ? n->agent_address : "?", since,
		seconds_between(f->started, now),
		f->gone ? "; it does not answer at present, and the next operation boots anew" : "",
		f->reason ? "; last problem: " : "", f->reason ? f->reason : "");
}

char *node_why(const struct node *n, struct wall now)
{
	g_auto(flow) f = {.phase = PHASE_NONE};
	g_autoptr(GError) error = NULL;

	if (!flow_parse(n->flow, &f, &error))
		return g_strdup_printf("The row of the node is damaged: %s.", error->message);
	if (f.phase == PHASE_NONE && n->last_error)
		return g_strdup_printf("Nothing is under way. The last operation failed: %s",
				       n->last_error);
	if (f.phase == PHASE_NONE)
		return g_strdup("Nothing is under way.");
	if (flow_action(&f) == ACTION_IDLE)
		return why_idle(n, &f, now);
	const struct phase_info *info = &phase_info[f.phase];
	GString *text = g_string_new(NULL);

	g_string_printf(text,
			"The %s of the node is in the phase \"%s\" for %lld s: it waits to %s",
			operation_info[info->operation].text, info->text,
			seconds_between(f.since, now), info->what);
	add_progress(text, n, &f);
	add_ending(text, &f, now);
	return g_string_free(text, FALSE);
}

json_t *node_flow_view(const struct node *n, struct wall now)
{
	g_auto(flow) f = {.phase = PHASE_NONE};
	g_autofree char *why = node_why(n, now);

	if (!flow_parse(n->flow, &f, NULL) || f.phase == PHASE_NONE)
		return json_object();
	json_t *view = json_pack("{s:s, s:s, s:I, s:s, s:s?, s:{s:I, s:I}, s:s}", "operation",
				 operation_info[flow_operation(&f)].text, "phase",
				 phase_info[f.phase].text, "attempt", (json_int_t)f.attempt + 1,
				 "milestone", milestone_text((unsigned)f.milestone), "command",
				 f.command, "progress", "done", (json_int_t)f.done, "total",
				 (json_int_t)f.total, "why", why);

	add_time(view, "since", f.since);
	add_time(view, "until", flow_has_deadline(&f) ? f.until : (struct wall){0});
	return view;
}

void flow_peek_boot(const struct node *n, struct flow_boot *ret_boot)
{
	g_auto(flow) f = {.phase = PHASE_NONE};
	struct flow_boot boot = {.begun = false};

	if (flow_parse(n->flow, &f, NULL) && f.phase != PHASE_NONE) {
		enum phase p = operation_info[flow_operation(&f)].first;

		for (; p != PHASE_NONE && p <= f.phase; p = flow_phase_after(p)) {
			boot.begun |= phase_info[p].action == ACTION_PUBLISH && f.path;
			boot.powered |= boot.begun && phase_info[p].action == ACTION_POWER_ON;
		}
	}
	if (f.kept && n->agent_verifier)
		boot.begun = boot.powered = boot.kept = true;
	if (boot.begun) {
		boot.active = f.active;
		boot.by_lookup = f.by_lookup;
		g_strlcpy(boot.pin, f.pin ? f.pin : "", sizeof(boot.pin));
	}
	*ret_boot = boot;
}

bool flow_has_boot_data(const struct node *n)
{
	g_auto(flow) f = {.phase = PHASE_NONE};

	return flow_parse(n->flow, &f, NULL) &&
	       (f.path || (n->agent_address && f.phase != PHASE_NONE));
}

bool flow_keeps_address(const struct node *n)
{
	return n->agent_address &&
	       (n->provision_state == STATE_RESCUE || n->provision_state == STATE_RESCUE_FAILED ||
		n->provision_state == STATE_UNRESCUE_FAILED);
}

bool flow_keeps_agent(const struct node *n)
{
	g_auto(flow) f = {.phase = PHASE_NONE};

	return flow_parse(n->flow, &f, NULL) && f.kept;
}

bool flow_is_idle(const struct node *n)
{
	g_auto(flow) f = {.phase = PHASE_NONE};

	return flow_parse(n->flow, &f, NULL) && flow_action(&f) == ACTION_IDLE;
}
