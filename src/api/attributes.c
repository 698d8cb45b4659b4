#include "attributes.h"

#include <string.h>

#include "limit.h"

static bool refuse_unknown(const struct attr_table *t, const json_t *body, GError **error)
{
	g_autoptr(GString) unknown = g_string_new(NULL);
	unsigned count = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)body, key, value) {
		int attr = attrs_find(t, key);

		if (attr >= 0 && t->attrs[attr].flags & A_CREATE)
			continue;
		g_string_append_printf(unknown, "%s'%s'", count++ > 0 ? ", " : "", key);
	}
	if (count == 0)
		return true;
	return inox_error_set(
		error, INOX_ERROR_INVALID,
		"Schema error for %s: Additional properties are not allowed (%s %s unexpected)",
		t->noun, unknown->str, count == 1 ? "was" : "were");
}

static bool refuse_missing(const struct attr_table *t, const json_t *body, GError **error)
{
	for (unsigned i = 0; i < t->count; i++)
		if (t->attrs[i].flags & A_REQUIRED && !json_object_get(body, t->attrs[i].name))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Schema error for %s: '%s' is a required property",
					      t->noun, t->attrs[i].name);
	return true;
}

/* What the validator of Ironic calls the types that each kind takes from a request. */
static const char *type_text(const struct attr *a)
{
	switch (a->kind) {
	case ATTR_TEXT:
	case ATTR_UUID:
	case ATTR_ENUM:
	case ATTR_TIME:
	case ATTR_MAC: return a->flags & A_REQUIRED ? "'string'" : "'string', 'null'";
	case ATTR_BOOL:
	case ATTR_TRI: return "'boolean', 'null'";
	case ATTR_INT: return "'integer', 'null'";
	case ATTR_LIST: return "'array', 'null'";
	case ATTR_JSON: break;
	}
	return "'object', 'null'";
}

static bool type_fits(const struct attr *a, const json_t *value)
{
	if (json_is_null(value))
		return !(a->flags & A_REQUIRED);
	switch (a->kind) {
	case ATTR_TEXT:
	case ATTR_UUID:
	case ATTR_ENUM:
	case ATTR_TIME:
	case ATTR_MAC: return json_is_string(value);
	case ATTR_BOOL:
	case ATTR_TRI: return json_is_boolean(value) || json_is_string(value);
	case ATTR_INT: return json_is_integer(value);
	case ATTR_LIST: return json_is_array(value);
	case ATTR_JSON: break;
	}
	return json_is_object(value);
}

static bool check_type(const char *noun, const struct attr *a, const json_t *value, GError **error)
{
	if (type_fits(a, value))
		return true;
	g_autofree char *quoted = request_python(value);

	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Schema error for %s: %s is not of type %s", noun, quoted,
			      type_text(a));
}

static unsigned json_depth(const json_t *value)
{
	unsigned deepest = 0;

	if (json_is_object(value)) {
		const char *key;
		json_t *member;

		json_object_foreach((json_t *)(uintptr_t)value, key, member)
			deepest = MAX(deepest, json_depth(member));
	} else if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++)
			deepest = MAX(deepest, json_depth(json_array_get(value, i)));
	} else {
		return 0;
	}
	return deepest + 1;
}

static bool text_is_mac(const char *text)
{
	struct mac m;

	return !strchr(text, '-') && mac_parse(text, &m, NULL);
}

/* The wire's forms that the engine does not know: words for booleans, "" for no name; and the
 * sentences that clients look for.  The result is a new reference, NULL on error. */
static json_t *normalised(const struct attr *a, json_t *value, GError **error)
{
	const char *text = json_string_value(value);
	struct uuid u;
	bool truth;

	if (!text && a->kind == ATTR_JSON && json_depth(value) > LIMIT_JSON_DEPTH - 2) {
		inox_error_set(error, INOX_ERROR_INVALID, "%s is nested deeper than %d levels",
			       a->name, LIMIT_JSON_DEPTH - 2);
		return NULL;
	}
	if (!text)
		return json_incref(value);
	if (a->kind == ATTR_BOOL || a->kind == ATTR_TRI)
		return request_parse_bool(a->name, text, &truth, error) ? json_boolean(truth)
									 : NULL;
	if (a->kind == ATTR_UUID && !uuid_parse(text, &u, NULL)) {
		inox_error_set(error, INOX_ERROR_INVALID, "Expected UUID for %s: %s", a->name, text);
		return NULL;
	}
	if (a->kind == ATTR_MAC && !text_is_mac(text)) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "Expected valid MAC address for %s: %s", a->name, text);
		return NULL;
	}
	if (a->kind == ATTR_TEXT && a->flags & A_NULL && strcmp(a->name, "name") == 0 && !*text)
		return json_null();
	return json_incref(value);
}

static bool set_one(const struct attr_table *t, void *object, unsigned attr, json_t *value,
		    GError **error)
{
	const struct attr *a = &t->attrs[attr];
	g_autoptr(json_t) given = normalised(a, value, error);

	if (!given)
		return false;
	if (json_is_null(given) && !(a->flags & A_NULL)) {
		/* Null where the row has none: the attribute's empty value. */
		g_autofree void *fresh = g_malloc0(t->size);

		attrs_init(t, fresh);
		json_decref(given);
		given = attr_to_json(t, fresh, attr);
		attrs_clear(t, fresh);
	}
	return attr_from_json(t, object, attr, given, error);
}

bool attributes_create(const struct request *rq, const struct attr_table *t, void *object,
		       GError **error)
{
	const char *key;
	json_t *value;

	if (!refuse_unknown(t, rq->body, error) || !refuse_missing(t, rq->body, error))
		return false;
	json_object_foreach(rq->body, key, value) {
		if (!check_type(t->noun, &t->attrs[attrs_find(t, key)], value, error))
			return false;
	}
	json_object_foreach(rq->body, key, value) {
		if (t->attrs[attrs_find(t, key)].since > rq->minor)
			return api_error_set_too_old(error);
	}
	json_object_foreach(rq->body, key, value) {
		if (!json_is_null(value) &&
		    !set_one(t, object, (unsigned)attrs_find(t, key), value, error))
			return false;
	}
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool refuse_root(const char *path, const struct attr_table *t, unsigned minor,
			GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();

	for (unsigned i = 0; i < t->count; i++)
		if (t->attrs[i].flags & A_PATCH && t->attrs[i].since <= minor)
			g_ptr_array_add(names, (char *)(uintptr_t)t->attrs[i].name);
	g_ptr_array_sort(names, compare_names);
	g_ptr_array_add(names, NULL);
	g_autofree char *list = g_strjoinv(", ", (char **)names->pdata);

	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Cannot patch %s. Only the following can be updated: %s", path, list);
}

bool attributes_check_patch(const struct patch *p, const struct attr_table *t, unsigned minor,
			    GError **error)
{
	for (unsigned i = 0; i < patch_length(p); i++) {
		const struct patch_step *step = patch_step_at(p, i);
		int attr = attrs_find(t, step->segments[0]);

		if (attr < 0 || !(t->attrs[attr].flags & A_PATCH))
			return refuse_root(step->path, t, minor, error);
		if (t->attrs[attr].since > minor)
			return api_error_set_too_old(error);
		if (t->attrs[attr].flags & A_SEAL && attributes_hold_sealed(step->value))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "%s: a value must not begin with \"" SEAL_PREFIX "\"",
					      step->path);
	}
	return true;
}

/* The attributes that the patch names, as a document of their own copies. */
static json_t *patch_document(const struct patch *p, const struct attr_table *t,
			      const void *object)
{
	json_t *document = json_object();

	for (unsigned i = 0; i < patch_length(p); i++) {
		const char *name = patch_step_at(p, i)->segments[0];

		if (json_object_get(document, name))
			continue;
		g_autoptr(json_t) value =
			attr_to_json(t, object, (unsigned)attrs_find(t, name));

		json_object_set_new(document, name, json_deep_copy(value));
	}
	return document;
}

static bool patch_one(const struct attr_table *t, void *object, unsigned attr, json_t *value,
		      attr_set changed, attr_set removed, GError **error)
{
	const struct attr *a = &t->attrs[attr];
	g_autoptr(json_t) before = attr_to_json(t, object, attr);

	if (!value && a->flags & A_REQUIRED)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for patch: '%s' is a required property",
				      a->name);
	if (!value)
		attr_set_add(removed, attr);
	if (value && !check_type("patch", a, value, error))
		return false;
	if (!set_one(t, object, attr, value ? value : json_null(), error))
		return false;
	g_autoptr(json_t) after = attr_to_json(t, object, attr);

	if (!json_equal(before, after))
		attr_set_add(changed, attr);
	return true;
}

bool attributes_patch(const struct patch *p, const struct attr_table *t, void *object,
		      attr_set changed, attr_set removed, GError **error)
{
	g_autoptr(json_t) document = patch_document(p, t, object);

	if (!patch_apply(p, document, error))
		return false;
	for (unsigned i = 0; i < patch_length(p); i++) {
		const char *name = patch_step_at(p, i)->segments[0];

		if (!patch_one(t, object, (unsigned)attrs_find(t, name),
			       json_object_get(document, name), changed, removed, error))
			return false;
	}
	return true;
}

bool attributes_check_fields(const struct attr_table *t, unsigned minor, char **fields,
			     const char *further, GError **error)
{
	g_autoptr(GString) unknown = g_string_new(NULL);
	bool single = strcmp(t->noun, "node") == 0;

	for (size_t i = 0; fields[i]; i++) {
		int attr = attrs_find(t, fields[i]);

		if (word_in_list(further, fields[i]))
			continue;
		if (attr < 0 || !(t->attrs[attr].flags & A_READ))
			g_string_append_printf(unknown, "%s%s", unknown->len ? ", " : "",
					       fields[i]);
		else if (t->attrs[attr].since > minor)
			return api_error_set_too_old(error);
	}
	if (unknown->len == 0)
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID,
			      single ? "Field %s is not a valid field."
				     : "Field(s) \"%s\" are not valid",
			      unknown->str);
}

bool attributes_hold_sealed(const json_t *value)
{
	const char *key;
	json_t *member;

	if (json_is_string(value))
		return seal_is_sealed(json_string_value(value));
	json_object_foreach((json_t *)(uintptr_t)value, key, member) {
		if (attributes_hold_sealed(member))
			return true;
	}
	for (size_t i = 0; i < json_array_size(value); i++)
		if (attributes_hold_sealed(json_array_get(value, i)))
			return true;
	return false;
}

json_t *attributes_seal(const struct seal_key *k, const char *context, const json_t *object)
{
	json_t *copy = json_object();
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)(uintptr_t)object, key, member) {
		const char *text = json_string_value(member);

		if (json_is_object(member)) {
			json_object_set_new(copy, key, attributes_seal(k, context, member));
		} else if (text && attr_key_is_secret(key) && !seal_is_sealed(text)) {
			g_autofree char *sealed = seal_text(k, context, text);

			json_object_set_new(copy, key, json_string(sealed));
		} else {
			json_object_set(copy, key, member);
		}
	}
	return copy;
}
