#include "histogram.h"

#define SUB_BITS 7u
#define SUBS     (1u << SUB_BITS)

/* Below SUBS exact; above, the leading bit and those behind it name the bucket. */
static unsigned bucket_of(uint64_t value)
{
	if (value < SUBS)
		return (unsigned)value;
	unsigned top = 63u - (unsigned)__builtin_clzll(value);
	unsigned bucket =
		(top - SUB_BITS + 1) * SUBS + (unsigned)(value >> (top - SUB_BITS) & (SUBS - 1));

	return MIN(bucket, HISTOGRAM_BUCKETS - 1);
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_end(unsigned bucket)
{
	if (bucket < SUBS)
		return bucket;
	unsigned shift = bucket / SUBS - 1;

	return ((uint64_t)(SUBS + bucket % SUBS + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->total++;
	h->most = MAX(h->most, value);
	h->count[bucket_of(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	into->total += from->total;
	into->most = MAX(into->most, from->most);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->count[i] += from->count[i];
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
	uint64_t wanted = (uint64_t)((double)h->total * share), seen = 0;

	if (h->total == 0)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->count[i];
		if (seen > wanted || seen == h->total)
			return MIN(bucket_end(i), h->most);
	}
	return h->most;
}
