/* Attributes as database columns. */
#include <string.h>

#include "attr.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"

#define YEAR_10000_US (INT64_C(253402300800) * 1000000)

static bool refuse(const struct attr *a, const char *why, GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID, "%s %s", a->name, why);
}

/* The column's value as JSON, or NULL with a sentence. */
static json_t *json_from_text(const struct attr *a, const struct attr_value *value, GError **error)
{
	size_t limit = a->limit > 0 ? a->limit : LIMIT_NODE_JSON;
	json_t *text;

	if (a->kind == ATTR_JSON || a->kind == ATTR_LIST)
		return json_parse_limited(value->text, value->length, limit, a->name, error);
	text = json_stringn(value->text, value->length);
	if (!text)
		refuse(a, "is not valid UTF-8", error);
	return text;
}

static bool set_integer(const struct attr *a, void *field, int64_t number, GError **error)
{
	switch (a->kind) {
	case ATTR_BOOL:
	case ATTR_TRI:
		if (number != 0 && number != 1)
			return refuse(a, "is neither 0 nor 1", error);
		if (a->kind == ATTR_BOOL)
			*(bool *)field = number;
		else
			*(int *)field = (int)number;
		return true;
	case ATTR_INT: *(int64_t *)field = number; return true;
	case ATTR_TIME:
		if (number <= 0 || number >= YEAR_10000_US)
			return refuse(a, "is no time of the years 1970 to 9999", error);
		*(struct wall *)field = (struct wall){number};
		return true;
	case ATTR_TEXT:
	case ATTR_UUID:
	case ATTR_ENUM:
	case ATTR_JSON:
	case ATTR_LIST:
	case ATTR_MAC: break;
	}
	return refuse(a, "is an integer, not a text", error);
}

static bool is_integer_kind(const struct attr *a)
{
	return strcmp(a->sqltype, "INTEGER") == 0;
}

bool attr_from_value(const struct attr_table *t, void *object, unsigned attr,
		     const struct attr_value *value, GError **error)
{
	const struct attr *a = &t->attrs[attr];
	g_autoptr(json_t) json = NULL;

	switch (value->type) {
	case ATTR_VALUE_NULL:
		if (!(a->flags & A_NULL))
			return refuse(a, "is NULL", error);
		json = json_null();
		break;
	case ATTR_VALUE_INTEGER:
		return set_integer(a, (char *)object + a->offset, value->integer, error);
	case ATTR_VALUE_TEXT:
		if (is_integer_kind(a))
			return refuse(a, "is a text, not an integer", error);
		json = json_from_text(a, value, error);
		break;
	}
	return json && attr_from_json(t, object, attr, json, error);
}

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
	const void *field = (const char *)object + a->offset;
	struct attr_value value = {.type = ATTR_VALUE_NULL};
	g_autofree char *made = NULL;

	switch (a->kind) {
	case ATTR_TEXT: to_text(&value, *(char *const *)field); break;
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
		made = json_print_compact(*(json_t *const *)field);
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
