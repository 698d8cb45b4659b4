#include "ration.h"

bool ration_take(struct ration *r, unsigned per_second, struct mono now)
{
	struct span each = {SPAN_SECONDS(1).us / per_second};

	if (mono_reached(r->full_at, now))
		r->full_at = now;
	if (r->full_at.us - now.us + (uint64_t)each.us > (uint64_t)SPAN_SECONDS(1).us)
		return false;
	r->full_at = mono_add(r->full_at, each);
	return true;
}
