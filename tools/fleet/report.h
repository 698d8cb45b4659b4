/* report.h: the figures of a run, for people and as JSON. */
#pragma once

#include <jansson.h>

#include "board.h"
#include "player.h"

/* A reading of everything that only grows. */
struct snapshot {
	struct mono at;
	struct tally *tally;
	uint64_t dialer_ns, connector_ns, server_ns;
	uint64_t dialer_bytes;
};

struct report {
	struct fleet *fleet;
	const struct player *player; /* NULL: the agents only were played */
	const struct board *board;
	struct snapshot from, to;
	unsigned servers, interval_s;
	double all_seen_s; /* until every healthy agent was looked at; negative: not yet */
};

void snapshot_clear(struct snapshot *s);
/* The caller owns the object; README of its keys: doc/inox-fleet.md. */
json_t *report_json(const struct report *r);
/* The same for people. */
void report_print(const json_t *figures, GString *out);
