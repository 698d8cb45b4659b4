/* steps.h: the table of deploy and clean steps: what deploy.get_deploy_steps and clean.get_clean_steps list is
 * what can be executed. */
#pragma once

#include <stdbool.h>

#include "command.h"

enum step_kind { STEP_ANY, STEP_DEPLOY, STEP_CLEAN };

struct step {
	enum step_kind kind; /* STEP_ANY: of every kind */
	const char *interface;
	const char *name;
	int priority;
	bool reboot_requested;
	bool abortable;
	step_fn run;
};

/* Adds a table that ends with a row without a name; NULL for none.  Before the first look. */
void steps_use_extra(const struct step *table);
/* The i-th step: those of steps.def, then the extra ones; NULL past the end. */
const struct step *step_at(unsigned i);
/* NULL if there is no such step of that kind. */
const struct step *step_find(enum step_kind kind, const char *name);
bool step_is(const struct step *s, enum step_kind kind);
