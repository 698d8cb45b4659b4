/* rescue_call.h: the agent's command that ends a rescue, and the hash in it. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "config.h"
#include "node.h"
#include "seal.h"

/* crypt(5) text with a fresh salt: $5$ (SHA-256), or $6$ (SHA-512) if `sha512`.  The caller frees it.
 * INVALID for a password that crypt() does not take: longer than 511 bytes. */
char *rescue_hash(const char *password, bool sha512, GError **error);
/* Parameters of rescue.finalize_rescue (agent-protocol 2.8) with the hash of the node's sealed
 * instance_info.rescue_password.  A new reference; NULL with INVALID when there is none or it does not
 * open. */
json_t *rescue_call_params(const struct config *conf, const struct seal_key *key,
			   const struct node *n, GError **error);
