/* network_data.h: OpenStack network metadata of a node (bare-metal-api 2.4, agent-protocol 5.5): the static
 * address of its ramdisk where there is no DHCP. */
#pragma once

#include <arpa/inet.h>
#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "identity.h"

/* What the ISO of a boot has room for. */
#define NETWORK_DATA_MAX 30000

struct network_address {
	char address[INET6_ADDRSTRLEN]; /* "": the interface asks DHCP, or is not mentioned */
	unsigned prefix;
	char gateway[INET6_ADDRSTRLEN];    /* "": none */
	char nameserver[INET6_ADDRSTRLEN]; /* "": none */
};

/* True for an empty object, and for what fits the schema.  INVALID, "Invalid network_data: ..." as the API
 * answers it. */
bool network_data_check(const json_t *data, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The address of the interface with `mac` in data that network_data_check() accepted; all zeroes when it has none
 * or `data` is empty.  `wanted` chooses among several, NULL: the first.  `own`: our ramdisk is to apply it,
 * which makes neither bonds nor VLANs and sets no route but the default one.  INVALID names what does not
 * fit. */
bool network_data_find(const json_t *data, struct mac mac, const char *wanted, bool own,
		       struct network_address *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
