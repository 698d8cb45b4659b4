/* server.h: a serving process of the fleet: the agents whose addresses the kernel gives to it. */
#pragma once

#include "board.h"
#include "fleet.h"
#include "listeners.h"

struct server_plan {
	struct fleet *fleet;
	struct board *board;
	struct listeners *listeners;
	const char *certificate_pem, *key_pem; /* of the pinned agents */
	struct span faults_after;              /* before that everybody is honest */
	unsigned process, trap_port;
	bool adopt;   /* a command that is asked for first is one that runs */
	bool openssl; /* for all agents, as the real ones */
};

/* Runs until SIGTERM; the exit status of the process. */
int server_run(const struct server_plan *plan);
