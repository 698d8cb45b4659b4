/* steps.h: the list of deploy steps: what the agent offers, what every deployment needs, what the operator
 * asked for. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* `outcome` is the result of deploy.get_deploy_steps (agent-supplied: checked here), `wanted` the
 * operator's deploy_steps or NULL.  Gives the steps to run, highest priority first, as
 * [{"interface", "step", "priority", "args"}], and the agent's version map; new references.
 * Errors: PEER when the agent's answer does not fit, LIMIT, INVALID for a wanted step that the agent does
 * not offer. */
bool steps_merge(const json_t *outcome, const json_t *wanted, json_t **ret_steps,
		 json_t **ret_versions, GError **error) G_GNUC_WARN_UNUSED_RESULT;
