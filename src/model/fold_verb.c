/* What operators ask for: checked against the state, then made a flow.  The order of the checks and the
 * sentences are the API's (bare-metal-api 2.7 and 2.8). */
#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "fold.h"
#include "jsons.h"
#include "steps.h"

static const struct verb_word {
	const char *word;
	enum state_event event;
} verb_words[] = {
#define VERB(verb_word, verb_event, since) {verb_word, STATE_EVENT_##verb_event},
#include "verbs.def"
#undef VERB
};

/* The first word of the list that means the event. */
static const char *canonical_word(enum state_event event)
{
	for (size_t i = 0; i < G_N_ELEMENTS(verb_words); i++)
		if (verb_words[i].event == event)
			return verb_words[i].word;
	return "?";
}

static bool refuse_state(const struct node *n, const char *word, GError **error)
{
	return inox_error_set(
		error, INOX_ERROR_INVALID,
		"The requested action \"%s\" can not be performed on node \"%s\" while it is in "
		"state \"%s\".",
		word, n->uuid.s, provision_state_text((unsigned)n->provision_state));
}

static bool refuse_locked(const struct fold *x, GError **error)
{
	const char *holder = x->n->reservation ? x->n->reservation : x->ev->host;

	return inox_error_set(error, INOX_ERROR_BUSY,
			      "Node %s is locked by host %s, please retry after the current "
			      "operation is completed.",
			      x->n->uuid.s, holder ? holder : "?");
}

static void begin(struct fold *x)
{
	FOLD_TEXT(x, last_error, NULL);
}

static bool verb_manage(struct fold *x, GError **error)
{
	(void)error;
	if (x->n->provision_state == STATE_ENROLL) {
		if (!deployment_check_power(x->n, error)) {
			g_prefix_error(error,
				       "Failed to validate power driver interface for node "
				       "%s. Error: ",
				       x->n->uuid.s);
			return false;
		}
		begin(x);
		fold_start(x, OPERATION_VERIFY);
		return true;
	}
	FOLD_JSON(x, clean_step, json_object());
	fold_set_state(x, STATE_MANAGEABLE);
	return true;
}

/* Without a ramdisk it does not matter how its agent would be found. */
static bool check_cleaning(const struct node *n, const struct agent_defaults *agents, bool bare,
			   GError **error)
{
	g_autoptr(GError) reason = NULL;
	struct deployment_mode mode;

	if (n->disable_power_off)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Cleaning a node with disable_power_off is not supported by "
				      "this release of Inox");
	if (deployment_check_power(n, &reason) &&
	    (bare || deployment_mode(n, agents, &mode, &reason)))
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Failed to validate power info for cleaning of node %s: %s",
			      n->uuid.s, reason->message);
}

/* `steps` is the operator's list; NULL: what the agent does on its own. */
static bool start_cleaning(struct fold *x, const json_t *steps, GError **error)
{
	if (!check_cleaning(x->n, &x->ev->agents, false, error))
		return false;
	begin(x);
	fold_forget_steps(x);
	fold_set_info(x, clean_words.wanted, steps ? json_deep_copy(steps) : NULL);
	fold_begin_boot(x, OPERATION_CLEAN);
	return true;
}

static bool verb_provide(struct fold *x, GError **error)
{
	if (x->n->retired)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"The providing operation can't be performed on node %s because "
			"it is retired.",
			x->n->uuid.s);
	if (fold_cleans(x))
		return start_cleaning(x, NULL, error);
	begin(x);
	fold_forget_steps(x);
	fold_set_state(x, STATE_AVAILABLE);
	return true;
}

/* An agent that was kept is not needed, and its machine is the steps' matter. */
static bool start_bare(struct fold *x, GError **error)
{
	json_t *steps = check_cleaning(x->n, &x->ev->agents, true, error)
				? steps_plan_bare(x->ev->steps, error)
				: NULL;

	if (!steps)
		return false;
	begin(x);
	fold_end_kept(x);
	fold_forget_steps(x);
	fold_set_info(x, clean_words.wanted, json_deep_copy(x->ev->steps));
	fold_set_info(x, clean_words.steps, steps);
	fold_start_bare(x, OPERATION_CLEAN);
	return true;
}

static bool verb_clean(struct fold *x, GError **error)
{
	const struct event *ev = x->ev;

	if (!steps_check_cleaning(ev->steps, ev->disable_ramdisk, error))
		return false;
	return ev->disable_ramdisk ? start_bare(x, error) : start_cleaning(x, ev->steps, error);
}

static bool verb_unhold(struct fold *x, GError **error)
{
	(void)error;
	fold_advance(x);
	return true;
}

static bool check_deployment(const struct node *n, const struct agent_defaults *agents,
			     GError **error)
{
	g_autoptr(GError) reason = NULL;
	struct deployment_mode mode;
	g_autoptr(json_t) image = NULL;

	if (n->disable_power_off)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Deploying a node with disable_power_off is not supported by "
				      "this release of Inox");
	if (deployment_check_power(n, &reason))
		image = deployment_image_info(n, &reason);
	if (image && deployment_mode(n, agents, &mode, &reason))
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Failed to validate deploy or power info for node %s: %s", n->uuid.s,
			      reason->message);
}

static bool verb_deploy(struct fold *x, GError **error)
{
	const struct event *ev = x->ev;

	if (!check_deployment(x->n, &ev->agents, error))
		return false;
	begin(x);
	/* A rebuild without a config drive uses the one of before. */
	if (ev->config_drive || ev->verb == STATE_EVENT_DEPLOY)
		FOLD_TEXT(x, config_drive, ev->config_drive);
	fold_forget_steps(x);
	fold_set_info(x, deploy_words.wanted, ev->steps ? json_deep_copy(ev->steps) : NULL);
	fold_begin_boot(x, OPERATION_DEPLOY);
	return true;
}

static bool verb_delete(struct fold *x, GError **error)
{
	(void)error;
	begin(x);
	fold_forget_steps(x);
	fold_end_token(x);
	fold_start(x, OPERATION_UNDEPLOY);
	return true;
}

static bool check_rescue(const struct fold *x, const char *word, const char *word_ing,
			 GError **error)
{
	const struct node *n = x->n;
	g_autoptr(GError) reason = NULL;

	if (n->maintenance)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The %s operation can't be performed on node %s because it's "
				      "in maintenance mode.",
				      word_ing, n->uuid.s);
	if (n->disable_power_off)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Rescuing a node with disable_power_off is not supported by "
				      "this release of Inox");
	if (deployment_check_power(n, &reason) && deployment_check_rescue(n, &reason) &&
	    (x->ev->verb == STATE_EVENT_UNRESCUE ||
	     deployment_check_rescue_boot(n, &x->ev->agents, &reason)))
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Failed to %s instance %s for node %s: Validation failed. Error: %s",
			      word, uuid_is_set(&n->instance_uuid) ? n->instance_uuid.s : "None",
			      n->uuid.s, reason->message);
}

static bool verb_rescue(struct fold *x, GError **error)
{
	const char *password = x->ev->rescue_password;

	if (!password)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "A non-empty \"rescue_password\" is required when setting "
				      "target provision state to rescue");
	if (!check_rescue(x, "rescue", "rescuing", error))
		return false;
	begin(x);
	fold_forget_steps(x);
	json_object_set_new(x->n->instance_info, RESCUE_PASSWORD, json_string(password));
	attr_set_add(x->changed, NODE_ATTR_instance_info);
	fold_end_token(x);
	fold_start(x, OPERATION_RESCUE);
	return true;
}

static bool verb_unrescue(struct fold *x, GError **error)
{
	if (!check_rescue(x, "unrescue", "unrescuing", error))
		return false;
	begin(x);
	fold_forget_steps(x);
	fold_end_token(x);
	fold_start(x, OPERATION_UNRESCUE);
	return true;
}

/* A step that must not be cut off is let end first. */
static bool verb_abort(struct fold *x, GError **error)
{
	const json_t *step = fold_peek_step(x->n, &x->f);

	(void)error;
	if (flow_operation(&x->f) == OPERATION_CLEAN && flow_action(&x->f) == ACTION_STEP_WAIT &&
	    !json_is_true(json_object_get(step, "abortable"))) {
		x->f.aborting = true;
		x->dirty = true;
		return true;
	}
	fold_abort(x);
	return true;
}

static bool can_abort(const struct node *n)
{
	return n->provision_state == STATE_DEPLOY_WAIT || n->provision_state == STATE_CLEAN_WAIT ||
	       n->provision_state == STATE_CLEAN_HOLD || n->provision_state == STATE_RESCUE_WAIT;
}

/* NULL: known to the API, and not done by this release. */
static bool (*const verbs[STATE_EVENT_COUNT])(struct fold *, GError **) = {
	[STATE_EVENT_MANAGE] = verb_manage,     [STATE_EVENT_PROVIDE] = verb_provide,
	[STATE_EVENT_DEPLOY] = verb_deploy,     [STATE_EVENT_REBUILD] = verb_deploy,
	[STATE_EVENT_DELETE] = verb_delete,     [STATE_EVENT_ABORT] = verb_abort,
	[STATE_EVENT_CLEAN] = verb_clean,       [STATE_EVENT_RESCUE] = verb_rescue,
	[STATE_EVENT_UNRESCUE] = verb_unrescue, [STATE_EVENT_UNHOLD] = verb_unhold,
};

bool fold_verb(struct fold *x, GError **error)
{
	const struct node *n = x->n;
	enum state_event verb = x->ev->verb;
	const char *word = x->ev->word ? x->ev->word : canonical_word(verb);
	bool deploys = verb == STATE_EVENT_DEPLOY || verb == STATE_EVENT_REBUILD;
	enum provision_state to;

	if (deploys && n->maintenance)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The provisioning operation can't be performed on node %s "
				      "because it's in maintenance mode.",
				      n->uuid.s);
	if (!provision_state_next((enum provision_state)n->provision_state, verb, &to))
		return n->reservation ? refuse_locked(x, error) : refuse_state(n, word, error);
	if (n->reservation)
		return refuse_locked(x, error);
	if (!verbs[verb] || (verb == STATE_EVENT_ABORT && !can_abort(n)))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"The requested action \"%s\" is not supported by this release "
			"of Inox",
			word);
	if (n->protected && (verb == STATE_EVENT_DELETE || verb == STATE_EVENT_REBUILD))
		return inox_error_set(error, INOX_ERROR_DENIED,
				      "Node %s is protected and cannot be undeployed, rebuilt or "
				      "deleted",
				      n->uuid.s);
	return verbs[verb](x, error);
}

static const struct power_verb {
	enum operation operation;
	enum power_state reached;
} power_verbs[] = {
	[TARGET_POWER_ON] = {OPERATION_POWER_ON, POWER_ON},
	[TARGET_POWER_OFF] = {OPERATION_POWER_OFF, POWER_OFF},
	[TARGET_REBOOT] = {OPERATION_REBOOT, POWER_ON},
	[TARGET_SOFT_POWER_OFF] = {OPERATION_SOFT_OFF, POWER_OFF},
	[TARGET_SOFT_REBOOT] = {OPERATION_SOFT_REBOOT, POWER_ON},
};

bool fold_power_request(struct fold *x, GError **error)
{
	const struct node *n = x->n;
	const struct event *ev = x->ev;
	const char *word = power_target_text(ev->power_target);

	if (n->provision_state == STATE_CLEANING || n->provision_state == STATE_CLEAN_WAIT ||
	    n->provision_state == STATE_CLEAN_HOLD || ev->power_target == TARGET_NONE)
		return refuse_state(n, word, error);
	/* A flow that waits owns the machine's power as one that works does. */
	if (n->reservation || (x->f.phase != PHASE_NONE && !fold_is_idle(x)))
		return refuse_locked(x, error);
	if (!deployment_check_power(n, error))
		return false;
	const struct power_verb *verb = &power_verbs[ev->power_target];

	if (n->disable_power_off && verb->reached == POWER_OFF)
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Failed to set node power state to power off.");
	begin(x);
	fold_end_kept(x);
	FOLD_TEXT(x, target_power_state, power_state_text(verb->reached));
	FOLD_TEXT(x, reservation, ev->host);
	fold_start(x, verb->operation);
	x->f.patience = ev->timeout_s;
	x->f.until = fold_deadline(x);
	return true;
}
