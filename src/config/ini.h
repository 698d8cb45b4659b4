/* ini.h: a strict reader of INI text that knows line numbers.
 *
 * Lines are `[group]`, `name = value`, comments (first character '#' or ';') or empty.  A value goes to
 * the end of its line without the blanks around it; there are no continuation lines, no quotes and no
 * comments behind a value.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* One option, or `problem` when the line is none of the above (group, name and value are NULL then).
 * All texts are borrowed for the call. */
struct ini_line {
	unsigned number;
	const char *group, *name, *value;
	const char *problem;
};

typedef void (*ini_line_fn)(void *ctx, const struct ini_line *line);

/* Calls `fn` for each option and each bad line, in order.  Never fails: bad lines are reported as such
 * and the rest is read on. */
void ini_read(const char *text, size_t length, ini_line_fn fn, void *ctx);
