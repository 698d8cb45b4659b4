/* redfish_session.h: the sessions that are open at BMCs and in nobody's hands.  Any thread. */
#pragma once

#include <stdbool.h>

#include "secret.h"

struct redfish_session {
	struct secret *token;    /* X-Auth-Token */
	char *uri;               /* link for DELETE, NULL if the BMC gave none */
	char *system;            /* link of the only system, NULL if nobody asked yet */
	struct secret *password; /* it was opened with; a changed one opens a new session */
};

/* Takes the session of that key (BMC and user) out of the store; NULL if there is none that was opened
 * with this password. */
struct redfish_session *redfish_session_take(const char *key, const struct secret *password);
/* Puts it in; false if there is one already or the store is full: the caller keeps it then. */
bool redfish_session_keep(const char *key, struct redfish_session *s);
void redfish_session_free(struct redfish_session *s); /* NULL is fine */
