/* schedule.h: what is due when, for a million things: a binary heap of small numbers.
 *
 * 20 bytes per thing; setting, removing and taking cost O(log n).  Knows no clock.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "clocks.h"

struct schedule;

struct schedule *schedule_new(void);
void schedule_free(struct schedule *s);

/* `id` is a small number (an array is as long as the largest one).  An id that is set already moves. */
void schedule_set(struct schedule *s, uint32_t id, struct mono due);
void schedule_remove(struct schedule *s, uint32_t id); /* harmless if it is not set */
bool schedule_is_set(const struct schedule *s, uint32_t id);
/* Due time of the earliest; false if nothing is set. */
bool schedule_peek(const struct schedule *s, struct mono *ret_due);
/* Takes the earliest out if it is due. */
bool schedule_take_due(struct schedule *s, struct mono now, uint32_t *ret_id, struct mono *ret_due);

typedef struct schedule schedule;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(schedule, schedule_free)
