#include "fault.h"

#include <string.h>

#define FAULT_TRANSPORT_PSK    TRANSPORT_PSK
#define FAULT_TRANSPORT_PINNED TRANSPORT_PINNED
#define FAULT_TRANSPORT_HTTP   TRANSPORT_HTTP

const struct fault_row fault_table[FAULT_COUNT] = {
	[FAULT_NONE] = {"none", FAULT_TRANSPORT_ANY, FAULT_EFFECT_TOLERATED, "", "healthy"},
#define FAULT(constant, name, transport, effect, words, doc) \
	[FAULT_##constant] = {name, FAULT_TRANSPORT_##transport, FAULT_EFFECT_##effect, words, doc},
#include "faults.def"
#undef FAULT
};

enum fault fault_find(const char *name)
{
	for (int f = FAULT_NONE + 1; f < FAULT_COUNT; f++)
		if (strcmp(fault_table[f].name, name) == 0)
			return (enum fault)f;
	return FAULT_NONE;
}

void fault_print_all(GString *out)
{
	for (int f = FAULT_NONE + 1; f < FAULT_COUNT; f++)
		g_string_append_printf(
			out, "%-18s %-7s %-9s %s\n", fault_table[f].name,
			fault_table[f].transport < 0
				? "any"
				: agent_transport_text((unsigned)fault_table[f].transport),
			fault_table[f].effect == FAULT_EFFECT_REFUSED ? "refused" : "tolerated",
			fault_table[f].doc);
}
