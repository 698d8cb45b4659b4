/* supervisor.h: starts the processes, restarts what ends, feeds the watchdog, ends everything in order. */
#pragma once

#include "config.h"
#include "state.h"

struct supervisor_options {
	const struct config *config;
	const struct state *state;
	bool with_api, with_conductor;
};

/* Runs until SIGTERM or SIGINT; returns the exit status.  2: a process refused its configuration at the
 * first start. */
int supervisor_run(const struct supervisor_options *o);
