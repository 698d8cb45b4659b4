/* steps.h: the table of deploy steps: what deploy.get_deploy_steps lists is what can be executed. */
#pragma once

#include <stdbool.h>

#include "command.h"

struct step {
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
const struct step *step_find(const char *name); /* NULL if there is no such step */
