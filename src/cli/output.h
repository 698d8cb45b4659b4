/* output.h: results for people (tables) and for programs (JSON). */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* Prints an array of objects as a table with one column per key, or as a JSON array of what came. */
void output_list(bool as_json, const json_t *array, const char *const *columns);
/* Prints one object as "key  value" lines, nested values as JSON, in the order it came. */
void output_object(bool as_json, const json_t *object);
/* Prints any JSON value, indented. */
void output_json(const json_t *value);
