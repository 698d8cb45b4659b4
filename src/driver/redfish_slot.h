/* redfish_slot.h: a slot for virtual media as a typed value, and what to send to it.  Pure functions.
 *
 * Source: DMTF schema VirtualMedia.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

struct redfish_slot {
	bool optical; /* takes a CD or DVD */
	bool inserted;
	char *image;  /* URL as the BMC tells it, NULL if it does not */
	char *insert; /* links for POST, NULL if there is no such action */
	char *eject;
	char *etag; /* NULL if there is none */
};

/* How much of a request a BMC wants to be told beyond the schema's minimum. */
enum slot_detail { SLOT_MINIMUM, SLOT_PROTOCOL, SLOT_METHOD, SLOT_DETAIL_COUNT };

/* Fills *ret on success only; the caller clears it.  PEER for what is no slot, LIMIT. */
bool redfish_parse_slot(const char *text, size_t length, struct redfish_slot *ret,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
void redfish_slot_clear(struct redfish_slot *s);

/* Bodies; new references. */
json_t *redfish_make_insert(const char *url, enum slot_detail detail); /* POST */
json_t *redfish_make_inserted(const char *url);                        /* PATCH; NULL: ejected */

/* True if the slot holds that medium, as far as the BMC tells. */
bool redfish_slot_holds(const struct redfish_slot *s, const char *url);

/* The text without the URL, whole or cut: a BMC's sentence may repeat it, and its path is a secret. */
char *redfish_hide_url(const char *text, const char *url);

typedef struct redfish_slot redfish_slot;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(redfish_slot, redfish_slot_clear)
