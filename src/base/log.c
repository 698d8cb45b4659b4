#include "log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clocks.h"

static const char *log_program = "inox";
static enum log_level log_most = LOG_LEVEL_INFO;

static const char *const level_text[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn",   [LOG_LEVEL_NOTICE] = "notice",
	[LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

void log_setup(const char *program, enum log_level most)
{
	log_program = program;
	log_most = most;
}

static void (*log_keep)(const char *line, size_t length);

void log_also_to(void (*keep)(const char *line, size_t length))
{
	log_keep = keep;
}

static bool is_plain(const char *text)
{
	if (!*text)
		return false;
	for (const char *c = text; *c; c++)
		if (!g_ascii_isgraph(*c) || *c == '"' || *c == '\\' || *c == '=')
			return false;
	return true;
}

static void append_value(GString *line, const char *text)
{
	if (is_plain(text)) {
		g_string_append(line, text);
		return;
	}
	g_string_append_c(line, '"');
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			g_string_append_printf(line, "\\%c", *c);
		else if (*c < 0x20 || *c == 0x7f)
			g_string_append_printf(line, "\\x%02x", *c);
		else
			g_string_append_c(line, (char)*c);
	}
	g_string_append_c(line, '"');
}

void log_write(enum log_level level, const char *object, const char *message,
	       const struct log_field *fields)
{
	if (level > log_most)
		return;
	char now[WALL_TEXT];

	wall_print(wall_now(), now);
	g_autoptr(GString) line = g_string_sized_new(200);
	g_string_append_printf(line, "%s %s %s[%d]", now, level_text[level], log_program,
			       (int)getpid());
	if (object) {
		g_string_append(line, " node=");
		append_value(line, object);
	}
	g_string_append(line, " message=");
	append_value(line, message);
	for (; fields->key; fields++) {
		g_string_append_printf(line, " %s=", fields->key);
		if (fields->text)
			append_value(line, fields->text);
		else
			g_string_append_printf(line, "%" G_GINT64_FORMAT, (gint64)fields->number);
	}
	g_string_append_c(line, '\n');
	/* One write, so that lines of several processes do not mix; a full pipe loses the line. */
	ssize_t written = write(STDERR_FILENO, line->str, line->len);
	(void)written;
	if (log_keep)
		log_keep(line->str, line->len);
}

char *log_clean_text(const char *text, size_t length, size_t limit)
{
	size_t take = MIN(length, limit);
	g_autofree char *valid = g_utf8_make_valid(text, (gssize)take);

	for (char *c = valid; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return g_steal_pointer(&valid);
}
