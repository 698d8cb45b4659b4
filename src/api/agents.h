/* agents.h: what agents of active nodes call: look-up and heartbeat. */
#pragma once

#include "request.h"

/* False, with DENIED: look-up, heartbeat and inspection callback are closed, whoever asks (dispatch asks
 * this before it looks at anything else). */
bool agents_check_open(const struct request *rq, GError **error) G_GNUC_WARN_UNUSED_RESULT;

bool agent_lookup(struct request *rq, GError **error);
bool agent_heartbeat(struct request *rq, GError **error);
bool agent_refuse_inspection(struct request *rq, GError **error);

/* Adds to the flow in the reply that an agent of an earlier boot of the node still calls. */
void agents_show_old(struct request *rq);

/* Whether the node's agent calls the API: the mode of the boot under way, else that of the next one. */
bool agents_node_is_active(const struct request *rq, const struct node *n);
/* [agent] and the URL, for events; borrows *ret_url, which the caller frees. */
struct agent_defaults agents_defaults(const struct config *c, char **ret_url);
