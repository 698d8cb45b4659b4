/* histogram.h: counts of values in buckets that grow with the value: at most 1/128 wrong, fixed in size, so
 * that it may lie in shared memory. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 4096

struct histogram {
	uint64_t total, most;
	uint64_t count[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value that `share` (0 to 1) of all values do not exceed; 0 if there are none. */
uint64_t histogram_quantile(const struct histogram *h, double share);
