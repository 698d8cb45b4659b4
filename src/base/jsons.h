/* jsons.h: JSON from strangers, with limits, and typed getters.  Objects are jansson's json_t. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* Parses one JSON value.  Refuses: more than `limit` bytes, nesting deeper than LIMIT_JSON_DEPTH,
 * duplicate keys, invalid UTF-8, embedded NUL, NaN and infinities, anything behind the value.
 * Returns a new reference; NULL with INVALID or LIMIT and a sentence that starts with `what`. */
json_t *json_parse_limited(const char *text, size_t length, size_t limit, const char *what,
			   GError **error);

/* The text of a value in Python's separators (", " and ": "), keys in insertion order, non-ASCII
 * escaped: what the agent protocol's captures hold.  The caller frees it. */
char *json_print_python(const json_t *value);
/* Compact text, UTF-8 kept, for rows and messages.  The caller frees it. */
char *json_print_compact(const json_t *value);

/* Borrowed; NULL if the key is absent or not of the type. */
const char *json_peek_string(const json_t *object, const char *key);
json_t *json_peek_object(const json_t *object, const char *key);
json_t *json_peek_array(const json_t *object, const char *key);
int64_t json_peek_integer(const json_t *object, const char *key, int64_t otherwise);
bool json_peek_bool(const json_t *object, const char *key, bool otherwise);

/* "JSON object", "string", ...: for sentences. */
const char *json_type_text(const json_t *value);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)
