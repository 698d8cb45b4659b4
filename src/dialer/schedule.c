#include "schedule.h"

#define NOWHERE UINT32_MAX

struct slot {
	uint64_t due_us;
	uint32_t id;
};

struct schedule {
	struct slot *heap; /* parent of i is (i - 1) / 2 */
	uint32_t count, heap_size;
	uint32_t *place; /* by id: index into heap, or NOWHERE */
	uint32_t place_size;
};

struct schedule *schedule_new(void)
{
	return g_new0(struct schedule, 1);
}

void schedule_free(struct schedule *s)
{
	if (!s)
		return;
	g_free(s->heap);
	g_free(s->place);
	g_free(s);
}

static void put(struct schedule *s, uint32_t i, struct slot slot)
{
	s->heap[i] = slot;
	s->place[slot.id] = i;
}

static void rise(struct schedule *s, uint32_t i)
{
	struct slot slot = s->heap[i];

	while (i > 0 && s->heap[(i - 1) / 2].due_us > slot.due_us) {
		put(s, i, s->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	put(s, i, slot);
}

static void sink(struct schedule *s, uint32_t i)
{
	struct slot slot = s->heap[i];

	for (uint32_t child; (child = 2 * i + 1) < s->count; i = child) {
		if (child + 1 < s->count && s->heap[child + 1].due_us < s->heap[child].due_us)
			child++;
		if (s->heap[child].due_us >= slot.due_us)
			break;
		put(s, i, s->heap[child]);
	}
	put(s, i, slot);
}

static void grow(struct schedule *s, uint32_t id)
{
	if (id >= s->place_size) {
		uint32_t size = MAX(id + 1, s->place_size + s->place_size / 2 + 64);

		s->place = g_renew(uint32_t, s->place, size);
		for (uint32_t i = s->place_size; i < size; i++)
			s->place[i] = NOWHERE;
		s->place_size = size;
	}
	if (s->count == s->heap_size) {
		s->heap_size += s->heap_size / 2 + 64;
		s->heap = g_renew(struct slot, s->heap, s->heap_size);
	}
}

void schedule_set(struct schedule *s, uint32_t id, struct mono due)
{
	grow(s, id);
	uint32_t i = s->place[id];

	if (i == NOWHERE)
		i = s->count++;
	put(s, i, (struct slot){due.us, id});
	rise(s, i);
	sink(s, s->place[id]);
}

void schedule_remove(struct schedule *s, uint32_t id)
{
	if (!schedule_is_set(s, id))
		return;
	uint32_t i = s->place[id];
	struct slot last = s->heap[--s->count];

	s->place[id] = NOWHERE;
	if (last.id == id)
		return;
	put(s, i, last);
	rise(s, i);
	sink(s, s->place[last.id]);
}

bool schedule_is_set(const struct schedule *s, uint32_t id)
{
	return id < s->place_size && s->place[id] != NOWHERE;
}

bool schedule_peek(const struct schedule *s, struct mono *ret_due)
{
	if (s->count == 0)
		return false;
	*ret_due = (struct mono){s->heap[0].due_us};
	return true;
}

bool schedule_take_due(struct schedule *s, struct mono now, uint32_t *ret_id, struct mono *ret_due)
{
	if (s->count == 0 || s->heap[0].due_us > now.us)
		return false;
	*ret_id = s->heap[0].id;
	*ret_due = (struct mono){s->heap[0].due_us};
	schedule_remove(s, *ret_id);
	return true;
}
