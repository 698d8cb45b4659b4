#include <string.h>

#include "option.h"

static void append_allowed(GString *out, const struct option *o)
{
	g_auto(GStrv) limits = g_strsplit(o->limits, o->kind == OPTION_KIND_ENUM ? "|" : " ", -1);
	g_autofree char *choices = g_strjoinv(", ", limits);

	switch (o->kind) {
	case OPTION_KIND_BOOL: g_string_append(out, "# true or false\n"); break;
	case OPTION_KIND_INT:
		g_string_append_printf(out, "# %s to %s\n", limits[0], limits[1]);
		break;
	case OPTION_KIND_SPAN:
		g_string_append_printf(out, "# seconds, %s to %s\n", limits[0], limits[1]);
		break;
	case OPTION_KIND_ENUM: g_string_append_printf(out, "# one of: %s\n", choices); break;
	case OPTION_KIND_NETWORKS:
		g_string_append(out, "# ADDRESS/PREFIX, comma separated\n");
		break;
	case OPTION_KIND_LIST: g_string_append(out, "# comma separated\n"); break;
	case OPTION_KIND_PATH: g_string_append(out, "# absolute path\n"); break;
	case OPTION_KIND_TEXT: break;
	}
}

/* The text in lines of at most 98 characters behind "# ". */
static void append_doc(GString *out, const char *doc)
{
	g_auto(GStrv) words = g_strsplit(doc, " ", -1);
	size_t column = 0;

	for (char **w = words; *w; w++) {
		size_t length = strlen(*w);

		if (column + 1 + length > 98 || column == 0) {
			g_string_append_printf(out, "%s# %s", column ? "\n" : "", *w);
			column = 2 + length;
		} else {
			g_string_append_printf(out, " %s", *w);
			column += 1 + length;
		}
	}
	g_string_append(out, ".\n");
}

void config_print_sample(GString *out)
{
	const char *group = "";

	g_string_append(out,
			"# inoxd: sample configuration.  Every option with its default.\n"
			"# A value ends with its line; comments stand on lines of their own.\n");
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option *o = &option_table[i];

		if (strcmp(group, o->group) != 0)
			g_string_append_printf(out, "\n[%s]\n", o->group);
		group = o->group;
		g_string_append_c(out, '\n');
		append_doc(out, o->doc);
		append_allowed(out, o);
		g_string_append_printf(out, "#%s =%s%s\n", o->name, *o->initial ? " " : "",
				       o->initial);
	}
}
