/* clocks.h: three types for time, so that they cannot be mixed up.
 *
 * struct mono  microseconds since boot (CLOCK_MONOTONIC): deadlines, ages, pacing inside one process
 * struct wall  microseconds since 1970 (CLOCK_REALTIME): rows and people; 0 means "never"
 * struct span  a length in microseconds
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mono {
	uint64_t us;
};
struct wall {
	int64_t us;
};
struct span {
	int64_t us;
};

#define SPAN_MS(n)      ((struct span){(int64_t)(n)*1000})
#define SPAN_SECONDS(n) ((struct span){(int64_t)(n)*1000000})

struct mono mono_now(void);
struct wall wall_now(void);

static inline struct mono mono_add(struct mono t, struct span d)
{
	return (struct mono){t.us + (uint64_t)d.us};
}

static inline bool mono_reached(struct mono due, struct mono now)
{
	return due.us <= now.us;
}

static inline struct wall wall_add(struct wall t, struct span d)
{
	return (struct wall){t.us + d.us};
}

static inline bool wall_reached(struct wall due, struct wall now)
{
	return due.us != 0 && due.us <= now.us;
}

#define WALL_TEXT 33

/* Writes "2026-11-21T19:55:47.438804+00:00" (always UTC), the form the API shows. */
void wall_print(struct wall t, char out[static WALL_TEXT]);
