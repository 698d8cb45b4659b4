/* worker.h: the main function of every process but the supervisor. */
#pragma once

/* Descriptors that the supervisor hands over (doc/architecture.md, "Processes of inoxd"). */
enum worker_fd {
	WORKER_FD_CONFIG = 3,
	WORKER_FD_SUPERVISOR = 4,
	WORKER_FD_ROLE = 5,     /* api: listening socket; conductor: poke socket; others: channel */
	WORKER_FD_KEY = 6,      /* api: public sealing key; conductor: private one */
	WORKER_FD_CONNECTOR = 6 /* dialer, bmc: connect.h */
};

/* `role` is a role_text.  Returns the exit status: 0 when told to end, 2 when the configuration or the
 * environment of the role is wrong, 1 for every other failure. */
int worker_main(const char *role);
