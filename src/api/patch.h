/* patch.h: JSON patch as the API takes it: add, replace and remove (RFC 6902 without move, copy, test),
 * paths of word characters and '-', from 1.98 on also ~0 and ~1 for '~' and '/' (RFC 6901). */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

enum patch_verb { PATCH_ADD, PATCH_REPLACE, PATCH_REMOVE };

struct patch_step {
	enum patch_verb verb;
	char *path;
	char **segments; /* of the path, unescaped: at least one */
	json_t *value;   /* NULL for remove, and for an add that has none */
};

struct patch {
	GPtrArray *steps; /* struct patch_step *, owned */
};

/* `body` is an array of operations in microversion 1.`minor`.  INVALID with the sentence that clients expect. */
struct patch *patch_parse(const json_t *body, unsigned minor, GError **error);
void patch_free(struct patch *p);

static inline unsigned patch_length(const struct patch *p)
{
	return p->steps->len;
}

static inline const struct patch_step *patch_step_at(const struct patch *p, unsigned i)
{
	return g_ptr_array_index(p->steps, i);
}

/* Applies all steps to the object; after a failure (INVALID) the object is half changed and is to be
 * thrown away. */
bool patch_apply(const struct patch *p, json_t *document, GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct patch patch;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(patch, patch_free)
