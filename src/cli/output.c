#include "output.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "jsons.h"
#include "log.h"

#define WIDEST_COLUMN 60

void output_json(const json_t *value)
{
	char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);

	puts(text);
	g_free(text);
}

/* Text of a cell, safe for a terminal; the caller frees it. */
static char *cell_text(const json_t *value)
{
	if (!value || json_is_null(value))
		return g_strdup("-");
	if (json_is_string(value))
		return log_clean_text(json_string_value(value), json_string_length(value), 4096);
	return json_print_python(value);
}

static unsigned width_of(const char *text)
{
	return (unsigned)g_utf8_strlen(text, -1);
}

static void print_padded(const char *text, unsigned width, bool last)
{
	fputs(text, stdout);
	if (last)
		putchar('\n');
	else
		printf("%*s", (int)(width > width_of(text) ? width - width_of(text) : 0) + 2, "");
}

static void print_table(const json_t *array, const char *const *columns)
{
	unsigned count = g_strv_length((char **)(uintptr_t)columns);
	g_autofree unsigned *widths = g_new0(unsigned, count);
	g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
	const json_t *row;
	size_t i;

	for (unsigned c = 0; c < count; c++)
		widths[c] = width_of(columns[c]);
	json_array_foreach((json_t *)(uintptr_t)array, i, row) {
		for (unsigned c = 0; c < count; c++) {
			char *text = cell_text(json_object_get(row, columns[c]));

			g_ptr_array_add(cells, text);
			widths[c] = MIN(MAX(widths[c], width_of(text)), WIDEST_COLUMN);
		}
	}
	for (unsigned c = 0; c < count; c++)
		print_padded(columns[c], widths[c], c + 1 == count);
	for (unsigned n = 0; n < cells->len; n++)
		print_padded(cells->pdata[n], widths[n % count], (n + 1) % count == 0);
}

void output_list(bool as_json, const json_t *array, const char *const *columns)
{
	if (as_json)
		output_json(array);
	else
		print_table(array, columns);
}

void output_object(bool as_json, const json_t *object)
{
	unsigned width = 0;
	const char *key;
	json_t *value;

	if (as_json) {
		output_json(object);
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
		width = MAX(width, width_of(key));
	json_object_foreach((json_t *)(uintptr_t)object, key, value) {
		g_autofree char *text = cell_text(value);

		print_padded(key, width, false);
		puts(text);
	}
}
