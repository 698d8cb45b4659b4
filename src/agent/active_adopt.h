/* active_adopt.h: what a look-up found becomes the agent's: node, token, address and certificate. */
#pragma once

#include "agent.h"
#include "api_text.h"

struct finding {
	struct lookup_answer answer;
	const char *own_address; /* the one that the API is reached from, numeric; "": not known */
};

/* What heartbeats tell. */
struct adopted {
	struct uuid node;
	char *callback_url;
	char *certificate_pem; /* NULL: none was made */
	unsigned heartbeat_timeout_s;
};

/* Replaces *adopted, or leaves everything as it was.  A token of this boot (file or argument) stays; one
 * from an earlier look-up is replaced.  Errors: INVALID (another node, no address), DENIED (there is no
 * token, so every command will be refused). */
bool active_adopt(struct agent *a, const struct finding *finding, struct adopted *adopted,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;
void adopted_clear(struct adopted *adopted);
/* Before the agent listens: the token of an earlier look-up and the certificate of an earlier start. */
void active_restore(struct agent *a);
