/* delivery.h: what lies on the boot host for one boot, and in which order it comes and goes. */
#pragma once

#include "message.h"
#include "script.h"
#include "shelf.h"

#define DELIVERY_MACS_MAX 32

/* Checks everything, then puts the token's file, the boot scripts, and last the reservation, so that a
 * machine which gets an address finds all it needs. */
bool delivery_publish(const struct shelf *s, const struct script_site *site,
		      const struct message_boot_publish *m,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Takes the token's file away, and unless token_only is set everything else, in the other order.  Goes
 * on after a failure, so that one file that cannot be removed does not keep the others; the first
 * failure is the one reported. */
bool delivery_withdraw(const struct shelf *s, const struct message_boot_withdraw *m,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
