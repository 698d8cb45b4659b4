/* script.h: what the agents of a fleet live through, as a small text.
 *
 *   # a comment
 *   agents 10%             a part of the fleet; all parts together are 100%
 *     boot 5..20           nothing listens for so many seconds from the start (each agent has its own number)
 *     idle 10..30          then it is looked at for so long
 *     run 20..40 fail 10%  then it gets a command that takes so long, with progress; a tenth of them fail
 *     repeat               from behind boot
 *   agents 90%
 *     idle                 for ever
 *
 * Times are seconds, with a fraction except for boot: N or FROM..TO.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "clocks.h"

#define SCRIPT_PARTS_MOST 8
#define SCRIPT_LINES_MOST 8
#define SCRIPT_BOOT_MOST  120 /* seconds: each one is a port */

enum script_word { SCRIPT_IDLE, SCRIPT_RUN };

struct script_line {
	enum script_word word;
	struct span from, to; /* idle: both 0 for ever */
	unsigned fail_share;  /* of SHARE_ALL */
};

struct script_part {
	unsigned share;              /* of SHARE_ALL */
	unsigned boot_from, boot_to; /* seconds; both 0: there from the start */
	struct script_line lines[SCRIPT_LINES_MOST];
	unsigned line_count;
	bool repeat;
};

struct script {
	struct script_part parts[SCRIPT_PARTS_MOST];
	unsigned part_count;
};

/* All agents idle. */
void script_default(struct script *out);
/* INVALID names the line. */
bool script_parse(const char *text, struct script *out, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* `chance` is below SHARE_ALL. */
const struct script_part *script_part_of(const struct script *s, unsigned chance);
/* 0: does not boot. */
unsigned script_boot_second(const struct script_part *p, uint64_t chance);
/* The last second at which a part boots; 0: none does. */
unsigned script_last_boot(const struct script *s);
struct span script_time(const struct script_line *l, uint64_t chance);
bool script_has_commands(const struct script_part *p);
