/* agent_call.h: the parameters of the commands that a flow sends to an agent (agent-protocol, section 2). */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "config.h"
#include "flow_record.h"
#include "node.h"

/* "poll.get_hardware_info"; NULL for an action that sends no command. */
const char *agent_call_name(const struct flow *f);
/* What the dialer is told of a watch that is on. */
enum watch_phase agent_call_watch(enum flow_watch want);
/* Whether the answer comes when the command has ended. */
bool agent_call_waits(enum action action);
/* A new reference; no secret of the node is in it.  `ports` holds struct port *. */
json_t *agent_call_params(const struct config *conf, const struct node *n, const struct flow *f,
			  const GPtrArray *ports, GError **error);
