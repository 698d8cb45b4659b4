/* options.h: the command line of inox-fleet. */
#pragma once

#include "fleet.h"

struct options {
	struct fleet_plan plan;
	struct script script;
	char *seed, *inoxd, *json, *enrolment;
	char *transports, *script_file, *phase_text;
	char **faults;
	double for_s, faults_after_s, warm_up_s;
	int agents, port, interval_s, dialers, servers, command_timeout_s;
	enum watch_phase phase;
	gboolean serve, adopt, openssl, ipv6, list_faults, version;
};

/* INVALID.  `o` is to be cleared in any case. */
bool options_read(struct options *o, int argc, char **argv,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;
void options_clear(struct options *o);
