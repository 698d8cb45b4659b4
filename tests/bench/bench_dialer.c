/* Memory and time of the dialer's own bookkeeping for 200,000 watched nodes: the limit is 1 KiB per node.
 * The hash table of a million is as full on average; records and schedule grow in proportion. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "schedule.h"
#include "table.h"

#define NODES 200000u

static size_t resident_bytes(void)
{
	g_autofree char *text = NULL;
	unsigned long pages = 0;

	if (!g_file_get_contents("/proc/self/statm", &text, NULL, NULL) ||
	    sscanf(text, "%*u %lu", &pages) != 1)
		return 0;
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

int main(void)
{
	g_autoptr(table) watches = table_new();
	g_autoptr(schedule) plan = schedule_new();
	size_t before = resident_bytes();
	uint64_t start = mono_now().us;
	uint32_t id;
	struct mono due;

	for (unsigned i = 0; i < NODES; i++) {
		struct uuid node = uuid_new();
		struct watch *w = table_add(watches, &node);

		schedule_set(plan, w->id, (struct mono){(uint64_t)g_random_int()});
	}
	size_t bytes = (resident_bytes() - before) / NODES;
	uint64_t middle = mono_now().us;

	for (unsigned i = 0; i < NODES; i++) {
		g_assert_true(schedule_take_due(plan, (struct mono){UINT64_MAX}, &id, &due));
		schedule_set(plan, id, (struct mono){due.us + UINT32_MAX});
	}
	printf("dialer: %zu bytes per watched node (limit 1024); adding one %.2f us, one turn of the "
	       "schedule %.2f us\n",
	       bytes, (double)(middle - start) / NODES, (double)(mono_now().us - middle) / NODES);
	return bytes <= 1024 ? 0 : 1;
}
