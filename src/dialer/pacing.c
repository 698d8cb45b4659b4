#include "pacing.h"

#include <glib.h>

#define CONTACT_LEAST SPAN_SECONDS(2)
#define CONTACT_MOST  SPAN_SECONDS(5)
/* Machines need minutes to boot; only after that an address counts as dead. */
#define CONTACT_PATIENCE SPAN_SECONDS(900)
#define BEGIN_PER_SECOND 1000
#define BACKOFF_FIRST    SPAN_SECONDS(2)
#define BACKOFF_MOST     SPAN_SECONDS(60)
/* Where no long poll is possible: the end of a step is seen at most this late, whatever the interval
 * between two looks at rest is. */
#define WORKING_MOST SPAN_SECONDS(15)

static uint64_t hash_text(const char *text)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 1099511628211u;
	return hash ^ hash >> 29;
}

/* 80 to 100 % of a time. */
static struct span with_jitter(int64_t us, uint64_t chance)
{
	return (struct span){us - (int64_t)(chance % (uint64_t)(us / 5 + 1))};
}

/* first, twice that, four times ... up to most */
static int64_t doubled(struct span first, unsigned times, struct span most)
{
	int64_t us = first.us << MIN(times, 20u);

	return MIN(us, most.us);
}

bool pacing_is_patient(enum watch_phase phase, struct span watched)
{
	return phase == WATCH_FIRST_CONTACT && watched.us < CONTACT_PATIENCE.us;
}

struct span pacing_first(enum watch_phase phase, struct span interval, unsigned others,
			 const struct uuid *node)
{
	int64_t crowd = 1 + others / BEGIN_PER_SECOND;
	int64_t range_us = SPAN_SECONDS(1).us;

	switch (phase) {
	case WATCH_FIRST_CONTACT: range_us = CONTACT_LEAST.us * crowd; break;
	case WATCH_WORKING: range_us *= crowd; break;
	case WATCH_IDLE: range_us = MAX(interval.us, 1); break;
	}
	return (struct span){(int64_t)(hash_text(node->s) % (uint64_t)range_us)};
}

struct span pacing_next(const struct pacing *p)
{
	if (pacing_is_patient(p->phase, p->watched))
		return (struct span){
			CONTACT_LEAST.us +
			(int64_t)(p->chance % (uint64_t)(CONTACT_MOST.us - CONTACT_LEAST.us))};
	if (p->failures > 0)
		return with_jitter(doubled(BACKOFF_FIRST, p->failures - 1, BACKOFF_MOST),
				   p->chance);
	switch (p->phase) {
	case WATCH_FIRST_CONTACT: return with_jitter(CONTACT_MOST.us, p->chance);
	case WATCH_WORKING:
		return with_jitter(doubled(SPAN_SECONDS(1), p->looks,
					   (struct span){MIN(WORKING_MOST.us, p->interval.us)}),
				   p->chance);
	case WATCH_IDLE: return with_jitter(p->interval.us, p->chance);
	}
	return p->interval;
}
