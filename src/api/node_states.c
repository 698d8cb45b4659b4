/* PUT and GET of /v1/nodes/<node>/states/..., maintenance, validate, flow. */
#include <stdint.h>
#include <string.h>

#include "agents.h"
#include "config_drive.h"
#include "deployment.h"
#include "flow.h"
#include "hardware.h"
#include "limit.h"
#include "nodes.h"
#include "seal.h"
#include "steps_schema.h"

#define EVENT_BIT(name) (1u << STATE_EVENT_##name)

/* A key of the provision body beside "target". */
struct argument {
	const char *key;
	unsigned since;
	unsigned verbs; /* events that take it */
	unsigned needed;
	const char *misplaced; /* sentence for other verbs */
	const char *missing;
	unsigned late_verbs,
		late_since; /* of `verbs`: those that take it from a later version on */
};

static const struct argument arguments[] = {
	{"configdrive", 1, EVENT_BIT(DEPLOY) | EVENT_BIT(REBUILD), 0,
	 "Adding a config drive is only supported when setting provision state to active, rebuild",
	 NULL},
	{"clean_steps", 15, EVENT_BIT(CLEAN), EVENT_BIT(CLEAN),
	 "\"clean_steps\" is only valid when setting target provision state to clean",
	 "\"clean_steps\" is required when setting target provision state to clean"},
	{"rescue_password", 38, EVENT_BIT(RESCUE), EVENT_BIT(RESCUE),
	 "\"rescue_password\" is only valid when setting target provision state to rescue",
	 "A non-empty \"rescue_password\" is required when setting target provision state to "
	 "rescue"},
	{"deploy_steps", 69, EVENT_BIT(DEPLOY) | EVENT_BIT(REBUILD), 0,
	 "\"deploy_steps\" is only valid when setting target provision state to active or rebuild",
	 NULL},
	{"disable_ramdisk", 70, EVENT_BIT(CLEAN) | EVENT_BIT(SERVICE), 0,
	 "disable_ramdisk is supported only with manual cleaning or servicing", NULL,
	 EVENT_BIT(SERVICE), 108},
	{"service_steps", 87, EVENT_BIT(SERVICE), EVENT_BIT(SERVICE),
	 "\"service_steps\" is only valid when setting target provision state to service",
	 "\"service_steps\" is required when setting target provision state to service"},
};

static bool refuse_state(const struct node *n, const char *verb, GError **error)
{
	/* A locked node will be in another state soon: clients retry a 409. */
	if (!request_check_unlocked(n, error))
		return false;
	return inox_error_set(
		error, INOX_ERROR_INVALID,
		"The requested action \"%s\" can not be performed on node \"%s\" while it is in "
		"state \"%s\".",
		verb, n->uuid.s, provision_state_text((unsigned)n->provision_state));
}

static bool is_blank(const json_t *value)
{
	if (!value || json_is_null(value))
		return true;
	if (json_is_string(value))
		return *json_string_value(value) == '\0';
	return json_is_array(value) && json_array_size(value) == 0;
}

static bool check_arguments(const struct request *rq, enum state_event verb, GError **error)
{
	const char *runbook = json_peek_string(rq->body, "runbook");

	for (size_t i = 0; i < G_N_ELEMENTS(arguments); i++) {
		const struct argument *a = &arguments[i];
		const json_t *value = json_object_get(rq->body, a->key);

		if (value && rq->minor < a->since)
			return api_error_set_too_old(error);
		if (is_blank(value) && a->needed & 1u << verb && !runbook)
			return inox_error_set(error, INOX_ERROR_INVALID, "%s", a->missing);
		if (!is_blank(value) && !(a->verbs & 1u << verb))
			return inox_error_set(error, INOX_ERROR_INVALID, "%s", a->misplaced);
		if (!is_blank(value) && a->late_verbs & 1u << verb && rq->minor < a->late_since)
			return api_error_set_too_old(error);
	}
	const json_t *bare = json_object_get(rq->body, "disable_ramdisk");

	if (!is_blank(bare) && !json_is_boolean(bare))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "disable_ramdisk must be true or false, and not a %s",
				      json_type_text(bare));
	if (runbook && rq->minor < 92)
		return api_error_set_too_old(error);
	if (runbook)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "Runbook %s could not be found.",
				      runbook);
	return true;
}

static bool text_is_base64(const char *text)
{
	size_t digits = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/\r\n");

	return text[digits + strspn(text + digits, "=\r\n")] == '\0';
}

/* *ret_text is NULL when the request has no config drive; the caller frees it. */
static bool parse_config_drive(const struct request *rq, enum state_event verb, char **ret_text,
			       GError **error)
{
	const json_t *value = json_object_get(rq->body, "configdrive");
	const char *text = json_string_value(value);

	*ret_text = NULL;
	if (is_blank(value))
		return true;
	if (verb == STATE_EVENT_REBUILD && rq->minor < 35)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Adding a config drive is only supported when setting "
				      "provision state to active");
	if (json_is_object(value) && rq->minor >= 56 &&
	    (rq->minor >= 59 || !json_object_get(value, "vendor_data"))) {
		*ret_text =
			config_drive_from_object(value, rq->node->uuid.s, rq->node->name, error);
		return *ret_text != NULL;
	}
	if (!text || (!g_str_has_prefix(text, "http://") && !g_str_has_prefix(text, "https://") &&
		      !text_is_base64(text)))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"Invalid configdrive format: it is neither a JSON, nor a URL, "
			"nor a base64 string");
	*ret_text = g_strdup(text);
	return true;
}

static bool is_white(const char *text)
{
	while (g_ascii_isspace(*text))
		text++;
	return *text == '\0';
}

/* *ret_sealed is NULL when the request has no password; the caller frees it.  No sentence shows it. */
static bool parse_rescue_password(const struct request *rq, enum state_event verb,
				  char **ret_sealed, GError **error)
{
	const json_t *value = json_object_get(rq->body, RESCUE_PASSWORD);

	*ret_sealed = NULL;
	if (verb != STATE_EVENT_RESCUE)
		return true;
	if (!json_is_string(value))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Expected string for rescue_password.");
	if (is_white(json_string_value(value)))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "A non-empty \"rescue_password\" is required when setting "
				      "target provision state to rescue");
	if (json_string_length(value) >= LIMIT_RESCUE_PASSWORD)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "rescue_password has more than %d bytes",
				      LIMIT_RESCUE_PASSWORD - 1);
	for (const char *at = json_string_value(value); *at; at++)
		if (g_ascii_iscntrl(*at))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "rescue_password has control characters, which "
					      "nobody can type");
	*ret_sealed = seal_text(rq->api->seal, rq->node->uuid.s, json_string_value(value));
	return true;
}

/* The row keeps the config drive in a column of its own; instance_info only shows that there is one. */
static void show_config_drive(struct node *n, attr_set changed)
{
	json_t *shown = json_copy(n->instance_info);

	json_object_set_new(shown, "configdrive", json_string("******"));
	json_decref(n->instance_info);
	n->instance_info = shown;
	attr_set_add(changed, NODE_ATTR_instance_info);
}

/* Each kind of waiting could be aborted from a version of its own on. */
static unsigned abort_since(const struct node *n)
{
	static const unsigned since[STATE_COUNT] = {
		[STATE_RESCUE_WAIT] = 38,  [STATE_INSPECT_WAIT] = 41,   [STATE_SERVICE_WAIT] = 87,
		[STATE_SERVICE_HOLD] = 87, [STATE_SERVICE_FAILED] = 87, [STATE_DEPLOY_WAIT] = 110,
	};

	return since[n->provision_state];
}

/* *ret_verb is what the word asks for, if the node may be asked for it in its state. */
static bool parse_verb(const struct request *rq, enum state_event *ret_verb, GError **error)
{
	const char *word = json_peek_string(rq->body, "target");
	const struct node *n = rq->node;
	enum provision_state next;
	bool known;

	if (!word)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Missing mandatory parameter: target");
	if (!provision_verb_parse(word, rq->minor, ret_verb, &known))
		return known ? api_error_set_too_old(error) : refuse_state(n, word, error);
	if (*ret_verb == STATE_EVENT_ABORT && rq->minor < abort_since(n))
		return api_error_set_too_old(error);
	/* The fold says this too, but only after the arguments were looked at. */
	return provision_state_next((enum provision_state)n->provision_state, *ret_verb, &next) ||
	       refuse_state(n, word, error);
}

static const json_t *chosen_steps(const struct request *rq)
{
	static const char *const keys[] = {"deploy_steps", "clean_steps", "service_steps"};

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		const json_t *steps = json_object_get(rq->body, keys[i]);

		if (!is_blank(steps))
			return steps;
	}
	return NULL;
}

bool node_provision(struct request *rq, GError **error)
{
	enum state_event verb;
	g_autofree char *drive = NULL;
	g_autofree char *password = NULL;
	attr_set changed = {0};

	if (!request_check_keys(rq->body,
				"target,configdrive,clean_steps,rescue_password,deploy_steps,"
				"disable_ramdisk,service_steps,runbook",
				error) ||
	    !parse_verb(rq, &verb, error) || !check_arguments(rq, verb, error) ||
	    !parse_config_drive(rq, verb, &drive, error) ||
	    !parse_rescue_password(rq, verb, &password, error) || !steps_check(rq->body, error))
		return false;
	/* It may have come earlier, as instance_info.configdrive. */
	g_autofree char *kept = drive ? NULL : g_strdup(rq->node->config_drive);
	g_autofree char *url = NULL;
	const struct event ev = {
		.kind = EVENT_VERB,
		.now = wall_now(),
		.host = config_host(rq->api->config),
		.verb = verb,
		.word = json_peek_string(rq->body, "target"),
		.config_drive = drive ? drive : kept,
		.disable_ramdisk = json_is_true(json_object_get(rq->body, "disable_ramdisk")),
		.steps = chosen_steps(rq),
		.rescue_password = password,
		.fast_track = config_bool(rq->api->config, OPTION_deploy_fast_track),
		.fast_track_s = config_patience(rq->api->config, OPTION_deploy_fast_track_timeout),
		.automated_clean = config_bool(rq->api->config, OPTION_conductor_automated_clean),
		.agents = agents_defaults(rq->api->config, &url)};

	if (!node_fold(rq->node, &ev, changed, error))
		return false;
	if (drive)
		show_config_drive(rq->node, changed);
	if (!store_node_update(rq->api->store, rq->node, changed, error))
		return false;
	request_accept(rq, true);
	return true;
}

static bool parse_power_target(const struct request *rq, enum power_target *ret_target,
			       GError **error)
{
	const char *word = json_peek_string(rq->body, "target");
	const struct node *n = rq->node;

	if (!word)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Missing mandatory parameter: target");
	int target = power_target_parse(word);
	bool soft = target == TARGET_SOFT_POWER_OFF || target == TARGET_SOFT_REBOOT;

	if ((soft || json_object_get(rq->body, "timeout")) && rq->minor < 27)
		return api_error_set_too_old(error);
	if (target <= TARGET_NONE)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The requested action \"%s\" can not be performed on node "
				      "\"%s\" while it is in state \"%s\".",
				      word, rq->ident, n->power_state ? n->power_state : "None");
	*ret_target = (enum power_target)target;
	return true;
}

static bool parse_timeout(const struct request *rq, unsigned *ret_timeout, GError **error)
{
	const json_t *value = json_object_get(rq->body, "timeout");
	json_int_t timeout = json_integer_value(value);

	*ret_timeout = 0;
	if (!value || json_is_null(value))
		return true;
	if (!json_is_integer(value) || timeout < 1 || timeout > 86400)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "timeout has to be positive integer");
	*ret_timeout = (unsigned)timeout;
	return true;
}

bool node_power(struct request *rq, GError **error)
{
	struct event ev = {.kind = EVENT_POWER_REQUEST,
			   .now = wall_now(),
			   .host = config_host(rq->api->config)};
	attr_set changed = {0};

	if (!request_check_keys(rq->body, "target,timeout", error) ||
	    !parse_power_target(rq, &ev.power_target, error) ||
	    !parse_timeout(rq, &ev.timeout_s, error))
		return false;
	if (!node_fold(rq->node, &ev, changed, error) ||
	    !store_node_update(rq->api->store, rq->node, changed, error))
		return false;
	request_accept(rq, true);
	return true;
}

bool node_states_show(struct request *rq, GError **error)
{
	static const char *const fields[] = {"console_enabled",
					     "last_error",
					     "power_state",
					     "provision_state",
					     "raid_config",
					     "target_power_state",
					     "target_provision_state",
					     "target_raid_config",
					     "provision_updated_at",
					     "boot_mode",
					     "secure_boot",
					     NULL};

	(void)error;
	rq->reply = node_collection.render(rq, rq->node, A_READ, (char **)(uintptr_t)fields);
	json_object_del(rq->reply, "links");
	return true;
}

static bool set_maintenance(struct request *rq, bool on, const char *reason, GError **error)
{
	struct node *n = rq->node;
	attr_set changed = {0};

	n->maintenance = on;
	g_free(n->maintenance_reason);
	n->maintenance_reason = g_strdup(reason);
	attr_set_add(changed, NODE_ATTR_maintenance);
	attr_set_add(changed, NODE_ATTR_maintenance_reason);
	if (!on) {
		g_clear_pointer(&n->fault, g_free);
		attr_set_add(changed, NODE_ATTR_fault);
	}
	rq->status = 202;
	return store_node_update(rq->api->store, n, changed, error);
}

bool node_maintenance_set(struct request *rq, GError **error)
{
	const json_t *reason = json_object_get(rq->body, "reason");

	if (!request_check_keys(rq->body, "reason", error))
		return false;
	if (reason && !json_is_null(reason) && !json_is_string(reason))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for reason: it is a %s, not of type 'string', "
				      "'null'",
				      json_type_text(reason));
	if (json_string_length(reason) > node_attrs.attrs[NODE_ATTR_maintenance_reason].limit)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for reason: it is longer than %zu bytes",
				      node_attrs.attrs[NODE_ATTR_maintenance_reason].limit);
	return set_maintenance(rq, true, json_string_value(reason), error);
}

bool node_maintenance_clear(struct request *rq, GError **error)
{
	return set_maintenance(rq, false, NULL, error);
}

bool node_validate(struct request *rq, GError **error)
{
	const struct hardware_type *h = node_find_hardware(rq->api->config, rq->node, error);

	g_autofree char *url = NULL;
	const struct agent_defaults agents = agents_defaults(rq->api->config, &url);

	if (!h)
		return false;
	rq->reply = json_object();
	for (enum hardware_kind i = 0; i < HARDWARE_INTERFACES; i++) {
		g_autofree char *problem = hardware_problem(h, i, rq->node, &agents);
		json_t *result = json_pack("{s:b}", "result", problem == NULL);

		if (problem)
			json_object_set_new(result, "reason", json_string(problem));
		if (hardware_interfaces[i].validated)
			json_object_set(rq->reply, hardware_interfaces[i].kind, result);
		json_decref(result);
	}
	return true;
}

bool node_validate_argument(struct request *rq, GError **error)
{
	const char *ident = request_argument(rq, "node");

	if (!ident)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Missing mandatory parameter: node");
	rq->node = store_node_get(rq->api->store, ident, error);
	return rq->node && node_validate(rq, error);
}

bool node_flow_show(struct request *rq, GError **error)
{
	(void)error;
	rq->reply = node_flow_view(rq->node, wall_now());
	agents_show_old(rq);
	return true;
}
