#include "active_timing.h"

#include <glib.h>

#define LOOKUP_MOST_S 60

static struct span span_of(double seconds)
{
	return (struct span){(int64_t)(seconds * 1e6)};
}

struct span lookup_pace_next(struct lookup_pace *p, bool conflict, double chance)
{
	static const double conflict_s[] = {0, 5, 10, 30};
	double least = p->least_s;
	double most = least * (double)(2u << MIN(p->tries, 16u));

	most = MAX(least, MIN(most, LOOKUP_MOST_S));
	p->tries++;
	if (conflict)
		p->conflicts = MIN(p->conflicts + 1, (unsigned)G_N_ELEMENTS(conflict_s) - 1);
	return span_of(least + chance * (most - least) + (conflict ? conflict_s[p->conflicts] : 0));
}

struct span heartbeat_pause(unsigned timeout_s, bool taken, double chance)
{
	return span_of(taken ? (0.3 + 0.3 * chance) * timeout_s : 5 + 5 * chance);
}
