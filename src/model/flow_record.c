#include "flow_record.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"

/* Room for every addition that a fold makes. */
#define NUMBER_MOST ((json_int_t)1 << 62)

const struct step_words deploy_words = {
	.kind = "deploy",
	.steps = "deploy_steps",
	.wanted = "user_deploy_steps",
	.get = "deploy.get_deploy_steps",
	.execute = "deploy.execute_deploy_step",
	.version = "deploy_version",
};

const struct step_words clean_words = {
	.kind = "clean",
	.steps = "clean_steps",
	.wanted = "user_clean_steps",
	.get = "clean.get_clean_steps",
	.execute = "clean.execute_clean_step",
	.version = "clean_version",
};

const struct phase_info phase_info[PHASE_COUNT] = {
#define OPERATION(name, text, end)
#define PHASE(op, name, phase_text, phase_state, phase_action, phase_limit, phase_attempts, \
	      phase_flags, phase_step, phase_priority, phase_what)                          \
	[PHASE_##op##_##name] = {                                                           \
		.operation = OPERATION_##op,                                                \
		.text = (phase_text),                                                       \
		.state = STATE_##phase_state,                                               \
		.action = ACTION_##phase_action,                                            \
		.limit = LIMIT_##phase_limit,                                               \
		.attempts = (phase_attempts),                                               \
		.flags = (phase_flags),                                                     \
		.step = (phase_step),                                                       \
		.priority = (phase_priority),                                               \
		.what = (phase_what),                                                       \
	},
#include "phases.def"
#undef OPERATION
#undef PHASE
};

const struct action_info action_info[ACTION_COUNT] = {
#define ACTION(name, action_answer, action_watch) \
	[ACTION_##name] = {.answer = EVENT_##action_answer, .watch = (action_watch)},
#include "actions.def"
#undef ACTION
};

/* The row behind an OPERATION line is its first phase: the lines of phases.def are numbered through. */
enum line {
	LINE_START,
#define OPERATION(name, text, end) LINE_##name, LINE_BACK_##name = LINE_##name - 1,
#define PHASE(op, name, text, state, action, limit, attempts, flags, step, priority, what) \
	LINE_##op##_##name,
#include "phases.def"
#undef OPERATION
#undef PHASE
};

const struct operation_info operation_info[OPERATION_COUNT] = {
#define OPERATION(name, operation_text, operation_end)  \
	[OPERATION_##name] = {.text = (operation_text), \
			      .end = (operation_end),   \
			      .first = (enum phase)LINE_##name},
#define PHASE(op, name, text, state, action, limit, attempts, flags, step, priority, what)
#include "phases.def"
#undef OPERATION
#undef PHASE
};

enum phase flow_phase_after(enum phase p)
{
	if (p == PHASE_NONE || p + 1 == PHASE_COUNT ||
	    phase_info[p + 1].operation != phase_info[p].operation)
		return PHASE_NONE;
	return p + 1;
}

/* "deploy/first contact" */
static bool parse_phase(const json_t *value, enum phase *ret_phase)
{
	const char *text = json_string_value(value);
	const char *slash = text ? strchr(text, '/') : NULL;

	if (!slash)
		return false;
	for (unsigned p = PHASE_NONE + 1; p < PHASE_COUNT; p++) {
		const char *op = operation_info[phase_info[p].operation].text;
		size_t length = (size_t)(slash - text);

		if (strlen(op) == length && strncmp(op, text, length) == 0 &&
		    strcmp(phase_info[p].text, slash + 1) == 0) {
			*ret_phase = p;
			return true;
		}
	}
	return false;
}

static bool parse_int(const json_t *value, int64_t *ret_number)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > NUMBER_MOST)
		return false;
	*ret_number = json_integer_value(value);
	return true;
}

static bool parse_field_PHASE(const json_t *value, enum phase *ret)
{
	return parse_phase(value, ret);
}

static bool parse_field_INT(const json_t *value, int64_t *ret)
{
	return parse_int(value, ret);
}

static bool parse_field_TIME(const json_t *value, struct wall *ret)
{
	return parse_int(value, &ret->us);
}

static bool parse_field_BOOL(const json_t *value, bool *ret)
{
	*ret = json_is_true(value);
	return json_is_boolean(value);
}

static bool parse_field_TEXT(const json_t *value, char **ret)
{
	g_free(*ret);
	*ret = g_strdup(json_string_value(value));
	return *ret;
}

static bool parse_field(struct flow *f, const char *key, const json_t *value)
{
#define FIELD(kind, name)            \
	if (strcmp(key, #name) == 0) \
		return parse_field_##kind(value, &f->name);
#include "flow.def"
#undef FIELD
	return false;
}

bool flow_parse(const json_t *object, struct flow *ret_flow, GError **error)
{
	g_auto(flow) f = {.phase = PHASE_NONE};
	const char *key;
	json_t *value;
	/* jansson's iteration takes a pointer that is not const, but changes nothing. */
	void *iter = json_object_iter((json_t *)(uintptr_t)object);

	for (; iter; iter = json_object_iter_next((json_t *)(uintptr_t)object, iter)) {
		key = json_object_iter_key(iter);
		value = json_object_iter_value(iter);
		if (!parse_field(&f, key, value))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "the flow's \"%s\" does not fit", key);
	}
	if (f.phase == PHASE_NONE && json_object_size(object) > 0)
		return inox_error_set(error, INOX_ERROR_INVALID, "the flow has no phase");
	*ret_flow = f;
	f = (struct flow){.phase = PHASE_NONE};
	return true;
}

static void print_field_PHASE(json_t *object, const char *key, enum phase p)
{
	json_object_set_new(object, key,
			    json_sprintf("%s/%s", operation_info[phase_info[p].operation].text,
					 phase_info[p].text));
}

static void print_field_INT(json_t *object, const char *key, int64_t number)
{
	if (number != 0)
		json_object_set_new(object, key, json_integer(number));
}

static void print_field_TIME(json_t *object, const char *key, struct wall t)
{
	print_field_INT(object, key, t.us);
}

static void print_field_BOOL(json_t *object, const char *key, bool value)
{
	if (value)
		json_object_set_new(object, key, json_true());
}

static void print_field_TEXT(json_t *object, const char *key, const char *text)
{
	if (text)
		json_object_set_new(object, key, json_string(text));
}

json_t *flow_print(const struct flow *f)
{
	json_t *object = json_object();

	if (f->phase == PHASE_NONE)
		return object;
#define FIELD(kind, name) print_field_##kind(object, #name, f->name);
#include "flow.def"
#undef FIELD
	return object;
}

static void clear_field_PHASE(enum phase *p)
{
	*p = PHASE_NONE;
}

static void clear_field_INT(int64_t *number)
{
	*number = 0;
}

static void clear_field_TIME(struct wall *t)
{
	t->us = 0;
}

static void clear_field_BOOL(bool *value)
{
	*value = false;
}

static void clear_field_TEXT(char **text)
{
	g_clear_pointer(text, g_free);
}

void flow_clear(struct flow *f)
{
#define FIELD(kind, name) clear_field_##kind(&f->name);
#include "flow.def"
#undef FIELD
}
