/* Setting an attribute: from JSON, and from a database column by the same setters. */
#include <string.h>

#include "attr_field.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"

#define YEAR_10000_US (INT64_C(253402300800) * 1000000)

/* The types of Ironic's schemas; driver, address and node_uuid are the ones that take no null. */
static const char *types_of(const struct attr *a)
{
	bool required = a->flags & A_REQUIRED;

	switch (a->kind) {
	case ATTR_BOOL:
	case ATTR_TRI: return "'string', 'boolean', 'null'";
	case ATTR_INT: return "'integer'";
	case ATTR_JSON: return "'object', 'null'";
	case ATTR_LIST: return "'array', 'null'";
	case ATTR_TEXT:
	case ATTR_UUID:
	case ATTR_ENUM:
	case ATTR_TIME:
	case ATTR_MAC: return required ? "'string'" : "'string', 'null'";
	}
	g_assert_not_reached();
}

static bool refuse_type(const struct attr_table *t, const struct attr *a, const json_t *value,
			GError **error)
{
	/* What was meant to be a dictionary of credentials is not repeated. */
	g_autofree char *shown =
		a->flags & (A_MASK | A_SEAL) ? g_strdup("'******'") : attr_repr(value);

	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Schema error for %s: %s is not of type %s", t->noun, shown,
			      types_of(a));
}

/* `text` is valid UTF-8. */
static bool set_text(const struct attr_table *t, const struct attr *a, char **field,
		     const char *text, size_t length, GError **error)
{
	if (memchr(text, '\0', length))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for %s: %s has a NUL character", t->noun,
				      a->name);
	if (a->limit > 0 && length > a->limit)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for %s: %s is longer than %zu bytes", t->noun,
				      a->name, a->limit);
	g_free(*field);
	*field = g_strndup(text, length);
	return true;
}

static bool set_bool(const struct attr *a, const json_t *value, bool *ret, GError **error)
{
	static const char *const yes[] = {"1", "t", "true", "on", "y", "yes", NULL};
	static const char *const no[] = {"0", "f", "false", "off", "n", "no", NULL};

	if (json_is_boolean(value)) {
		*ret = json_is_true(value);
		return true;
	}
	g_autofree char *word = g_ascii_strdown(json_string_value(value), -1);

	if (!g_strv_contains(yes, word) && !g_strv_contains(no, word)) {
		g_autofree char *shown = attr_repr(value);

		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Invalid %s: Unrecognized value %s, acceptable values are: "
				      "'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', "
				      "'true', 'y', 'yes'",
				      a->name, shown);
	}
	*ret = g_strv_contains(yes, word);
	return true;
}

/* "<before> <attribute>: <text>", the text cut and cleaned. */
static bool refuse_text(const char *before, const struct attr *a, const char *text, GError **error)
{
	g_autofree char *shown = log_clean_text(text, strlen(text), 64);

	return inox_error_set(error, INOX_ERROR_INVALID, "%s %s: %s", before, a->name, shown);
}

/* Colons only, as Ironic; mac_parse() takes more. */
static bool parse_mac(const char *text, struct mac *ret)
{
	return !strchr(text, '-') && mac_parse(text, ret, NULL);
}

static bool parse_enum(const struct attr *a, const char *text, int *ret)
{
	int number = a->enum_parse(text);

	if (number < 0)
		return false;
	*ret = number;
	return true;
}

static bool parse_time(const char *text, struct wall *ret)
{
	char back[WALL_TEXT];
	g_autofree char *seconds = g_strdup_printf("%.19sZ", text);
	g_autoptr(GDateTime) date =
		strlen(text) == WALL_TEXT - 1 ? g_date_time_new_from_iso8601(seconds, NULL) : NULL;
	guint64 us = 0;

	if (!date || !g_ascii_isdigit(text[20]))
		return false;
	us = g_ascii_strtoull(text + 20, NULL, 10);

	struct wall time = {g_date_time_to_unix(date) * 1000000 + (int64_t)us};

	if (time.us <= 0 || time.us >= YEAR_10000_US)
		return false;
	/* Printing it again is the strict check of every separator and digit. */
	wall_print(time, back);
	if (strcmp(back, text) != 0)
		return false;
	*ret = time;
	return true;
}

/* The kinds that are one word of text. */
static bool set_word(const struct attr *a, void *field, const char *text, GError **error)
{
	switch (a->kind) {
	case ATTR_UUID:
		return uuid_parse(text, field, NULL) ||
		       refuse_text("Expected UUID for", a, text, error);
	case ATTR_MAC:
		return parse_mac(text, field) ||
		       refuse_text("Expected valid MAC address for", a, text, error);
	case ATTR_ENUM:
		return parse_enum(a, text, field) ||
		       refuse_text("Unknown value for", a, text, error);
	case ATTR_TIME:
		return parse_time(text, field) ||
		       refuse_text("Expected a time like 2026-11-21T19:55:47.438804+00:00 for", a,
				   text, error);
	case ATTR_TEXT:
	case ATTR_BOOL:
	case ATTR_TRI:
	case ATTR_INT:
	case ATTR_JSON:
	case ATTR_LIST: break;
	}
	g_assert_not_reached();
}

/* Counts no further than `left` levels. */
static bool json_is_shallow(const json_t *value, unsigned left)
{
	const json_t *member;
	const char *key;
	size_t i;

	if (!json_is_object(value) && !json_is_array(value))
		return true;
	if (left == 0)
		return false;
	json_object_foreach((json_t *)(uintptr_t)value, key, member)
		if (!json_is_shallow(member, left - 1))
			return false;
	json_array_foreach(value, i, member)
		if (!json_is_shallow(member, left - 1))
			return false;
	return true;
}

static bool json_fits(const struct attr *a, const json_t *value, GError **error)
{
	size_t limit = a->limit > 0 ? a->limit : LIMIT_NODE_JSON;

	if (!json_is_shallow(value, LIMIT_JSON_DEPTH))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "%s is nested deeper than %d levels", a->name,
				      LIMIT_JSON_DEPTH);
	if (json_dumpb(value, NULL, 0, JSON_COMPACT) > limit)
		return inox_error_set(error, INOX_ERROR_INVALID, "%s is larger than %zu bytes",
				      a->name, limit);
	return true;
}

/* Takes the reference. */
static void set_json(json_t **field, json_t *value)
{
	json_decref(*field);
	*field = value;
}

/* ---- from JSON */

static bool type_fits(enum attr_kind kind, const json_t *value)
{
	switch (kind) {
	case ATTR_BOOL:
	case ATTR_TRI: return json_is_boolean(value) || json_is_string(value);
	case ATTR_INT: return json_is_integer(value);
	case ATTR_JSON: return json_is_object(value);
	case ATTR_LIST: return json_is_array(value);
	case ATTR_TEXT:
	case ATTR_UUID:
	case ATTR_ENUM:
	case ATTR_TIME:
	case ATTR_MAC: return json_is_string(value);
	}
	g_assert_not_reached();
}

bool attr_from_json(const struct attr_table *t, void *object, unsigned attr, const json_t *value,
		    GError **error)
{
	const struct attr *a = &t->attrs[attr];
	void *field = attr_field(a, object);
	bool truth;

	if (json_is_null(value) && !(a->flags & A_REQUIRED)) {
		attr_reset_field(t, object, a);
		return true;
	}
	if (!type_fits(a->kind, value))
		return refuse_type(t, a, value, error);
	switch (a->kind) {
	case ATTR_TEXT:
		return set_text(t, a, field, json_string_value(value), json_string_length(value),
				error);
	case ATTR_UUID:
	case ATTR_ENUM:
	case ATTR_TIME:
	case ATTR_MAC: return set_word(a, field, json_string_value(value), error);
	case ATTR_BOOL: return set_bool(a, value, field, error);
	case ATTR_TRI:
		if (!set_bool(a, value, &truth, error))
			return false;
		*(int *)field = truth;
		return true;
	case ATTR_INT: *(int64_t *)field = json_integer_value(value); return true;
	case ATTR_JSON:
	case ATTR_LIST:
		if (!json_fits(a, value, error))
			return false;
		set_json(field, json_deep_copy(value));
		return true;
	}
	g_assert_not_reached();
}

/* ---- from a database column */

static bool refuse_column(const struct attr *a, const char *why, GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID, "%s %s", a->name, why);
}

static bool from_integer(const struct attr *a, void *field, int64_t number, GError **error)
{
	switch (a->kind) {
	case ATTR_BOOL:
	case ATTR_TRI:
		if (number != 0 && number != 1)
			return refuse_column(a, "is neither 0 nor 1", error);
		if (a->kind == ATTR_BOOL)
			*(bool *)field = number;
		else
			*(int *)field = (int)number;
		return true;
	case ATTR_INT: *(int64_t *)field = number; return true;
	case ATTR_TIME:
		if (number <= 0 || number >= YEAR_10000_US)
			return refuse_column(a, "is no time of the years 1970 to 9999", error);
		*(struct wall *)field = (struct wall){number};
		return true;
	case ATTR_TEXT:
	case ATTR_UUID:
	case ATTR_ENUM:
	case ATTR_JSON:
	case ATTR_LIST:
	case ATTR_MAC: break;
	}
	return refuse_column(a, "is an integer, not a text", error);
}

static bool from_json_text(const struct attr_table *t, const struct attr *a, void *field,
			   const struct attr_value *value, GError **error)
{
	size_t limit = a->limit > 0 ? a->limit : LIMIT_NODE_JSON;
	g_autoptr(json_t) json =
		json_parse_limited(value->text, value->length, limit, a->name, error);

	if (!json)
		return false;
	if (!type_fits(a->kind, json))
		return refuse_type(t, a, json, error);
	set_json(field, g_steal_pointer(&json));
	return true;
}

static bool from_text(const struct attr_table *t, const struct attr *a, void *field,
		      const struct attr_value *value, GError **error)
{
	if (!g_utf8_validate_len(value->text, value->length, NULL))
		return refuse_column(a, "is not valid UTF-8", error);
	switch (a->kind) {
	case ATTR_TEXT: return set_text(t, a, field, value->text, value->length, error);
	case ATTR_JSON:
	case ATTR_LIST: return from_json_text(t, a, field, value, error);
	case ATTR_UUID:
	case ATTR_ENUM:
	case ATTR_MAC: {
		g_autofree char *word = g_strndup(value->text, value->length);

		return set_word(a, field, word, error);
	}
	case ATTR_BOOL:
	case ATTR_TRI:
	case ATTR_INT:
	case ATTR_TIME: break;
	}
	return refuse_column(a, "is a text, not an integer", error);
}

bool attr_from_value(const struct attr_table *t, void *object, unsigned attr,
		     const struct attr_value *value, GError **error)
{
	const struct attr *a = &t->attrs[attr];
	void *field = attr_field(a, object);

	switch (value->type) {
	case ATTR_VALUE_NULL:
		if (!(a->flags & A_NULL))
			return refuse_column(a, "is NULL", error);
		attr_clear_field(a, field);
		attr_init_field(a, field);
		return true;
	case ATTR_VALUE_INTEGER: return from_integer(a, field, value->integer, error);
	case ATTR_VALUE_TEXT: return from_text(t, a, field, value, error);
	}
	g_assert_not_reached();
}
