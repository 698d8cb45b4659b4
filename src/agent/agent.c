#include "agent.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#include "active.h"
#include "command_table.h"
#include "errors.h"
#include "jsons.h"
#include "kept.h"
#include "log.h"

void agent_set_token(struct agent *a, const struct secret *token)
{
	secret_free(a->token);
	a->token = secret_dup(token);
	if (token)
		tls_psk_of_token(token, a->psk_key);
	if (a->active)
		active_use_token(a->active, token);
}

static void remove_secret(const char *path)
{
	if (path && g_unlink(path) != 0 && errno != ENOENT)
		log_warn(NULL, "a file with a dead secret stays", F_STR("path", path));
}

void agent_retire(struct agent *a)
{
	g_autofree char *token = kept_path(a->options.root, KEPT_TOKEN);
	g_autofree char *certificate = kept_path(a->options.root, KEPT_CERTIFICATE);

	a->power = AGENT_RETIRES;
	if (a->active)
		active_end(a->active);
	g_clear_pointer(&a->token, secret_free);
	explicit_bzero(a->psk_key, sizeof(a->psk_key));
	remove_secret(a->options.token_file);
	remove_secret(token);
	remove_secret(certificate);
}

bool agent_is_authorized(const struct agent *a, const char *token, const char *psk_identity)
{
	/* With a token there is one way into the channel, as if it had come with the boot. */
	if (a->options.by_contact && a->options.transport == TRANSPORT_PSK && !psk_identity)
		return false;
	/* The key of the channel is made of the token: who has it need not show the token again. */
	if (!token && psk_identity)
		return a->token != NULL;
	return token && secret_equal(a->token, token, strlen(token));
}

bool agent_is_introduction(const struct agent *a, const char *body, size_t length)
{
	g_auto(command_request) request = {.body = NULL};
	g_auto(agent_error) unknown = {.type = NULL};

	if (!a->options.by_contact || a->token || a->power != AGENT_STAYS || !body ||
	    !command_request_parse(body, length, &request, NULL))
		return false;
	const struct command_row *row = command_row_find(request.name, &unknown);
	const json_t *info = json_object_get(request.params, "node_info");
	const char *token = json_peek_string(json_peek_object(info, "config"), "agent_token");

	return row && row->run == command_set_node_info && token &&
	       agent_options_is_token(token, strlen(token)) &&
	       agent_check_node(a, json_peek_object(info, "node"), NULL);
}

bool agent_check_node(const struct agent *a, const json_t *node, GError **error)
{
	const char *text = json_peek_string(node, "uuid");
	struct uuid uuid;

	if (!text)
		return inox_error_set(error, INOX_ERROR_INVALID, "The node has no uuid.");
	if (!uuid_parse(text, &uuid, error))
		return false;
	if (uuid_is_set(&a->options.node) && !g_str_equal(uuid.s, a->options.node.s))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "This boot belongs to node %s, not to %s.", a->options.node.s,
				      uuid.s);
	return true;
}

bool agent_cache_node(struct agent *a, const json_t *node, GError **error)
{
	if (!agent_check_node(a, node, error))
		return false;
	json_t *copy = json_copy((json_t *)(uintptr_t)node);
	json_t *instance = json_copy(json_peek_object(node, "instance_info"));

	/* The config drive may be tens of megabytes, and no command looks for it here. */
	if (instance && json_object_del(instance, "configdrive") == 0)
		json_object_set(copy, "instance_info", instance);
	json_decref(instance);
	json_decref(a->node);
	a->node = copy;
	return true;
}

bool agent_listen_host(const struct agent *a, char out[static INET6_ADDRSTRLEN])
{
	const struct endpoint *e = &a->options.listen;

	return getnameinfo((const struct sockaddr *)&e->address, e->length, out, INET6_ADDRSTRLEN,
			   NULL, 0, NI_NUMERICHOST) == 0 &&
	       !g_str_equal(out, "::") && !g_str_equal(out, "0.0.0.0");
}

bool agent_is_machine(const struct agent *a)
{
	return g_str_equal(a->options.root, "/");
}
