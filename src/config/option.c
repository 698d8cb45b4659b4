#include "option.h"

#include <string.h>

enum role_mask {
	R_SUPERVISOR = 1 << 0,
	R_API = 1 << 1,
	R_CONDUCTOR = 1 << 2,
	R_DIALER = 1 << 3,
	R_BMC = 1 << 4,
	R_BOOT = 1 << 5,
	R_CONNECTOR = 1 << 6,
	R_ALL = (1 << 7) - 1,
};

/* clang-format off */
const struct option option_table[OPTION_COUNT] = {
#define OPTION(group, name, kind, initial, roles, limits, doc) \
	[OPTION_##group##_##name] = {#group, #name, OPTION_KIND_##kind, initial, roles, limits, doc},
#include "options.def"
#undef OPTION
};

static const struct {
	const char *group, *name;
} ignored_table[] = {
#define IGNORED(group, name) {group, name},
#include "ignored.def"
#undef IGNORED
};
/* clang-format on */

int option_find(const char *group, const char *name)
{
	for (int i = 0; i < OPTION_COUNT; i++)
		if (strcmp(option_table[i].group, group) == 0 &&
		    strcmp(option_table[i].name, name) == 0)
			return i;
	return -1;
}

bool option_is_ignored(const char *group, const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(ignored_table); i++)
		if (strcmp(ignored_table[i].group, group) == 0 &&
		    (strcmp(ignored_table[i].name, "*") == 0 ||
		     strcmp(ignored_table[i].name, name) == 0))
			return true;
	return false;
}

/* Edit distance (insertions, deletions, replacements, swapped neighbours), at most `DISTANCE_MAX`. */
#define DISTANCE_MAX 64

static unsigned distance(const char *a, const char *b)
{
	size_t an = strlen(a), bn = strlen(b);
	unsigned rows[3][DISTANCE_MAX + 1];

	if (an >= DISTANCE_MAX || bn >= DISTANCE_MAX)
		return DISTANCE_MAX;
	for (size_t j = 0; j <= bn; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= an; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3],
			 *before = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= bn; j++) {
			row[j] = MIN(MIN(above[j] + 1, row[j - 1] + 1),
				     above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], before[j - 2] + 1);
		}
	}
	return rows[an % 3][bn];
}

int option_suggest(const char *group, const char *name)
{
	unsigned nearest = (unsigned)strlen(name) / 3 + 1;
	int found = -1;

	for (int i = 0; i < OPTION_COUNT; i++) {
		/* The right name in a wrong group counts as one mistake. */
		unsigned far = distance(option_table[i].name, name) +
			       (strcmp(option_table[i].group, group) != 0);

		if (far < nearest) {
			nearest = far;
			found = i;
		}
	}
	return found;
}

void option_value_clear(struct option_value *v)
{
	g_clear_pointer(&v->text, g_free);
	g_clear_pointer(&v->list, g_strfreev);
	g_clear_pointer(&v->networks, g_free);
	v->network_count = 0;
}

static char *set_number(struct option_value *v, const struct option *o, const char *text)
{
	g_auto(GStrv) limits = g_strsplit(o->limits, " ", 2);
	gint64 least = g_ascii_strtoll(limits[0], NULL, 10);
	gint64 most = g_ascii_strtoll(limits[1], NULL, 10);
	gint64 number = 0;

	if (!g_ascii_string_to_signed(text, 10, least, most, &number, NULL))
		return g_strdup_printf("allowed is a whole number%s from %s to %s",
				       o->kind == OPTION_KIND_SPAN ? " of seconds" : "", limits[0],
				       limits[1]);
	v->number = number;
	return NULL;
}

static char *set_bool(struct option_value *v, const char *text)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
		if (g_ascii_strcasecmp(words[i], text) == 0) {
			v->flag = i % 2;
			return NULL;
		}
	return g_strdup("allowed are true and false");
}

static char *set_enum(const struct option *o, const char *text)
{
	g_auto(GStrv) choices = g_strsplit(o->limits, "|", -1);

	if (g_strv_contains((const gchar *const *)choices, text))
		return NULL;
	g_autofree char *list = g_strjoinv(", ", choices);

	return g_strdup_printf("allowed %s %s", choices[1] ? "are" : "is", list);
}

/* Splits at commas; blanks around the parts and empty parts do not count. */
static char **split(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, ",", -1);
	g_autoptr(GPtrArray) kept = g_ptr_array_new();

	for (char **p = parts; *p; p++)
		if (*g_strstrip(*p))
			g_ptr_array_add(kept, g_strdup(*p));
	g_ptr_array_add(kept, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&kept), FALSE);
}

static char *set_networks(struct option_value *v, const char *text)
{
	g_auto(GStrv) parts = split(text);
	unsigned count = g_strv_length(parts);
	g_autofree struct network *networks = g_new0(struct network, count + 1);

	for (unsigned i = 0; i < count; i++) {
		g_autoptr(GError) error = NULL;

		if (!network_parse(parts[i], &networks[i], &error))
			return g_strdup_printf("allowed are ADDRESS/PREFIX, comma separated: %s",
					       error->message);
	}
	v->networks = g_steal_pointer(&networks);
	v->network_count = count;
	return NULL;
}

char *option_value_set(struct option_value *v, const struct option *o, const char *text)
{
	struct option_value next = {.line = v->line, .present = true};
	bool unset = !*text && !*o->initial;
	char *problem = NULL;

	switch (o->kind) {
	case OPTION_KIND_TEXT: break;
	case OPTION_KIND_BOOL: problem = unset ? NULL : set_bool(&next, text); break;
	case OPTION_KIND_INT:
	case OPTION_KIND_SPAN: problem = unset ? NULL : set_number(&next, o, text); break;
	case OPTION_KIND_ENUM: problem = set_enum(o, text); break;
	case OPTION_KIND_NETWORKS: problem = set_networks(&next, text); break;
	case OPTION_KIND_PATH:
		if (!unset && text[0] != '/')
			problem = g_strdup("allowed is an absolute path");
		break;
	case OPTION_KIND_LIST: next.list = split(text); break;
	}
	if (problem) {
		option_value_clear(&next);
		return problem;
	}
	next.text = g_strdup(text);
	option_value_clear(v);
	*v = next;
	return NULL;
}
