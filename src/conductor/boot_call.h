/* boot_call.h: what the boot publisher is told about a node's boot. */
#pragma once

#include "config.h"
#include "message.h"
#include "node.h"

/* Fills what follows from the node and the configuration alone: ramdisk, kernel arguments, network.  `media` and
 * `macs` are there.  The caller clears the message, also after an error.  INVALID names the attribute. */
bool boot_call_fill(const struct config *conf, const struct node *n, struct message_boot_publish *p,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
