/* active_timing.h: how long the active mode waits between two calls: the stock agent's rules, without a
 * clock and without a source of chance, so that they can be tested.  `chance` is from 0 to 1.
 */
#pragma once

#include <stdbool.h>

#include "clocks.h"

/* Waits between two look-ups; starts with only `least_s` set. */
struct lookup_pace {
	unsigned least_s; /* the shortest wait */
	unsigned tries, conflicts;
};

/* The wait after a look-up that failed: between the shortest and a bound that doubles up to 60 s;
 * `conflict` (status 409: the node is locked) adds 5, 10, then 30 s. */
struct span lookup_pace_next(struct lookup_pace *p, bool conflict, double chance);
/* After a heartbeat that was taken, 0.3 to 0.6 of the time in which one is expected; else 5 to 10 s. */
struct span heartbeat_pause(unsigned timeout_s, bool taken, double chance);
