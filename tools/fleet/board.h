/* board.h: what the serving processes have seen, in memory that they share with the process that reports.
 * Every tally has one writer, and every agent belongs to one serving process. */
#pragma once

#include <glib.h>
#include <stdint.h>

#include "clocks.h"
#include "fault.h"
#include "histogram.h"

#define BOARD_PROCESSES_MOST 16
#define BOARD_SECONDS        4096

struct tally {
	uint64_t connections, requests;
	uint64_t looks; /* requests that needed the token, or came inside a channel that did */
	uint64_t first_looks; /* healthy agents that were looked at at least once */
	uint64_t handshakes, broken_handshakes;
	uint64_t commands, ended;
	uint64_t double_polls;   /* an agent was asked to wait that waited for somebody already */
	uint64_t refused_tokens; /* requests with another token than the agent's own */
	uint64_t strangers;      /* connections to addresses of no agent */
	uint64_t trapped;        /* connections to where redirects lead */
	uint64_t contacts[FAULT_COUNT];
	struct histogram gap_ms; /* between two looks at a healthy agent */
	uint64_t late;           /* gaps that were longer than the interval */
	uint32_t looks_in_second[BOARD_SECONDS];
};

struct board {
	struct mono start;
	uint32_t agents, interval_ms;
	struct tally tallies[BOARD_PROCESSES_MOST];
	uint32_t seen_ms
		[]; /* per agent: 1 + milliseconds from the start to its last look; 0: none */
};

/* For processes that are forked from now on, too. */
struct board *board_new(uint32_t agents, uint32_t interval_ms, GError **error);
void board_free(struct board *b);
/* An authenticated look at an agent at this time. */
void board_look(struct board *b, struct tally *t, uint32_t agent, bool healthy, struct mono now);
/* The sum of all processes; the caller frees it. */
struct tally *board_sum(const struct board *b);
/* Healthy agents that were looked at at least once. */
uint64_t board_first_looks(const struct board *b);
