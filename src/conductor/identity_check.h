/* identity_check.h: is this the machine that the node describes? */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "node.h"
#include "store.h"

/* `inventory` is the result of poll.get_hardware_info: a stranger's.  True if at least one MAC is a port of
 * the node, none belongs to another node, and serial number and system UUID are the node's where it knows
 * them (properties.serial_number, properties.system_uuid).  Errors: INVALID with one sentence that names
 * what differs, PEER for an inventory that does not fit, or what the store says. */
bool identity_check(struct store *s, const struct node *n, const json_t *inventory,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ports of a node, in the order they were made, those that may boot first; struct port *. */
GPtrArray *identity_ports(struct store *s, const struct node *n, GError **error);
