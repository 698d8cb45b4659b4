/* version.h: microversions: 1.MINOR, chosen by the client for each request. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define API_MINOR_MIN   1
#define API_MINOR_MAX   110
#define API_VERSION_MIN "1." G_STRINGIFY(API_MINOR_MIN)
#define API_VERSION_MAX "1." G_STRINGIFY(API_MINOR_MAX)

/* `header` is X-OpenStack-Ironic-API-Version, `newer` is OpenStack-API-Version (a comma list of
 * "service version"; its last item for "baremetal" wins over `header`); NULL when absent.  Without any
 * it is 1.1.  Error: API_ERROR_VERSION with the sentence that clients expect. */
bool version_negotiate(const char *header, const char *newer, unsigned *ret_minor,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
