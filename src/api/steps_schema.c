#include "steps_schema.h"

#include <stdint.h>
#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "request.h"

struct step_rules {
	const char *key;
	const char *allowed; /* keys of a step */
	const char *needed;
	bool priority; /* must have one */
};

static const struct step_rules rules[] = {
	{"deploy_steps", "interface,step,args,priority", "interface,step,args,priority", true},
	{"clean_steps",
	 "interface,step,args,order,execute_on_child_nodes,limit_child_node_execution",
	 "interface,step", false},
	{"service_steps",
	 "interface,step,args,order,execute_on_child_nodes,limit_child_node_execution",
	 "interface,step", false},
};

static bool refuse(const struct step_rules *r, GError **error, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

static bool refuse(const struct step_rules *r, GError **error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_autofree char *sentence = g_strdup_vprintf(format, arguments);

	va_end(arguments);
	return inox_error_set(error, INOX_ERROR_INVALID, "Invalid %s: %s", r->key, sentence);
}

static bool check_keys(const struct step_rules *r, const json_t *step, GError **error)
{
	g_auto(GStrv) needed = g_strsplit(r->needed, ",", -1);
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)step, key, value) {
		if (!word_in_list(r->allowed, key))
			return refuse(r, error,
				      "Additional properties are not allowed ('%s' was unexpected)",
				      key);
	}
	for (size_t i = 0; needed[i]; i++)
		if (!json_object_get(step, needed[i]))
			return refuse(r, error, "'%s' is a required property", needed[i]);
	return true;
}

static bool priority_is_valid(const json_t *value)
{
	const char *text = json_string_value(value);

	if (text)
		return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
	return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool check_step(const struct step_rules *r, const json_t *step, GError **error)
{
	static const char interfaces[] = "vendor,power,management,firmware,deploy,bios,raid";

	if (!json_is_object(step))
		return refuse(r, error, "a step is a %s, not of type 'object'",
			      json_type_text(step));
	if (!check_keys(r, step, error))
		return false;
	const char *interface = json_peek_string(step, "interface");
	const char *name = json_peek_string(step, "step");
	const json_t *args = json_object_get(step, "args");

	if (!interface || !word_in_list(interfaces, interface))
		return refuse(r, error,
			      "'%s' is not one of ['vendor', 'power', 'management', 'firmware', "
			      "'deploy', 'bios', 'raid']",
			      interface ? interface : "interface");
	if (!name || !*name)
		return refuse(r, error, "'step' is not a non-empty string");
	if (args && !json_is_object(args))
		return refuse(r, error, "'args' is not of type 'object'");
	if (r->priority && !priority_is_valid(json_object_get(step, "priority")))
		return refuse(r, error, "'priority' is not an integer of 0 or more");
	return true;
}

static bool check_list(const struct step_rules *r, const json_t *steps, GError **error)
{
	if (!steps || json_is_null(steps))
		return true;
	if (!json_is_array(steps))
		return refuse(r, error, "it is a %s, not of type 'array'", json_type_text(steps));
	if (json_array_size(steps) > LIMIT_STEPS)
		return refuse(r, error, "there are more than %d steps", LIMIT_STEPS);
	for (size_t i = 0; i < json_array_size(steps); i++)
		if (!check_step(r, json_array_get(steps, i), error))
			return false;
	return true;
}

bool steps_check(const json_t *body, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
		if (!check_list(&rules[i], json_object_get(body, rules[i].key), error))
			return false;
	return true;
}
