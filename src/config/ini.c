#include "ini.h"

#include <string.h>

#define LINE_LIMIT 16384

struct reader {
	ini_line_fn fn;
	void *ctx;
	unsigned number;
	char *group; /* NULL before the first one, and after a bad one */
	bool group_was_bad;
};

static void report(struct reader *r, const char *problem)
{
	r->fn(r->ctx, &(struct ini_line){.number = r->number, .problem = problem});
}

static bool is_word(const char *text)
{
	if (!*text)
		return false;
	for (const char *c = text; *c; c++)
		if (!g_ascii_isalnum(*c) && *c != '_' && *c != '-' && *c != '.')
			return false;
	return true;
}

static void read_group(struct reader *r, char *line)
{
	size_t length = strlen(line);

	g_clear_pointer(&r->group, g_free);
	r->group_was_bad = true;
	if (line[length - 1] != ']') {
		report(r, "a group is written as [name]");
		return;
	}
	line[length - 1] = '\0';
	char *name = g_strstrip(line + 1);

	if (!is_word(name)) {
		report(r, "the name of a group is made of letters, digits, '_', '-' and '.'");
		return;
	}
	r->group = g_strdup(name);
	r->group_was_bad = false;
}

static void read_option(struct reader *r, char *line)
{
	char *equals = strchr(line, '=');

	if (!equals) {
		report(r, "expected `name = value`, `[group]` or a comment");
		return;
	}
	*equals = '\0';
	char *name = g_strstrip(line), *value = g_strstrip(equals + 1);

	if (!is_word(name))
		report(r, "the name of an option is made of letters, digits, '_', '-' and '.'");
	else if (r->group)
		r->fn(r->ctx, &(struct ini_line){.number = r->number,
						 .group = r->group,
						 .name = name,
						 .value = value});
	else if (!r->group_was_bad)
		report(r, "an option before the first [group]");
}

/* `line` is the reader's to change. */
static void read_line(struct reader *r, char *line, size_t length)
{
	if (length > LINE_LIMIT) {
		report(r, "the line is too long");
		return;
	}
	if (memchr(line, '\0', length) || !g_utf8_validate(line, (gssize)length, NULL)) {
		report(r, "the line is not UTF-8 text");
		return;
	}
	bool indented = length > 0 && g_ascii_isspace(line[0]);
	char *rest = g_strstrip(line);

	for (const char *c = rest; *c; c++)
		if ((unsigned char)*c < 0x20 && *c != '\t') {
			report(r, "the line has a control character");
			return;
		}
	if (!*rest || *rest == '#' || *rest == ';')
		return;
	if (indented)
		report(r, "the line starts with a blank: a value cannot be continued");
	else if (*rest == '[')
		read_group(r, rest);
	else
		read_option(r, rest);
}

void ini_read(const char *text, size_t length, ini_line_fn fn, void *ctx)
{
	struct reader r = {.fn = fn, .ctx = ctx};
	const char *end = text + length;

	for (const char *start = text; start < end;) {
		const char *newline = memchr(start, '\n', (size_t)(end - start));
		size_t line_length = (size_t)((newline ? newline : end) - start);
		g_autofree char *line = g_malloc(line_length + 1);

		memcpy(line, start, line_length);
		line[line_length] = '\0';
		r.number++;
		read_line(&r, line, line_length);
		start += line_length + 1;
	}
	g_free(r.group);
}
