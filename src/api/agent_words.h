/* agent_words.h: the words of a heartbeat: from what came to checked values. */
#pragma once

#include "identity.h"
#include "request.h"

struct callback {
	struct endpoint at;
	bool tls;
};

/* "http://ADDRESS:PORT" or "https://...", the address numeric, IPv6 in brackets, one slash at the end
 * allowed.  INVALID in Ironic's words for everything else. */
bool callback_parse(const char *url, struct callback *ret_callback,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The form that rows and answers show.  The caller frees it. */
char *callback_print(const struct callback *c);

struct heartbeat {
	struct callback callback;
	const char *token;   /* borrowed from the request */
	const char *version; /* borrowed; NULL: none */
	char pin[65];        /* SHA-256 of the certificate, hex; "": none came */
};

/* From body and query; no row is needed for it.  INVALID in Ironic's words. */
bool heartbeat_parse(const struct request *rq, struct heartbeat *ret_heartbeat,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;
