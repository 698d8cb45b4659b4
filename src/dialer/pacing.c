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
/* After an event that many agents share (a restart, an outage) their pauses are of the same length: the first ones
 * are drawn so widely that the fleet is even again when they have become long. */
#define SETTLED 6
/* An agent at rest has a slot of its own in each period, a little shorter than the interval; a look comes up to
 * this part of the interval behind its slot, and is as late as this machine is busy: the rest of the interval, 2.5 %,
 * is for that. */
#define PERIOD_PERCENT 97
#define JITTER_PART    200
/* Who is not in its slot (after an outage, an overload) comes so much earlier at each look, until it is. */
#define RETURN_PART 8

static uint64_t hash_text(const char *text)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 1099511628211u;
	return hash ^ hash >> 29;
}

/* A time, less up to this part of it. */
static struct span less_up_to(int64_t us, int64_t part_us, uint64_t chance)
{
	return (struct span){us - (int64_t)(chance % (uint64_t)(part_us + 1))};
}

/* 80 to 100 % of a time. */
static struct span with_jitter(int64_t us, uint64_t chance)
{
	return less_up_to(us, us / 5, chance);
}

/* first, twice that, four times ... up to most: 25 to 100 % of it until the agents have settled */
static struct span doubled(struct span first, unsigned times, struct span most, uint64_t chance)
{
	int64_t us = first.us << MIN(times, 20u);

	us = MIN(us, most.us);
	return times < SETTLED ? less_up_to(us, us / 4 * 3, chance) : with_jitter(us, chance);
}

bool pacing_is_patient(enum watch_phase phase, struct span watched)
{
	return phase == WATCH_FIRST_CONTACT && watched.us < CONTACT_PATIENCE.us;
}

static int64_t period_us(struct span interval)
{
	return MAX(interval.us / 100 * PERIOD_PERCENT, 1);
}

/* More than 0, up to a period: the slots are the node's on this machine's clock. */
static int64_t until_slot_us(struct span interval, const struct uuid *node, struct mono now)
{
	uint64_t period = (uint64_t)period_us(interval);
	uint64_t offset = hash_text(node->s) % period;

	return (int64_t)(period - (now.us + period - offset) % period);
}

static struct span rest(const struct pacing *p)
{
	int64_t least_us = period_us(p->interval);

	least_us -= least_us / RETURN_PART;
	int64_t us = MAX(until_slot_us(p->interval, p->node, p->now), least_us);

	return (struct span){us +
			     (int64_t)(p->chance % (uint64_t)(p->interval.us / JITTER_PART + 1))};
}

struct span pacing_first(enum watch_phase phase, struct span interval, unsigned others,
			 const struct uuid *node, struct mono now)
{
	int64_t crowd = 1 + others / BEGIN_PER_SECOND;
	struct span range = phase == WATCH_FIRST_CONTACT ? CONTACT_LEAST : SPAN_SECONDS(1);

	if (phase == WATCH_IDLE)
		return (struct span){until_slot_us(interval, node, now)};
	return (struct span){(int64_t)(hash_text(node->s) % (uint64_t)(range.us * crowd))};
}

struct span pacing_next(const struct pacing *p)
{
	if (pacing_is_patient(p->phase, p->watched))
		return (struct span){
			CONTACT_LEAST.us +
			(int64_t)(p->chance % (uint64_t)(CONTACT_MOST.us - CONTACT_LEAST.us))};
	if (p->failures > 0)
		return doubled(BACKOFF_FIRST, p->failures - 1, BACKOFF_MOST, p->chance);
	switch (p->phase) {
	case WATCH_FIRST_CONTACT: return with_jitter(CONTACT_MOST.us, p->chance);
	case WATCH_WORKING:
		return doubled(SPAN_SECONDS(1), p->looks,
			       (struct span){MIN(WORKING_MOST.us, p->interval.us)}, p->chance);
	case WATCH_IDLE: return rest(p);
	}
	return p->interval;
}
