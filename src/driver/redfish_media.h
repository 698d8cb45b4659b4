/* redfish_media.h: virtual media of a BMC: finds the optical drive, inserts, ejects, looks whether it
 * happened. */
#pragma once

#include "redfish_client.h"
#include "redfish_parse.h"

/* Ejects what is in the optical drives, then inserts the medium into the first that takes it, and waits a
 * few seconds for the BMC to report it.  Errors: those of the client; UNSUPPORTED if there is no drive;
 * UNAVAILABLE if the BMC took the request and the medium is not there.  No error has the URL in it. */
bool redfish_media_insert(struct redfish_client *c, const struct redfish_system *system,
			  const char *url, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* True also if there is no drive or nothing in it. */
bool redfish_media_eject(struct redfish_client *c, const struct redfish_system *system,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
