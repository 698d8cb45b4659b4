/* listeners.h: the sockets of the fleet.
 *
 * One wildcard socket per port and serving process, bound to the loopback device: nothing outside this
 * machine reaches it.  The kernel picks the serving process by the address that was dialled, so that
 * every agent lives in one process; and it drops what goes to a black hole before it is answered.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "fleet.h"

#define LISTENERS_PORTS_MOST (SCRIPT_BOOT_MOST + 4)

enum listener_kind { LISTENER_AGENTS, LISTENER_TRAP };

struct listener {
	enum listener_kind kind;
	unsigned port;
	unsigned wave; /* seconds after the start at which it opens */
	unsigned process;
	bool open;
	int fd;
};

struct listeners {
	struct listener *all;
	unsigned count;
};

/* Binds everything, and listens where an agent is there from the start.  `trap_port` 0: none.  Errors: IO
 * and DENIED of the system; UNSUPPORTED if the sockets cannot be kept on loopback. */
bool listeners_open(struct listeners *l, struct fleet *f, unsigned processes, unsigned trap_port,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Opens the ports of those whose second has come. */
bool listeners_boot(struct listeners *l, unsigned second, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void listeners_close(struct listeners *l);
