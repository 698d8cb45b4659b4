/* address.h: the addresses that agents get, and what may be dialled. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "config.h"
#include "network_data.h"
#include "node.h"
#include "store.h"

/* FIRST-LAST of [boot]address_pool; family 0: none. */
struct address_pool {
	int family;
	uint8_t first[16], last[16];
};

/* "" is no pool.  INVALID says what does not fit. */
bool address_pool_parse(const char *text, struct address_pool *ret_pool, GError **error);
/* What network_data says of the interface with `mac`; all zeroes if it says nothing.  INVALID. */
bool address_find_own(const struct config *conf, const struct node *n, struct mac mac,
		      struct network_address *ret, GError **error);
/* The address for the node's next boot: with virtual media that of network_data, else
 * driver_info.agent_address, else one of the pool that no other node
 * has (each node begins to look at its own place, so it mostly gets the same one).  The caller frees it.
 * NULL with INVALID, CONFLICT, LIMIT (pool exhausted), or DENIED outside [agent]allowed_networks. */
char *address_assign(struct store *s, const struct config *conf, const struct address_pool *pool,
		     const struct node *n, GError **error);
/* `text` is "[https://]ADDRESS[:PORT][/...]" with a numeric address.  DENIED outside
 * [redfish]allowed_networks, INVALID for anything else. */
bool address_check_bmc(const struct config *conf, const char *text, GError **error);
