/* boot_call.h: what the boot publisher is told about a node's boot. */
#pragma once

#include "config.h"
#include "message.h"
#include "node.h"
#include "store.h"

/* Fills what follows from the node and the configuration alone: ramdisk, kernel arguments, network.  `media` and
 * `macs` are there.  The caller clears the message, also after an error.  INVALID names the attribute. */
bool boot_call_fill(const struct config *conf, const struct node *n, struct message_boot_publish *p,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* MAC addresses (texts) of the node's ports, the one that boots first; the caller owns the array.  Errors: what the
 * store says. */
json_t *boot_call_own_macs(struct store *s, const struct node *n, GError **error);
/* The same, and those the boot began with: a port may have been changed or taken away while the machine keeps its
 * address.  Without those that another node boots from now. */
json_t *boot_call_published_macs(struct store *s, const struct node *n, GError **error);
