/* steps.h: the list of deploy or clean steps: what the agent offers, what every deployment needs, what the operator
 * asked for. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* `outcome` is the result of deploy.get_deploy_steps (agent-supplied: checked here), `wanted` the
 * operator's deploy_steps or NULL.  Gives the steps to run, highest priority first, as
 * [{"interface", "step", "priority", "args"}], with "reboot_requested": true where the agent says so, and the agent's version map; new references.
 * Errors: PEER when the agent's answer does not fit, LIMIT, INVALID for a wanted step that the agent does
 * not offer. */
bool steps_merge(const json_t *outcome, const json_t *wanted, json_t **ret_steps,
		 json_t **ret_versions, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* For clean.get_clean_steps.  `wanted` NULL: the steps with a priority, highest first; `priorities`
 * ({"deploy.erase_devices": 10}, or NULL) goes before what the agent says.  Else the operator's
 * clean_steps in their own order (by "order", where they have one), whatever their priority, with the conductor's own among them.  Each with
 * "abortable": bool beside the keys above.  Errors as above. */
bool steps_plan_cleaning(const json_t *outcome, const json_t *wanted, const json_t *priorities,
			 json_t **ret_steps, json_t **ret_versions,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Clean steps that the conductor carries out itself, whatever their interface: agents never see them. */
enum step_own { OWN_NONE, OWN_HOLD, OWN_WAIT, OWN_POWER_ON, OWN_POWER_OFF, OWN_REBOOT };
enum step_own steps_own(const json_t *step);
/* args.seconds of the step "wait"; 0: it has none. */
unsigned steps_own_seconds(const json_t *step);

/* What can be said of the operator's clean_steps before an agent is there, or, with `bare`, without one at all.
 * Error: INVALID. */
bool steps_check_cleaning(const json_t *wanted, bool bare,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The operator's clean_steps that were checked so, in their order, as steps_plan_cleaning() gives them.  A new reference;
 * NULL with INVALID for one that needs an agent. */
json_t *steps_plan_bare(const json_t *wanted, GError **error);
