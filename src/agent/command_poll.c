/* command_poll.c: commands of the `poll` extension, with which the control plane gets to know a machine. */
#include <string.h>

#include "command_table.h"
#include "inventory.h"
#include "jsons.h"
#include "kept.h"
#include "log.h"

json_t *command_get_hardware_info(struct agent *a, struct command_context *context,
				  const json_t *params, struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	json_t *inventory =
		inventory_collect(command_peek_root(context), a->options.pxe_interface, &reason);

	(void)params;
	if (!inventory)
		agent_error_set_reason(error, AGENT_ERROR_EXECUTION, reason);
	return inventory;
}

/* A new token is taken if it can be one; "******" and short texts leave the old one in place. */
static void adopt_token(struct agent *a, const char *text)
{
	if (!text || !agent_options_is_token(text, strlen(text)))
		return;
	g_autoptr(secret) token = secret_new(text);

	if (a->token)
		log_notice(NULL, "the control plane replaced the token");
	else
		log_notice(NULL, "the token was given by whoever dialled first");
	agent_set_token(a, token);
	if (a->options.by_contact)
		kept_write(a->options.root, KEPT_TOKEN, text);
}

json_t *command_set_node_info(struct agent *a, struct command_context *context,
			      const json_t *params, struct agent_error *error)
{
	const json_t *info = json_object_get(params, "node_info");
	const json_t *node = json_peek_object(info, "node");
	const json_t *settings = json_peek_object(info, "config");
	g_autoptr(GError) reason = NULL;

	(void)context;
	if (!node || !settings) {
		agent_error_set(error, AGENT_ERROR_INVALID_PARAMS,
				"node_info needs the objects node and config");
		return NULL;
	}
	/* All of it is checked before any of it is kept. */
	if (!agent_cache_node(a, node, &reason)) {
		agent_error_set_reason(error, AGENT_ERROR_INVALID_PARAMS, reason);
		return NULL;
	}
	adopt_token(a, json_peek_string(settings, "agent_token"));
	return json_null();
}
