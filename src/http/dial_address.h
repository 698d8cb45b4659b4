/* dial_address.h: an address that may be dialled.  The client takes no other, and only dial_address_check() makes
 * one: so nothing is dialled that was not looked up in the ranges.
 */
#pragma once

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"

/* The fields are for dial_address.c; nobody else writes them. */
struct dial_address {
	struct sockaddr_in6 checked; /* or a sockaddr_in, which is shorter */
	uint8_t length;
};

/* `host` is a numeric address of one machine, IPv4-mapped ones are IPv4; it must lie in one of the ranges, and
 * a loopback address in one that names loopback.  Errors: INVALID with what is wrong, DENIED if the
 * ranges do not hold it. */
bool dial_address_check(const char *host, unsigned port, const struct network *ranges,
			unsigned range_count, struct dial_address *ret_address,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
const struct sockaddr *dial_address_peek(const struct dial_address *a, socklen_t *ret_length);
void dial_address_print(const struct dial_address *a, char out[static ENDPOINT_TEXT]);
