#include "attr.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"

#define YEAR_10000_US (INT64_C(253402300800) * 1000000)

static void *field_of(const struct attr *a, void *object)
{
	return (char *)object + a->offset;
}

static const void *peek_field(const struct attr *a, const void *object)
{
	return (const char *)object + a->offset;
}

static char *peek_text(const void *field)
{
	return *(char *const *)field;
}

static json_t *peek_json(const void *field)
{
	return *(json_t *const *)field;
}

static size_t size_of_kind(enum attr_kind kind)
{
	switch (kind) {
	case ATTR_TEXT: return sizeof(char *);
	case ATTR_UUID: return sizeof(struct uuid);
	case ATTR_BOOL: return sizeof(bool);
	case ATTR_TRI:
	case ATTR_ENUM: return sizeof(int);
	case ATTR_INT: return sizeof(int64_t);
	case ATTR_TIME: return sizeof(struct wall);
	case ATTR_JSON:
	case ATTR_LIST: return sizeof(json_t *);
	case ATTR_MAC: return sizeof(struct mac);
	}
	g_assert_not_reached();
}

/* ---- life of an object */

static void init_field(const struct attr *a, void *field)
{
	switch (a->kind) {
	case ATTR_TEXT: *(char **)field = a->flags & A_NULL ? NULL : g_strdup(""); break;
	case ATTR_TRI: *(int *)field = -1; break;
	case ATTR_JSON: *(json_t **)field = json_object(); break;
	case ATTR_LIST: *(json_t **)field = json_array(); break;
	case ATTR_UUID:
	case ATTR_BOOL:
	case ATTR_ENUM:
	case ATTR_INT:
	case ATTR_TIME:
	case ATTR_MAC: memset(field, 0, size_of_kind(a->kind)); break;
	}
}

static void clear_field(const struct attr *a, void *field)
{
	if (a->kind == ATTR_TEXT)
		g_free(peek_text(field));
	else if (a->kind == ATTR_JSON || a->kind == ATTR_LIST)
		json_decref(peek_json(field));
	memset(field, 0, size_of_kind(a->kind));
}

static void copy_field(const struct attr *a, const void *from, void *to)
{
	if (a->kind == ATTR_TEXT)
		*(char **)to = g_strdup(peek_text(from));
	else if (a->kind == ATTR_JSON || a->kind == ATTR_LIST)
		*(json_t **)to = json_deep_copy(peek_json(from));
	else
		memcpy(to, from, size_of_kind(a->kind));
}

void attrs_init(const struct attr_table *t, void *object)
{
	memset(object, 0, t->size);
	for (unsigned i = 0; i < t->count; i++)
		init_field(&t->attrs[i], field_of(&t->attrs[i], object));
	if (t->set_defaults)
		t->set_defaults(object);
}

void attrs_clear(const struct attr_table *t, void *object)
{
	for (unsigned i = 0; i < t->count; i++)
		clear_field(&t->attrs[i], field_of(&t->attrs[i], object));
}

void attrs_copy(const struct attr_table *t, const void *from, void *ret_to)
{
	memset(ret_to, 0, t->size);
	for (unsigned i = 0; i < t->count; i++) {
		const struct attr *a = &t->attrs[i];

		copy_field(a, peek_field(a, from), field_of(a, ret_to));
	}
}

int attrs_find(const struct attr_table *t, const char *name)
{
	for (unsigned i = 0; i < t->count; i++)
		if (strcmp(t->attrs[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void reset_field(const struct attr_table *t, void *object, const struct attr *a)
{
	g_autofree void *fresh = g_malloc(t->size);
	void *field = field_of(a, object);

	attrs_init(t, fresh);
	clear_field(a, field);
	copy_field(a, peek_field(a, fresh), field);
	attrs_clear(t, fresh);
}

/* ---- from JSON */

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

static bool set_text(const struct attr_table *t, const struct attr *a, void *field,
		     const json_t *value, GError **error)
{
	const char *text = json_string_value(value);
	size_t length = json_string_length(value);

	if (strlen(text) != length)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for %s: %s has a NUL character", t->noun,
				      a->name);
	if (a->limit > 0 && length > a->limit)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for %s: %s is longer than %zu bytes", t->noun,
				      a->name, a->limit);
	g_free(*(char **)field);
	*(char **)field = g_strdup(text);
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

static bool set_uuid(const struct attr *a, const json_t *value, struct uuid *ret, GError **error)
{
	const char *text = json_string_value(value);

	if (!uuid_parse(text, ret, NULL))
		return refuse_text("Expected UUID for", a, text, error);
	return true;
}

/* Colons only, as Ironic; mac_parse() takes more. */
static bool set_mac(const struct attr *a, const json_t *value, struct mac *ret, GError **error)
{
	const char *text = json_string_value(value);

	if (strchr(text, '-') || !mac_parse(text, ret, NULL))
		return refuse_text("Expected valid MAC address for", a, text, error);
	return true;
}

static bool set_enum(const struct attr *a, const json_t *value, int *ret, GError **error)
{
	int number = a->enum_parse(json_string_value(value));

	if (number < 0)
		return refuse_text("Unknown value for", a, json_string_value(value), error);
	*ret = number;
	return true;
}

static bool time_parse(const char *text, struct wall *ret)
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

static bool set_time(const struct attr *a, const json_t *value, struct wall *ret, GError **error)
{
	if (!time_parse(json_string_value(value), ret))
		return refuse_text("Expected a time like 2026-11-21T19:55:47.438804+00:00 for", a,
				   json_string_value(value), error);
	return true;
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

static bool set_json(const struct attr *a, void *field, const json_t *value, GError **error)
{
	if (!json_fits(a, value, error))
		return false;
	json_decref(peek_json(field));
	*(json_t **)field = json_deep_copy(value);
	return true;
}

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
	void *field = field_of(a, object);
	bool truth;

	if (json_is_null(value) && !(a->flags & A_REQUIRED)) {
		reset_field(t, object, a);
		return true;
	}
	if (!type_fits(a->kind, value))
		return refuse_type(t, a, value, error);
	switch (a->kind) {
	case ATTR_TEXT: return set_text(t, a, field, value, error);
	case ATTR_UUID: return set_uuid(a, value, field, error);
	case ATTR_BOOL: return set_bool(a, value, field, error);
	case ATTR_TRI:
		if (!set_bool(a, value, &truth, error))
			return false;
		*(int *)field = truth;
		return true;
	case ATTR_ENUM: return set_enum(a, value, field, error);
	case ATTR_INT: *(int64_t *)field = json_integer_value(value); return true;
	case ATTR_TIME: return set_time(a, value, field, error);
	case ATTR_JSON:
	case ATTR_LIST: return set_json(a, field, value, error);
	case ATTR_MAC: return set_mac(a, value, field, error);
	}
	g_assert_not_reached();
}

/* ---- to JSON */

static json_t *time_to_json(struct wall time)
{
	char text[WALL_TEXT];

	if (time.us == 0)
		return json_null();
	wall_print(time, text);
	return json_string(text);
}

static json_t *mac_to_json(struct mac address)
{
	char text[MAC_TEXT];

	mac_print(address, text);
	return json_string(text);
}

/* What an unset value is in JSON: jansson makes NULL out of a NULL text. */
static json_t *text_to_json(const char *text)
{
	return text && text[0] != '\0' ? json_string(text) : json_null();
}

/* Objects and lists are shared with the struct, not copied. */
static json_t *share_json(const struct attr *a, const void *object)
{
	const void *field = peek_field(a, object);

	switch (a->kind) {
	case ATTR_TEXT: return peek_text(field) ? json_string(peek_text(field)) : json_null();
	case ATTR_UUID: return text_to_json(((const struct uuid *)field)->s);
	case ATTR_BOOL: return json_boolean(*(const bool *)field);
	case ATTR_TRI:
		return *(const int *)field < 0 ? json_null() : json_boolean(*(const int *)field);
	case ATTR_ENUM: return text_to_json(a->enum_text((unsigned)*(const int *)field));
	case ATTR_INT: return json_integer(*(const int64_t *)field);
	case ATTR_TIME: return time_to_json(*(const struct wall *)field);
	case ATTR_JSON:
	case ATTR_LIST: return json_incref(peek_json(field));
	case ATTR_MAC: return mac_to_json(*(const struct mac *)field);
	}
	g_assert_not_reached();
}

json_t *attr_to_json(const struct attr_table *t, const void *object, unsigned attr)
{
	json_t *value = share_json(&t->attrs[attr], object);

	if (!json_is_object(value) && !json_is_array(value))
		return value;
	json_t *copy = json_deep_copy(value);

	json_decref(value);
	return copy;
}

bool attr_is_equal(const struct attr_table *t, const void *a, const void *b, unsigned attr)
{
	g_autoptr(json_t) left = share_json(&t->attrs[attr], a);
	g_autoptr(json_t) right = share_json(&t->attrs[attr], b);

	return json_equal(left, right);
}

json_t *attrs_to_json(const struct attr_table *t, const void *object, unsigned flags,
		      unsigned minor, const char *const *fields)
{
	json_t *out = json_object();

	for (unsigned i = 0; i < t->count; i++) {
		const struct attr *a = &t->attrs[i];

		if ((a->flags & flags) != flags || a->since == 0 || a->since > minor)
			continue;
		if (fields && !g_strv_contains(fields, a->name))
			continue;
		json_t *value = share_json(a, object);

		if (a->flags & A_MASK) {
			json_object_set_new(out, a->name, attr_masked(value));
			json_decref(value);
		} else {
			json_object_set_new(out, a->name, value);
		}
	}
	return out;
}

/* ---- a whole body */

static bool keys_are_known(const struct attr_table *t, const json_t *body, unsigned flag,
			   GError **error)
{
	g_autoptr(GString) unknown = g_string_new(NULL);
	unsigned count = 0;
	json_t *value;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)body, key, value) {
		int attr = attrs_find(t, key);

		if (attr >= 0 && t->attrs[attr].flags & flag)
			continue;
		g_autoptr(json_t) name = json_string(key);
		g_autofree char *shown = attr_repr(name);

		g_string_append_printf(unknown, "%s%s", count++ > 0 ? ", " : "", shown);
		if (unknown->len > LIMIT_ERROR_TEXT)
			break;
	}
	if (count == 0)
		return true;
	return inox_error_set(
		error, INOX_ERROR_INVALID,
		"Schema error for %s: Additional properties are not allowed (%s %s unexpected)",
		t->noun, unknown->str, count == 1 ? "was" : "were");
}

static bool required_are_there(const struct attr_table *t, const json_t *body, GError **error)
{
	for (unsigned i = 0; i < t->count; i++)
		if (t->attrs[i].flags & A_REQUIRED && !json_object_get(body, t->attrs[i].name))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Schema error for %s: '%s' is a required property",
					      t->noun, t->attrs[i].name);
	return true;
}

static bool set_members(const struct attr_table *t, void *object, const json_t *body,
			unsigned minor, attr_set changed, GError **error)
{
	for (unsigned i = 0; i < t->count; i++) {
		const json_t *value = json_object_get(body, t->attrs[i].name);

		if (!value)
			continue;
		if (!attr_from_json(t, object, i, value, error))
			return false;
		if (t->attrs[i].since > minor)
			return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
					      "Request not acceptable.");
		attr_set_add(changed, i);
	}
	return true;
}

bool attrs_from_json(const struct attr_table *t, void *object, const json_t *body, unsigned flag,
		     unsigned minor, attr_set changed, GError **error)
{
	g_autofree void *scratch = g_malloc(t->size);
	attr_set set = {changed[0], changed[1]};

	if (!json_is_object(body)) {
		g_autofree char *shown = attr_repr(body);

		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for %s: %s is not of type 'object'", t->noun,
				      shown);
	}
	if (!keys_are_known(t, body, flag, error))
		return false;
	if (flag & A_CREATE && !required_are_there(t, body, error))
		return false;
	attrs_copy(t, object, scratch);
	if (!set_members(t, scratch, body, minor, set, error)) {
		attrs_clear(t, scratch);
		return false;
	}
	attrs_clear(t, object);
	memcpy(object, scratch, t->size);
	memcpy(changed, set, sizeof(set));
	return true;
}
