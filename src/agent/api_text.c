#include "api_text.h"

#include <string.h>

#include "agent_options.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"

#define MASK           "******"
#define HEARTBEAT_MOST 86400
#define FAULT_MOST     400
#define MINOR_MOST     9999

unsigned api_text_minor(const char *body, size_t length)
{
	g_autoptr(json_t) root =
		json_parse_limited(body, length, LIMIT_AGENT_REPLY, "the API's root", NULL);
	const char *text = json_peek_string(json_peek_object(root, "default_version"), "version");
	guint64 minor;

	if (!text || !g_str_has_prefix(text, "1.") ||
	    !g_ascii_string_to_unsigned(text + 2, 10, 1, MINOR_MOST, &minor, NULL))
		return API_MINOR_UNKNOWN;
	return (unsigned)minor;
}

/* A token is adopted from 32 characters on; everything else is no token. */
static void take_token(struct lookup_answer *a, const char *text)
{
	a->token_masked = g_strcmp0(text, MASK) == 0;
	if (text && agent_options_is_token(text, strlen(text)))
		a->token = secret_new(text);
}

bool lookup_answer_parse(const char *body, size_t length, struct lookup_answer *ret_answer,
			 GError **error)
{
	g_autoptr(json_t) root = json_parse_limited(body, length, LIMIT_LOOKUP_ANSWER,
						    "the answer to the look-up", error);
	json_t *node = json_peek_object(root, "node"), *settings = json_peek_object(root, "config");
	g_auto(lookup_answer) a = {.node_json = NULL};
	const char *uuid = json_peek_string(node, "uuid");
	/* Very old APIs keep it beside the node. */
	int64_t seconds = json_peek_integer(settings ? settings : root, "heartbeat_timeout", 0);

	if (!root)
		return false;
	if (!uuid)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the answer to the look-up has no node with a uuid");
	if (!uuid_parse(uuid, &a.node, error)) {
		g_prefix_error(error, "the answer to the look-up: ");
		return false;
	}
	if (seconds < 1 || seconds > HEARTBEAT_MOST)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the answer to the look-up has no heartbeat_timeout of 1 to %d "
			"seconds",
			HEARTBEAT_MOST);
	a.heartbeat_timeout_s = (unsigned)seconds;
	a.node_json = json_incref(node);
	take_token(&a, json_peek_string(settings, "agent_token"));
	*ret_answer = a;
	a = (struct lookup_answer){.node_json = NULL};
	return true;
}

void lookup_answer_clear(struct lookup_answer *a)
{
	json_decref(a->node_json);
	secret_free(a->token);
	*a = (struct lookup_answer){.node_json = NULL};
}

/* {"error_message": X}: X is an object, or the text of one; or the object itself. */
char *api_text_fault(const char *body, size_t length)
{
	g_autoptr(json_t) root =
		json_parse_limited(body, length, LIMIT_AGENT_REPLY, "the fault", NULL);
	const char *packed = json_peek_string(root, "error_message");
	g_autoptr(json_t) unpacked =
		packed ? json_parse_limited(packed, strlen(packed), LIMIT_AGENT_REPLY, "the fault",
					    NULL)
		       : NULL;
	const json_t *inner = json_peek_object(root, "error_message");
	const json_t *fault = unpacked ? unpacked : inner ? inner : root;
	const char *text = json_peek_string(fault, "faultstring");

	if (!text)
		text = json_peek_string(fault, "title");
	return text ? log_clean_text(text, strlen(text), FAULT_MOST) : NULL;
}
