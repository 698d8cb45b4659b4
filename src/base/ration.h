/* ration.h: so many a second and no more, whoever comes.  What a second leaves over, the next one may take. */
#pragma once

#include "clocks.h"

/* Zeroed: nothing was taken yet. */
struct ration {
	struct mono full_at; /* when everything that was taken is made up for */
};

/* True if one of `per_second` is left at `now`. */
bool ration_take(struct ration *r, unsigned per_second, struct mono now);
