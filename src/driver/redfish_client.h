/* redfish_client.h: requests to one BMC: address checks, authentication, errors as sentences.
 *
 * A session (DSP0266 section 13.3.4) is kept when the client is freed and taken by the next client for
 * the same BMC, user and password; at most REDFISH_SESSIONS are kept in the process.  A session has one
 * owner at a time; when two would be kept for the same BMC, the later one is closed at the BMC.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "driver.h"
#include "web.h"

#define REDFISH_SESSIONS 4096

struct redfish_client;

/* Makes no connection.  INVALID for an address that is not [http[s]://]ADDRESS[:PORT][/root path],
 * DENIED for one outside the allowed ranges.  `t` must live as long as the client. */
struct redfish_client *redfish_client_new(const struct bmc_target *t, GError **error);
void redfish_client_free(struct redfish_client *c); /* may take one request: closing the session */

const char *redfish_client_peek_root(const struct redfish_client *c); /* "/redfish/v1/" */
/* The system's link as an earlier client of this session found it, NULL if it did not. */
const char *redfish_client_peek_system(const struct redfish_client *c);
void redfish_client_set_system(struct redfish_client *c, const char *link);

/* True for an answer with a status of 2xx.  Errors: those of web_perform(), DENIED (401, 403),
 * NOT_FOUND (404), UNSUPPORTED (405, 501), BUSY (409, or the BMC says so), UNAVAILABLE (408, 429, other
 * 5xx), INVALID (other 4xx), PEER (redirects and other nonsense). */
bool redfish_client_get(struct redfish_client *c, const char *path, struct web_reply *ret_reply,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool redfish_client_post(struct redfish_client *c, const char *path, const json_t *body,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Sends If-Match with `etag` if there is one, its strong form when the BMC finds that it does not
 * match, and none as the last try. */
bool redfish_client_patch(struct redfish_client *c, const char *path, const json_t *body,
			  const char *etag, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* "https://10.0.0.5:443" and "/redfish/v1/" of an address; the caller frees both. */
bool redfish_address_parse(const char *text, struct endpoint *ret_endpoint, char **ret_base,
			   char **ret_root, GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct redfish_client redfish_client;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(redfish_client, redfish_client_free)
