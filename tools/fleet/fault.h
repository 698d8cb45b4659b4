/* fault.h: the kinds of misbehaviour; declared in faults.def. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vocabulary.h"

#define FAULT_TRANSPORT_ANY (-1)

enum fault {
	FAULT_NONE,
#define FAULT(constant, name, transport, effect, words, doc) FAULT_##constant,
#include "faults.def"
#undef FAULT
	FAULT_COUNT
};

enum fault_effect { FAULT_EFFECT_REFUSED, FAULT_EFFECT_TOLERATED };

struct fault_row {
	const char *name;
	int transport; /* enum agent_transport, or FAULT_TRANSPORT_ANY */
	enum fault_effect effect;
	const char *words; /* part of the reason that the dialer must give */
	const char *doc;
};

extern const struct fault_row fault_table[FAULT_COUNT];

/* FAULT_NONE if there is no fault of that name. */
enum fault fault_find(const char *name);
/* The table for people. */
void fault_print_all(GString *out);
