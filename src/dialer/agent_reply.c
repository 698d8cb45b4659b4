#include "agent_reply.h"

#include <math.h>
#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"

/* 2001 to 2286 in milliseconds; an agent's clock may be wrong, but not its type. */
#define STARTED_MOST_S 1e10

static json_t *parse_object(const char *body, size_t length, size_t limit, const char *what,
			    GError **error)
{
	json_t *value = json_parse_limited(body, length, limit, what, error);

	if (value && !json_is_object(value)) {
		inox_error_set(error, INOX_ERROR_PEER, "%s is a JSON %s instead of an object", what,
			       json_type_text(value));
		json_decref(value);
		return NULL;
	}
	/* Whatever is wrong with it, the agent is the one that broke the protocol. */
	if (!value && error && *error && (*error)->code == INOX_ERROR_INVALID)
		(*error)->code = INOX_ERROR_PEER;
	return value;
}

static bool is_plain(const char *text, const char *also)
{
	for (const char *c = text; *c; c++)
		if (!g_ascii_isalnum(*c) && !strchr(also, *c))
			return false;
	return *text;
}

static bool has_capability(const json_t *status, const char *wanted)
{
	size_t i;
	json_t *entry;

	json_array_foreach(json_peek_array(status, "capabilities"), i, entry) {
		const char *text = json_string_value(entry);

		if (text && strcmp(text, wanted) == 0)
			return true;
	}
	return false;
}

bool agent_reply_status(const char *body, size_t length, struct agent_status *ret_status,
			GError **error)
{
	g_autoptr(json_t) o =
		parse_object(body, length, LIMIT_AGENT_REPLY, "the agent's status", error);

	if (!o)
		return false;
	const char *version = json_peek_string(o, "version");
	const json_t *started = json_object_get(o, "started_at");
	const char *agent = json_peek_string(o, "agent");
	struct agent_status s = {.own_agent = (agent && strcmp(agent, "inox-agent") == 0) ||
					      has_capability(o, "passive")};

	if (!version || strlen(version) > AGENT_VERSION_MAX || !is_plain(version, ".+-_~"))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the agent's status has no version of 1 to %d plain "
				      "characters",
				      AGENT_VERSION_MAX);
	if (!json_is_number(started))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the agent's status has no number in started_at");
	double seconds = json_number_value(started);

	if (!isfinite(seconds) || seconds < 0 || seconds > STARTED_MOST_S)
		return inox_error_set(error, INOX_ERROR_PEER,
				      "started_at in the agent's status is not a time");
	g_strlcpy(s.version, version, sizeof(s.version));
	s.started_ms = (uint64_t)(seconds * 1000);
	*ret_status = s;
	return true;
}

/* "message: details" of a RESTError object, cleaned. */
static char *error_sentence(const json_t *fault)
{
	const char *message = json_peek_string(fault, "message");
	const char *details = json_peek_string(fault, "details");
	g_autofree char *all = NULL;

	if (!json_is_object(fault))
		all = g_strdup("the agent gave no reason");
	else if (message && details && *details)
		all = g_strdup_printf("%s: %s", message, details);
	else
		all = g_strdup(message ? message : details ? details : "the agent gave no reason");
	return log_clean_text(all, strlen(all), AGENT_REASON_MAX);
}

static uint64_t get_count(const json_t *object, const char *key)
{
	return (uint64_t)MAX(json_peek_integer(object, key, 0), 0);
}

static bool read_name(const json_t *o, struct agent_result *r, GError **error)
{
	const char *name = json_peek_string(o, "command_name");
	const char *dot = name ? strchr(name, '.') : NULL;
	const char *rest = dot ? dot + 1 : name;

	if (!rest || strlen(rest) > AGENT_COMMAND_NAME_MAX || !is_plain(rest, "_.-"))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "a command of the agent has no command_name of 1 to %d plain "
				      "characters",
				      AGENT_COMMAND_NAME_MAX);
	g_strlcpy(r->name, rest, sizeof(r->name));
	return true;
}

/* Everything but the texts, which are made only when nothing is wrong any more. */
static bool read_fixed(const json_t *o, struct agent_result *r, GError **error)
{
	const char *id = json_peek_string(o, "id");
	const char *status = json_peek_string(o, "command_status");
	const json_t *progress = json_peek_object(o, "progress");
	int parsed = status ? command_status_parse(status) : -1;

	if (!id || !uuid_parse(id, &r->id, NULL))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "a command of the agent has no UUID in id");
	if (!read_name(o, r, error))
		return false;
	if (parsed < 0 || parsed == COMMAND_UNKNOWN)
		return inox_error_set(
			error, INOX_ERROR_PEER,
			"command_status of a command of the agent is none of RUNNING, "
			"SUCCEEDED, FAILED and CLEAN_VERSION_MISMATCH");
	r->status = (enum command_status)parsed;
	r->done = get_count(progress, "done");
	r->total = get_count(progress, "total");
	return true;
}

static char *reason_of(const json_t *o, enum command_status status)
{
	return status == COMMAND_FAILED || status == COMMAND_VERSION_MISMATCH
		       ? error_sentence(json_object_get(o, "command_error"))
		       : g_strdup("");
}

bool agent_reply_result(const char *body, size_t length, size_t limit,
			struct agent_result *ret_result, GError **error)
{
	g_autoptr(json_t) o =
		parse_object(body, length, limit, "the agent's answer to a command", error);
	struct agent_result r = {.reason = NULL};

	if (!o || !read_fixed(o, &r, error))
		return false;
	const json_t *outcome = json_object_get(o, "command_result");

	r.outcome = !outcome || json_is_null(outcome) ? g_strdup("") : json_print_compact(outcome);
	if (strlen(r.outcome) > limit) {
		g_free(r.outcome);
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "command_result of the agent is larger than %zu bytes",
				      limit);
	}
	r.reason = reason_of(o, r.status);
	*ret_result = r;
	return true;
}

void agent_result_clear(struct agent_result *r)
{
	g_clear_pointer(&r->reason, g_free);
	g_clear_pointer(&r->outcome, g_free);
}

/* One entry of the list, NULL if it is malformed. */
static json_t *list_entry(const json_t *o, GError **error)
{
	struct agent_result r = {.reason = NULL};
	json_t *outcome = json_object_get(o, "command_result");

	if (!json_is_object(o)) {
		inox_error_set(error, INOX_ERROR_PEER,
			       "a command in the agent's list is a JSON %s instead of an object",
			       json_type_text(o));
		return NULL;
	}
	if (!read_fixed(o, &r, error))
		return NULL;
	g_autofree char *reason = reason_of(o, r.status);

	return json_pack("{s:s, s:s, s:s, s:s, s:O?}", "id", r.id.s, "name", r.name, "status",
			 command_status_text(r.status), "reason", reason, "outcome", outcome);
}

char *agent_reply_list(const char *body, size_t length, size_t limit, GError **error)
{
	g_autoptr(json_t) o = parse_object(body, length, limit, "the agent's command list", error);
	const json_t *commands = o ? json_peek_array(o, "commands") : NULL;
	g_autoptr(json_t) list = json_array();
	size_t i;
	json_t *command;

	if (!o)
		return NULL;
	if (!commands) {
		inox_error_set(error, INOX_ERROR_PEER,
			       "the agent's command list has no array in commands");
		return NULL;
	}
	json_array_foreach(commands, i, command) {
		json_t *entry = list_entry(command, error);

		if (!entry)
			return NULL;
		json_array_append_new(list, entry);
	}
	return json_print_compact(list);
}

char *agent_reply_fault(int status, const char *body, size_t length, bool *ret_busy)
{
	g_autoptr(json_t) o =
		json_parse_limited(body, length, LIMIT_AGENT_REPLY, "the fault", NULL);
	const char *sentence = json_peek_string(o, "faultstring");
	g_autofree char *lower = g_ascii_strdown(sentence ? sentence : "", -1);

	*ret_busy = status == 409 || strstr(lower, "agent is busy");
	if (status >= 300 && status < 400)
		return g_strdup_printf("HTTP %d: the agent redirects, which agents never do",
				       status);
	if (!sentence)
		return g_strdup_printf("HTTP %d without a JSON faultstring", status);
	g_autofree char *clean = log_clean_text(sentence, strlen(sentence), AGENT_REASON_MAX - 32);

	return g_strdup_printf("HTTP %d: %s", status, clean);
}
