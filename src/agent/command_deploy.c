/* command_deploy.c: deploy and clean steps: what there is, and running one. */
#include "command_table.h"
#include "jsons.h"

#define MANAGER_CLASS   "InoxHardwareManager"
#define MANAGER_NAME    "inox_hardware_manager"
#define MANAGER_VERSION "1"

/* The keys of the protocol that differ with the kind of step. */
static const struct words {
	const char *steps, *step, *result, *version;
} words[] = {
	[STEP_DEPLOY] = {"deploy_steps", "deploy_step", "deploy_result", "deploy_version"},
	[STEP_CLEAN] = {"clean_steps", "clean_step", "clean_result", "clean_version"},
};

static json_t *manager_version(void)
{
	return json_pack("{s:s}", MANAGER_NAME, MANAGER_VERSION);
}

static json_t *step_entry(const struct step *s)
{
	json_t *entry =
		json_pack("{s:s, s:i, s:s, s:b}", "step", s->name, "priority", s->priority,
			  "interface", s->interface, "reboot_requested", s->reboot_requested);

	if (s->abortable)
		json_object_set_new(entry, "abortable", json_true());
	return entry;
}

static json_t *list_steps(enum step_kind kind, struct agent *a, const json_t *params,
			  struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	const struct step *s;

	if (!agent_cache_node(a, json_object_get(params, "node"), &reason)) {
		agent_error_set_reason(error, AGENT_ERROR_INVALID_PARAMS, reason);
		return NULL;
	}
	json_t *steps = json_array();

	for (unsigned i = 0; (s = step_at(i)); i++)
		if (step_is(s, kind))
			json_array_append_new(steps, step_entry(s));
	return json_pack("{s:{s:o}, s:o}", words[kind].steps, MANAGER_CLASS, steps,
			 "hardware_manager_version", manager_version());
}

json_t *command_get_deploy_steps(struct agent *a, struct command_context *context,
				 const json_t *params, struct agent_error *error)
{
	(void)context;
	return list_steps(STEP_DEPLOY, a, params, error);
}

json_t *command_get_clean_steps(struct agent *a, struct command_context *context,
				const json_t *params, struct agent_error *error)
{
	(void)context;
	return list_steps(STEP_CLEAN, a, params, error);
}

static bool version_fits(const json_t *wanted, struct agent_error *error)
{
	g_autoptr(json_t) current = manager_version();

	if (!wanted || json_is_null(wanted) || json_equal(wanted, current))
		return true;
	g_autofree char *have = json_print_python(current), *want = json_print_python(wanted);

	agent_error_set(error, AGENT_ERROR_VERSION,
			"Current versions: %s, versions used by ironic: %s", have, want);
	return false;
}

/* The step's own arguments over what else came along. */
static json_t *step_arguments(const json_t *params, const json_t *step)
{
	static const char *const own[] = {"step", "node", "ports", "deploy_version",
					  "clean_version"};
	json_t *args = json_copy((json_t *)(uintptr_t)params);

	for (size_t i = 0; i < G_N_ELEMENTS(own); i++)
		json_object_del(args, own[i]);
	json_object_update(args, json_peek_object(step, "args"));
	return args;
}

/* The step without its arguments: they may hold credentials and a whole config drive, and the list of
 * commands keeps this for the rest of the boot. */
static json_t *echo_of(const json_t *step)
{
	json_t *echo = json_copy((json_t *)(uintptr_t)step);

	json_object_del(echo, "args");
	return echo;
}

static const struct step *pick_step(enum step_kind kind, const struct agent *a,
				    const json_t *params, struct agent_error *error)
{
	const char *name = json_peek_string(json_object_get(params, "step"), "step");
	const struct step *s = name ? step_find(kind, name) : NULL;
	g_autoptr(GError) reason = NULL;

	if (!name)
		agent_error_set(error, AGENT_ERROR_EXECUTION, "Malformed %s, no \"step\" key",
				words[kind].step);
	else if (!agent_check_node(a, json_object_get(params, "node"), &reason))
		agent_error_set_reason(error, AGENT_ERROR_EXECUTION, reason);
	else if (!version_fits(json_object_get(params, words[kind].version), error))
		return NULL;
	else if (!s)
		agent_error_set(error, AGENT_ERROR_METHOD_NOT_FOUND, "Could not find method: %.64s",
				name);
	return error->type ? NULL : s;
}

static json_t *execute_step(enum step_kind kind, struct agent *a, struct command_context *context,
			    const json_t *params, struct agent_error *error)
{
	const struct step *s = pick_step(kind, a, params, error);

	if (!s)
		return NULL;
	const json_t *step = json_object_get(params, "step");
	g_autoptr(json_t) args = step_arguments(params, step);
	json_t *result = s->run(context, args, json_object_get(params, "node"), error);

	if (!result)
		return NULL;
	return json_pack("{s:o, s:o}", words[kind].result, result, words[kind].step, echo_of(step));
}

json_t *command_execute_deploy_step(struct agent *a, struct command_context *context,
				    const json_t *params, struct agent_error *error)
{
	return execute_step(STEP_DEPLOY, a, context, params, error);
}

json_t *command_execute_clean_step(struct agent *a, struct command_context *context,
				   const json_t *params, struct agent_error *error)
{
	return execute_step(STEP_CLEAN, a, context, params, error);
}

json_t *command_prepare_image(struct agent *a, struct command_context *context,
			      const json_t *params, struct agent_error *error)
{
	const struct step *s = step_find(STEP_DEPLOY, "write_image");

	if (!s || !a->node) {
		agent_error_set(
			error, s ? AGENT_ERROR_UNKNOWN_NODE : AGENT_ERROR_METHOD_NOT_FOUND, "%s",
			s ? "No node was set before" : "Could not find method: write_image");
		return NULL;
	}
	return s->run(context, params, a->node, error);
}
