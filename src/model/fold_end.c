/* How an operation ends: done, failed, aborted. */
#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "fold.h"

#define FAULT_CLEAN "clean failure"

bool fold_cleans(const struct fold *x)
{
	return x->n->automated_clean < 0 ? x->ev->automated_clean : x->n->automated_clean;
}

static void stop(struct fold *x)
{
	flow_clear(&x->f);
	x->dirty = true;
	FOLD_TEXT(x, reservation, NULL);
	FOLD_JSON(x, deploy_step, json_object());
	fold_forget_password(x);
}

/* The address of an agent that was kept outlives power requests. */
static void end_flow(struct fold *x)
{
	bool kept = x->f.kept && operation_info[flow_operation(&x->f)].end == END_POWER;

	if (!kept) {
		stop(x);
		return;
	}
	FOLD_TEXT(x, reservation, NULL);
	fold_start(x, OPERATION_RELEASE);
}

void fold_forget_password(struct fold *x)
{
	json_t *info = x->n->instance_info;

	if (json_object_del(info, RESCUE_PASSWORD) == 0)
		attr_set_add(x->changed, NODE_ATTR_instance_info);
}

void fold_forget_steps(struct fold *x)
{
	const char *const keys[] = {
		deploy_words.steps, deploy_words.wanted,        clean_words.steps,
		clean_words.wanted, "hardware_manager_version", "agent_url",
		"rescue_address"};

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		if (!x->f.kept || strcmp(keys[i], "agent_url") != 0)
			fold_set_info(x, keys[i], NULL);
}

static void clear_instance(struct fold *x)
{
	struct node *n = x->n;

	FOLD_JSON(x, instance_info, json_object());
	FOLD_TEXT(x, config_drive, NULL);
	FOLD_TEXT(x, instance_name, NULL);
	n->instance_uuid = (struct uuid){""};
	n->allocation_uuid = (struct uuid){""};
	attr_set_add(x->changed, NODE_ATTR_instance_uuid);
	attr_set_add(x->changed, NODE_ATTR_allocation_uuid);
	fold_set_info(x, "instance", NULL);
}

/* Before the steps are forgotten: they say where cleaning leads. */
static enum provision_state state_after_cleaning(const struct node *n)
{
	bool manual = json_object_get(n->driver_internal_info, clean_words.wanted);

	return manual || n->retired ? STATE_MANAGEABLE : STATE_AVAILABLE;
}

static void end_undeployment(struct fold *x)
{
	clear_instance(x);
	fold_forget_steps(x);
	if (fold_cleans(x)) {
		stop(x);
		fold_start(x, OPERATION_CLEAN);
		return;
	}
	fold_set_state(x, x->n->retired ? STATE_MANAGEABLE : STATE_AVAILABLE);
	stop(x);
}

void fold_finish(struct fold *x)
{
	enum flow_end end = operation_info[flow_operation(&x->f)].end;
	enum provision_state to = (enum provision_state)x->n->provision_state;

	switch (end) {
	case END_DONE:
		provision_state_next(to, STATE_EVENT_DONE, &to);
		fold_forget_steps(x);
		fold_set_state(x, to);
		break;
	case END_RESCUED:
		provision_state_next(to, STATE_EVENT_DONE, &to);
		fold_forget_steps(x);
		fold_set_info(x, "rescue_address", json_string(x->n->agent_address));
		fold_set_state(x, to);
		break;
	case END_UNDEPLOYED: end_undeployment(x); return;
	case END_CLEANED:
		to = state_after_cleaning(x->n);
		fold_forget_steps(x);
		FOLD_JSON(x, clean_step, json_object());
		fold_set_state(x, to);
		if (!x->f.kept)
			break;
		fold_forget_password(x);
		fold_idle(x);
		return;
	case END_POWER: FOLD_TEXT(x, target_power_state, NULL); break;
	case END_KEEP: break;
	}
	end_flow(x);
}

static void fail(struct fold *x, const char *sentence)
{
	enum flow_end end = operation_info[flow_operation(&x->f)].end;
	enum provision_state from = (enum provision_state)x->n->provision_state, to;
	/* The address of a rescued machine outlives its path.  A machine that may still run keeps it, but one
	 * that is given up does not. */
	bool published = x->f.path || x->f.kept || (x->n->agent_address && end == END_UNDEPLOYED);

	FOLD_TEXT(x, last_error, sentence);
	if (end == END_POWER) {
		FOLD_TEXT(x, target_power_state, NULL);
		FOLD_TEXT(x, power_state, power_state_text(POWER_ERROR));
	} else if (provision_state_next(from, STATE_EVENT_FAIL, &to) ||
		   provision_state_next(from, STATE_EVENT_ABORT, &to)) {
		fold_set_state(x, to);
	}
	/* From here the boot's secret is worth nothing, whenever its files go. */
	fold_end_token(x);
	if (published && end != END_KEEP && end != END_POWER) {
		FOLD_JSON(x, deploy_step, json_object());
		fold_start(x, OPERATION_CLEAN_UP);
	} else {
		end_flow(x);
	}
}

/* A node whose disks may still hold what its last user left is not for anybody until somebody looked. */
static void set_fault(struct fold *x, const char *sentence)
{
	x->n->maintenance = true;
	attr_set_add(x->changed, NODE_ATTR_maintenance);
	FOLD_TEXT(x, maintenance_reason, sentence);
	FOLD_TEXT(x, fault, FAULT_CLEAN);
}

void fold_fail(struct fold *x, const char *sentence)
{
	if (operation_info[flow_operation(&x->f)].end == END_CLEANED)
		set_fault(x, sentence);
	fail(x, sentence);
}

void fold_abort(struct fold *x)
{
	g_autofree char *name = fold_step_name(x);
	g_autofree char *sentence = NULL;
	bool stepping = flow_action(&x->f) == ACTION_STEP_WAIT;

	if (flow_operation(&x->f) == OPERATION_RESCUE)
		sentence = g_strdup("By request, the rescue operation was aborted.");
	else if (flow_operation(&x->f) != OPERATION_CLEAN)
		sentence = g_strdup("The deployment was aborted by request.");
	else if (stepping)
		sentence = g_strdup_printf("By request, the clean operation was aborted during or "
					   "after the completion of step \"%s\"",
					   name);
	else
		sentence = g_strdup("By request, the clean operation was aborted");
	fail(x, sentence);
}
