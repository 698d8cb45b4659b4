#include "attr.h"

#include <string.h>

#include "attr_field.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"

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

void attr_init_field(const struct attr *a, void *field)
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

void attr_clear_field(const struct attr *a, void *field)
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
		attr_init_field(&t->attrs[i], attr_field(&t->attrs[i], object));
	if (t->set_defaults)
		t->set_defaults(object);
}

void attrs_clear(const struct attr_table *t, void *object)
{
	for (unsigned i = 0; i < t->count; i++)
		attr_clear_field(&t->attrs[i], attr_field(&t->attrs[i], object));
}

void attrs_copy(const struct attr_table *t, const void *from, void *ret_to)
{
	memset(ret_to, 0, t->size);
	for (unsigned i = 0; i < t->count; i++) {
		const struct attr *a = &t->attrs[i];

		copy_field(a, attr_peek_field(a, from), attr_field(a, ret_to));
	}
}

int attrs_find(const struct attr_table *t, const char *name)
{
	for (unsigned i = 0; i < t->count; i++)
		if (strcmp(t->attrs[i].name, name) == 0)
			return (int)i;
	return -1;
}

void attr_reset_field(const struct attr_table *t, void *object, const struct attr *a)
{
	g_autofree void *fresh = g_malloc(t->size);
	void *field = attr_field(a, object);

	attrs_init(t, fresh);
	attr_clear_field(a, field);
	copy_field(a, attr_peek_field(a, fresh), field);
	attrs_clear(t, fresh);
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
	const void *field = attr_peek_field(a, object);

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

/* ---- to a database column */

static void to_text(struct attr_value *ret, const char *text)
{
	if (!text)
		return;
	ret->type = ATTR_VALUE_TEXT;
	ret->text = text;
	ret->length = strlen(text);
}

static void to_integer(struct attr_value *ret, int64_t number)
{
	ret->type = ATTR_VALUE_INTEGER;
	ret->integer = number;
}

bool attr_to_value(const struct attr_table *t, const void *object, unsigned attr,
		   struct attr_value *ret_value, char **ret_text, GError **error)
{
	const struct attr *a = &t->attrs[attr];
	const void *field = attr_peek_field(a, object);
	struct attr_value value = {.type = ATTR_VALUE_NULL};
	g_autofree char *made = NULL;

	switch (a->kind) {
	case ATTR_TEXT: to_text(&value, peek_text(field)); break;
	case ATTR_UUID:
		to_text(&value, uuid_is_set(field) ? ((const struct uuid *)field)->s : NULL);
		break;
	case ATTR_BOOL: to_integer(&value, *(const bool *)field); break;
	case ATTR_TRI:
		if (*(const int *)field >= 0)
			to_integer(&value, *(const int *)field);
		break;
	case ATTR_ENUM: to_text(&value, a->enum_text((unsigned)*(const int *)field)); break;
	case ATTR_INT: to_integer(&value, *(const int64_t *)field); break;
	case ATTR_TIME:
		if (((const struct wall *)field)->us != 0)
			to_integer(&value, ((const struct wall *)field)->us);
		break;
	case ATTR_JSON:
	case ATTR_LIST:
		made = json_print_compact(peek_json(field));
		to_text(&value, made);
		break;
	case ATTR_MAC:
		made = g_malloc(MAC_TEXT);
		mac_print(*(const struct mac *)field, made);
		to_text(&value, made);
		break;
	}
	if (value.type == ATTR_VALUE_TEXT && a->limit > 0 && value.length > a->limit)
		return inox_error_set(error, INOX_ERROR_LIMIT, "%s is larger than %zu bytes",
				      a->name, a->limit);
	*ret_value = value;
	*ret_text = g_steal_pointer(&made);
	return true;
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
