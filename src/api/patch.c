#include "patch.h"

#include <stdint.h>
#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"

static const char *const verb_text[] = {
	[PATCH_ADD] = "add", [PATCH_REPLACE] = "replace", [PATCH_REMOVE] = "remove"};

static void step_free(void *data)
{
	struct patch_step *step = data;

	g_free(step->path);
	g_strfreev(step->segments);
	json_decref(step->value);
	g_free(step);
}

void patch_free(struct patch *p)
{
	if (!p)
		return;
	g_ptr_array_unref(p->steps);
	g_free(p);
}

#define ESCAPES_SINCE 98 /* microversion */

/* One or more of '/' and word characters: ^(/[\w-]+)+$; with `escapes` ~0 and ~1 are word characters. */
static bool path_is_valid(const char *path, bool escapes)
{
	bool empty = true;

	if (*path != '/')
		return false;
	for (const char *at = path + 1; *at; at += g_utf8_skip[(unsigned char)*at]) {
		gunichar c = g_utf8_get_char(at);

		if (c == '/' && empty)
			return false;
		if (escapes && c == '~' && (at[1] == '0' || at[1] == '1'))
			c = '-';
		if (c != '/' && c != '-' && c != '_' && !g_unichar_isalnum(c))
			return false;
		empty = c == '/';
	}
	return !empty;
}

/* ~1 and ~0 become '/' and '~', in place. */
static void unescape(char *segment)
{
	char *to = segment;

	for (const char *at = segment; *at; at++) {
		if (*at == '~')
			*to++ = *++at == '1' ? '/' : '~';
		else
			*to++ = *at;
	}
	*to = '\0';
}

static bool check_keys(const json_t *item, GError **error)
{
	const char *key;
	json_t *value;

	if (!json_is_object(item))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for patch: an operation is a %s, not an object",
				      json_type_text(item));
	json_object_foreach((json_t *)(uintptr_t)item, key, value) {
		if (strcmp(key, "op") != 0 && strcmp(key, "path") != 0 && strcmp(key, "value") != 0)
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"Schema error for patch: Additional properties are not "
				"allowed ('%s' was unexpected)",
				key);
	}
	static const char *const needed[] = {"op", "path"};

	for (size_t i = 0; i < G_N_ELEMENTS(needed); i++) {
		if (!json_object_get(item, needed[i]))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Schema error for patch: '%s' is a required property",
					      needed[i]);
		if (!json_peek_string(item, needed[i]))
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"Schema error for patch: '%s' is not of type 'string'", needed[i]);
	}
	return true;
}

static struct patch_step *parse_step(const json_t *item, bool escapes, GError **error)
{
	if (!check_keys(item, error))
		return NULL;
	const char *verb = json_peek_string(item, "op"), *path = json_peek_string(item, "path");
	unsigned found = 0;

	while (found < G_N_ELEMENTS(verb_text) && strcmp(verb_text[found], verb) != 0)
		found++;
	if (found == G_N_ELEMENTS(verb_text)) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "Schema error for patch: '%s' is not one of "
			       "['add', 'replace', 'remove']",
			       verb);
		return NULL;
	}
	if (!path_is_valid(path, escapes)) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "Schema error for patch: '%s' does not match '%s'", path,
			       escapes ? "^(/([\\\\w-]|~[01])+)+$" : "^(/[\\\\w-]+)+$");
		return NULL;
	}
	struct patch_step *step = g_new0(struct patch_step, 1);

	step->verb = (enum patch_verb)found;
	step->path = g_strdup(path);
	step->segments = g_strsplit(path + 1, "/", -1);
	for (char **segment = step->segments; *segment; segment++)
		unescape(*segment);
	if (step->verb != PATCH_REMOVE)
		step->value = json_incref(json_object_get(item, "value"));
	return step;
}

struct patch *patch_parse(const json_t *body, unsigned minor, GError **error)
{
	if (!json_is_array(body)) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "Schema error for patch: the body is a %s, not of type 'array'",
			       json_type_text(body));
		return NULL;
	}
	if (json_array_size(body) > LIMIT_PATCH_STEPS) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "A patch of %zu operations is longer than %d", json_array_size(body),
			       LIMIT_PATCH_STEPS);
		return NULL;
	}
	g_autoptr(patch) p = g_new0(struct patch, 1);

	p->steps = g_ptr_array_new_with_free_func(step_free);
	for (size_t i = 0; i < json_array_size(body); i++) {
		struct patch_step *step =
			parse_step(json_array_get(body, i), minor >= ESCAPES_SINCE, error);

		if (!step)
			return NULL;
		g_ptr_array_add(p->steps, step);
	}
	return g_steal_pointer(&p);
}

/* The value is left out of the sentence: it may be a password. */
static bool refuse(const struct patch_step *step, const char *reason, const char *name,
		   GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Couldn't apply patch '{'op': '%s', 'path': '%s'}'. Reason: %s%s%s%s",
			      verb_text[step->verb], step->path, reason, name ? " '" : "",
			      name ? name : "", name ? "'" : "");
}

/* Index of an array element; `limit` is one past the largest allowed. */
static bool parse_index(const char *segment, size_t limit, size_t *ret_index)
{
	guint64 index;

	if (!g_ascii_string_to_unsigned(segment, 10, 0, G_MAXUINT32, &index, NULL) ||
	    index >= limit)
		return false;
	*ret_index = (size_t)index;
	return true;
}

static json_t *child(json_t *parent, const char *segment)
{
	size_t index;

	if (json_is_array(parent))
		return parse_index(segment, json_array_size(parent), &index)
			       ? json_array_get(parent, index)
			       : NULL;
	return json_object_get(parent, segment);
}

static bool apply_to_array(const struct patch_step *step, json_t *array, const char *last,
			   GError **error)
{
	size_t size = json_array_size(array), index = size;
	bool appends = step->verb == PATCH_ADD && strcmp(last, "-") == 0;

	if (!appends && !parse_index(last, step->verb == PATCH_ADD ? size + 1 : size, &index))
		return refuse(step, "there is no list index", last, error);
	if (step->verb == PATCH_ADD)
		json_array_insert(array, index, step->value);
	else if (step->verb == PATCH_REPLACE)
		json_array_set(array, index, step->value);
	else
		json_array_remove(array, index);
	return true;
}

static bool apply_to_object(const struct patch_step *step, json_t *object, const char *last,
			    GError **error)
{
	bool exists = json_object_get(object, last) != NULL;

	if (step->verb == PATCH_REMOVE) {
		if (!exists)
			return refuse(step, "can't remove a non-existent object", last, error);
		json_object_del(object, last);
		return true;
	}
	if (step->verb == PATCH_REPLACE && !exists)
		return refuse(step, "can't replace a non-existent object", last, error);
	json_object_set(object, last, step->value);
	return true;
}

static bool apply_step(const struct patch_step *step, json_t *document, GError **error)
{
	json_t *parent = document;
	char **segment = step->segments;

	if (step->verb != PATCH_REMOVE && !step->value)
		return refuse(step, "The operation does not contain a 'value' member", NULL, error);
	for (; segment[1]; segment++) {
		parent = child(parent, segment[0]);
		if (!parent)
			return refuse(step, "there is no object", segment[0], error);
	}
	if (json_is_array(parent))
		return apply_to_array(step, parent, segment[0], error);
	if (json_is_object(parent))
		return apply_to_object(step, parent, segment[0], error);
	return refuse(step, "there are no members below a value that is neither object nor list:",
		      segment[0], error);
}

bool patch_apply(const struct patch *p, json_t *document, GError **error)
{
	for (unsigned i = 0; i < patch_length(p); i++)
		if (!apply_step(patch_step_at(p, i), document, error))
			return false;
	return true;
}
