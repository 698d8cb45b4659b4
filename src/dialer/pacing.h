/* pacing.h: when an agent is looked at next: pure functions, the caller brings chance and time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "clocks.h"
#include "identity.h"
#include "vocabulary.h"

struct pacing {
	enum watch_phase phase;
	struct span interval; /* [agent]poll_interval */
	struct span watched;  /* since the watch began */
	unsigned failures;    /* in a row */
	unsigned looks;       /* successful ones since the command to follow was named */
	const struct uuid *node;
	struct mono now;
	uint64_t chance; /* any number */
};

/* From the beginning of a watch to its first look: spread by the node's name, so that a fleet stays
 * spread after a restart.  `others` are watched in this phase already: of those that are not at rest about a
 * thousand begin in a second. */
struct span pacing_first(enum watch_phase phase, struct span interval, unsigned others,
			 const struct uuid *node, struct mono now);
/* Whether the machine may still be booting. */
bool pacing_is_patient(enum watch_phase phase, struct span watched);
/* From the end of a look to the next one.  At rest that is never longer than the interval, and with it the
 * looks at a fleet become and stay even, whatever it was that brought them together. */
struct span pacing_next(const struct pacing *p);
