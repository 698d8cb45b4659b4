#include "jsons.h"

#include <string.h>

#include "errors.h"
#include "limit.h"

/* jansson's own depth limit is 2048 and fixed when it was built, so depth is counted first. */
static bool depth_is_bounded(const char *text, size_t length)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > LIMIT_JSON_DEPTH)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

json_t *json_parse_limited(const char *text, size_t length, size_t limit, const char *what,
			   GError **error)
{
	json_error_t reason;

	if (length > limit) {
		inox_error_set(error, INOX_ERROR_LIMIT, "%s is larger than %zu bytes", what, limit);
		return NULL;
	}
	if (!depth_is_bounded(text, length)) {
		inox_error_set(error, INOX_ERROR_LIMIT, "%s is nested deeper than %d levels", what,
			       LIMIT_JSON_DEPTH);
		return NULL;
	}
	json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &reason);
	if (!value)
		inox_error_set(error, INOX_ERROR_INVALID,
			       "%s is not valid JSON: %s at line %d column %d", what, reason.text,
			       reason.line, reason.column);
	return value;
}

static char *print(const json_t *value, size_t flags)
{
	char *text = json_dumps(value, flags | JSON_ENCODE_ANY);

	if (!text)
		g_error("a JSON value cannot be printed");
	/* jansson and GLib share malloc, so g_free() frees what json_dumps() returned. */
	return text;
}

char *json_print_python(const json_t *value)
{
	return print(value, JSON_ENSURE_ASCII);
}

char *json_print_compact(const json_t *value)
{
	return print(value, JSON_COMPACT);
}

const char *json_peek_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

json_t *json_peek_object(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	return json_is_object(value) ? value : NULL;
}

json_t *json_peek_array(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	return json_is_array(value) ? value : NULL;
}

int64_t json_peek_integer(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? (int64_t)json_integer_value(value) : otherwise;
}

bool json_peek_bool(const json_t *object, const char *key, bool otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

const char *json_type_text(const json_t *value)
{
	if (!value)
		return "nothing";
	switch (json_typeof(value)) {
	case JSON_OBJECT: return "object";
	case JSON_ARRAY: return "array";
	case JSON_STRING: return "string";
	case JSON_INTEGER: return "integer";
	case JSON_REAL: return "number";
	case JSON_TRUE:
	case JSON_FALSE: return "boolean";
	case JSON_NULL: return "null";
	}
	return "unknown";
}
