#include "board.h"

#include <errno.h>
#include <sys/mman.h>

#include "errors.h"

static size_t board_bytes(uint32_t agents)
{
	return sizeof(struct board) + sizeof(uint32_t) * agents;
}

struct board *board_new(uint32_t agents, uint32_t interval_ms, GError **error)
{
	struct board *b = mmap(NULL, board_bytes(agents), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (b == MAP_FAILED) {
		inox_error_set_errno(error, errno, "share memory");
		return NULL;
	}
	b->start = mono_now();
	b->agents = agents;
	b->interval_ms = interval_ms;
	return b;
}

void board_free(struct board *b)
{
	if (b)
		munmap(b, board_bytes(b->agents));
}

void board_look(struct board *b, struct tally *t, uint32_t agent, bool healthy, struct mono now)
{
	uint32_t ms = (uint32_t)((now.us - b->start.us) / 1000) + 1;

	t->looks++;
	t->looks_in_second[MIN(ms / 1000, BOARD_SECONDS - 1)]++;
	if (healthy && !b->seen_ms[agent]) {
		t->first_looks++;
	} else if (healthy) {
		uint32_t gap = ms - b->seen_ms[agent];

		histogram_add(&t->gap_ms, gap);
		t->late += gap > b->interval_ms;
	}
	b->seen_ms[agent] = ms;
}

struct tally *board_sum(const struct board *b)
{
	struct tally *sum = g_new0(struct tally, 1);

	for (unsigned p = 0; p < BOARD_PROCESSES_MOST; p++) {
		const struct tally *t = &b->tallies[p];

		sum->connections += t->connections;
		sum->requests += t->requests;
		sum->looks += t->looks;
		sum->first_looks += t->first_looks;
		sum->handshakes += t->handshakes;
		sum->broken_handshakes += t->broken_handshakes;
		sum->commands += t->commands;
		sum->ended += t->ended;
		sum->double_polls += t->double_polls;
		sum->refused_tokens += t->refused_tokens;
		sum->strangers += t->strangers;
		sum->trapped += t->trapped;
		histogram_merge(&sum->gap_ms, &t->gap_ms);
		sum->late += t->late;
		for (int k = 0; k < FAULT_COUNT; k++)
			sum->contacts[k] += t->contacts[k];
		for (unsigned s = 0; s < BOARD_SECONDS; s++)
			sum->looks_in_second[s] += t->looks_in_second[s];
	}
	return sum;
}

uint64_t board_first_looks(const struct board *b)
{
	uint64_t sum = 0;

	for (unsigned p = 0; p < BOARD_PROCESSES_MOST; p++)
		sum += b->tallies[p].first_looks;
	return sum;
}
