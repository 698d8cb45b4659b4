#include "attributes.h"

#include <stdint.h>
#include <string.h>

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
static json_t *patch_document(const struct patch *p, const struct attr_table *t, const void *object)
{
	json_t *document = json_object();

	for (unsigned i = 0; i < patch_length(p); i++) {
		const char *name = patch_step_at(p, i)->segments[0];

		if (json_object_get(document, name))
			continue;
		json_object_set_new(document, name,
				    attr_to_json(t, object, (unsigned)attrs_find(t, name)));
	}
	return document;
}

/* What the patch left of the attributes it names; null for one that was removed. */
static bool fill_removed(const struct patch *p, const struct attr_table *t, json_t *document,
			 attr_set removed, GError **error)
{
	for (unsigned i = 0; i < patch_length(p); i++) {
		const char *name = patch_step_at(p, i)->segments[0];
		unsigned attr = (unsigned)attrs_find(t, name);

		if (json_object_get(document, name))
			continue;
		if (t->attrs[attr].flags & A_REQUIRED)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Schema error for patch: '%s' is a required property",
					      name);
		json_object_set_new(document, name, json_null());
		attr_set_add(removed, attr);
	}
	return true;
}

bool attributes_patch(const struct patch *p, const struct attr_table *t, void *object,
		      attr_set changed, attr_set removed, GError **error)
{
	const struct attr_table as_patch = {.table = t->table,
					    .noun = "patch",
					    .attrs = t->attrs,
					    .count = t->count,
					    .size = t->size,
					    .set_defaults = t->set_defaults};
	g_autoptr(json_t) document = patch_document(p, t, object);
	g_autofree void *before = g_malloc(t->size);
	attr_set named = {0};

	if (!patch_apply(p, document, error) || !fill_removed(p, t, document, removed, error))
		return false;
	attrs_copy(t, object, before);
	bool fits =
		attrs_from_json(&as_patch, object, document, A_PATCH, API_MINOR_MAX, named, error);

	for (unsigned i = 0; i < t->count; i++)
		if (attr_set_has(named, i) && !attr_is_equal(t, before, object, i))
			attr_set_add(changed, i);
	attrs_clear(t, before);
	return fits;
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
