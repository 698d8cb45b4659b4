#include "clocks.h"

#include <glib.h>
#include <time.h>

struct mono mono_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (struct mono){(uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u};
}

struct wall wall_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct wall){(int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000};
}

void wall_print(struct wall t, char out[static WALL_TEXT])
{
	time_t seconds = (time_t)(t.us / 1000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	g_snprintf(out, WALL_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%06u+00:00",
		   (unsigned)(tm.tm_year + 1900) % 10000u, (unsigned)(tm.tm_mon + 1) % 100u,
		   (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u,
		   (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u,
		   (unsigned)(t.us % 1000000) % 1000000u);
}
