#include "script.h"

#include <string.h>

#include "errors.h"
#include "share.h"

#define WORDS_MOST      4
#define SECONDS_LONGEST 86400.0

void script_default(struct script *out)
{
	*out = (struct script){.part_count = 1};
	out->parts[0] = (struct script_part){.share = SHARE_ALL, .line_count = 1};
	out->parts[0].lines[0].word = SCRIPT_IDLE;
}

/* ---- reading */

static bool parse_seconds(const char *text, double *ret_from, double *ret_to, GError **error)
{
	const char *dots = strstr(text, "..");
	char *end = NULL;
	double from = g_ascii_strtod(text, &end);
	bool good = g_ascii_isdigit(*text) && (dots ? end == dots || end == dots + 1 : !*end);
	double to = from;

	/* "5..20": the number swallows the first dot. */
	if (good && dots) {
		to = g_ascii_strtod(dots + 2, &end);
		good = g_ascii_isdigit(dots[2]) && !*end;
	}
	if (!good || from > to || to > SECONDS_LONGEST)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "'%.32s' is not a time in seconds, N or FROM..TO", text);
	*ret_from = from;
	*ret_to = to;
	return true;
}

static bool read_agents(struct script *s, char **words, unsigned count, GError **error)
{
	if (count != 2)
		return inox_error_set(error, INOX_ERROR_INVALID, "expected: agents SHARE");
	if (s->part_count == SCRIPT_PARTS_MOST)
		return inox_error_set(error, INOX_ERROR_INVALID, "more than %d parts",
				      SCRIPT_PARTS_MOST);
	return share_parse(words[1], &s->parts[s->part_count++].share, error);
}

static bool read_boot(struct script_part *p, char **words, unsigned count, GError **error)
{
	double from, to;

	if (count != 2 || p->line_count > 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "expected: boot SECONDS, first in its part");
	if (!parse_seconds(words[1], &from, &to, error))
		return false;
	if (to > SCRIPT_BOOT_MOST || from < 1)
		return inox_error_set(error, INOX_ERROR_INVALID, "boot takes 1 to %d seconds",
				      SCRIPT_BOOT_MOST);
	p->boot_from = (unsigned)from;
	p->boot_to = (unsigned)to;
	return true;
}

static bool read_line(struct script_part *p, enum script_word word, char **words, unsigned count,
		      GError **error)
{
	struct script_line l = {.word = word};
	double from = 0, to = 0;
	bool fails = word == SCRIPT_RUN && count == 4 && strcmp(words[2], "fail") == 0;

	if (count > 2 && !fails)
		return inox_error_set(error, INOX_ERROR_INVALID, "unexpected: %.32s", words[2]);
	if (count < 2 && word == SCRIPT_RUN)
		return inox_error_set(error, INOX_ERROR_INVALID, "expected: run SECONDS");
	if (p->line_count == SCRIPT_LINES_MOST)
		return inox_error_set(error, INOX_ERROR_INVALID, "more than %d states in a part",
				      SCRIPT_LINES_MOST);
	if (count > 1 && !parse_seconds(words[1], &from, &to, error))
		return false;
	if (fails && !share_parse(words[3], &l.fail_share, error))
		return false;
	l.from.us = (int64_t)(from * 1e6);
	l.to.us = (int64_t)(to * 1e6);
	p->lines[p->line_count++] = l;
	return true;
}

static bool read_words(struct script *s, char **words, unsigned count, GError **error)
{
	if (strcmp(words[0], "agents") == 0)
		return read_agents(s, words, count, error);
	if (s->part_count == 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "a script begins with: agents SHARE");
	struct script_part *p = &s->parts[s->part_count - 1];

	if (p->repeat)
		return inox_error_set(error, INOX_ERROR_INVALID, "nothing follows repeat");
	if (strcmp(words[0], "boot") == 0)
		return read_boot(p, words, count, error);
	if (strcmp(words[0], "idle") == 0)
		return read_line(p, SCRIPT_IDLE, words, count, error);
	if (strcmp(words[0], "run") == 0)
		return read_line(p, SCRIPT_RUN, words, count, error);
	if (strcmp(words[0], "repeat") != 0 || count != 1)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "'%.32s' is none of agents, boot, idle, run and repeat",
				      words[0]);
	p->repeat = true;
	return true;
}

static bool read_text_line(struct script *s, char *line, GError **error)
{
	char *words[WORDS_MOST];
	unsigned count = 0;

	line[strcspn(line, "#\r")] = '\0';
	for (line += strspn(line, " \t"); *line; line += strspn(line, " \t")) {
		if (count == WORDS_MOST)
			return inox_error_set(error, INOX_ERROR_INVALID, "too many words");
		words[count++] = line;
		line += strcspn(line, " \t");
		if (*line)
			*line++ = '\0';
	}
	return count == 0 || read_words(s, words, count, error);
}

static bool check_whole(const struct script *s, GError **error)
{
	unsigned share = 0;

	for (unsigned i = 0; i < s->part_count; i++)
		share += s->parts[i].share;
	if (share != SHARE_ALL)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "script: its parts are %u.%02u%% of the agents, not 100%%",
				      share / 100, share % 100);
	return true;
}

bool script_parse(const char *text, struct script *out, GError **error)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	struct script s = {.part_count = 0};

	for (unsigned i = 0; lines[i]; i++) {
		g_autoptr(GError) reason = NULL;

		if (!read_text_line(&s, lines[i], &reason))
			return inox_error_set(error, INOX_ERROR_INVALID, "script, line %u: %s",
					      i + 1, reason->message);
	}
	if (!check_whole(&s, error))
		return false;
	*out = s;
	return true;
}

/* ---- use */

const struct script_part *script_part_of(const struct script *s, unsigned chance)
{
	unsigned i = 0;

	while (i + 1 < s->part_count && chance >= s->parts[i].share)
		chance -= s->parts[i++].share;
	return &s->parts[i];
}

unsigned script_boot_second(const struct script_part *p, uint64_t chance)
{
	return p->boot_to ? p->boot_from + (unsigned)(chance % (p->boot_to - p->boot_from + 1)) : 0;
}

unsigned script_last_boot(const struct script *s)
{
	unsigned last = 0;

	for (unsigned i = 0; i < s->part_count; i++)
		last = MAX(last, s->parts[i].boot_to);
	return last;
}

struct span script_time(const struct script_line *l, uint64_t chance)
{
	return (struct span){l->from.us +
			     (int64_t)(chance % (uint64_t)(l->to.us - l->from.us + 1))};
}

bool script_has_commands(const struct script_part *p)
{
	for (unsigned i = 0; i < p->line_count; i++)
		if (p->lines[i].word == SCRIPT_RUN)
			return true;
	return false;
}
