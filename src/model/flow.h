/* flow.h: the work under way on a node, and the pure function that moves it.
 *
 * Kept in the node's row as JSON (node.flow).  The API folds verbs, the conductor folds everything
 * else; both inside one store transaction, so that the row is the truth.
 */
#pragma once

#include <glib.h>

#include "event.h"
#include "node.h"

/* Changes the node, or says why the event does not fit (and leaves the node as it was): INVALID for a
 * verb the state does not take, BUSY when the node is reserved, DENIED for a protected node, CONFLICT for
 * a power off that the node forbids.  Events of another epoch or turn, or that answer nothing the flow
 * waits for, change nothing and succeed.  No I/O, no clock, no log: the same event on the same node gives
 * the same result.  Sets the bits of what it changed. */
bool node_fold(struct node *n, const struct event *ev, attr_set changed,
	       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What look-up and heartbeat need to know of a flow. */
struct flow_boot {
	bool begun;     /* boot data are or were published, and the boot has not ended */
	bool active;    /* the rest holds for a boot that has begun */
	bool kept;      /* its agent stays for the next operation, or is at it */
	bool by_lookup; /* the token is given at the first look-up */
	bool powered;   /* the machine was told to switch on: who asks now may be of this boot */
	char pin[65];   /* SHA-256 of the agent's certificate, hex; "": none is known */
};
/* A damaged flow is no boot. */
void flow_peek_boot(const struct node *n, struct flow_boot *ret_boot);

/* True while boot data of the node may be published: its row is what knows where. */
bool flow_has_boot_data(const struct node *n);
/* True when the boot host keeps an address for a machine that no flow moves: it was rescued, and may
 * still run. */
bool flow_keeps_address(const struct node *n);

/* True while an agent stays up for the next operation and nothing else is under way. */
bool flow_is_idle(const struct node *n);

/* True while an agent stays up for the next operation, or its address is not taken back yet. */
bool flow_keeps_agent(const struct node *n);

/* True if the success of the current phase begins a ramdisk boot: the event that tells of it must carry
 * the fresh_... members. */
bool flow_begins_boot(const struct node *n);
/* MAC addresses for which the boot host may have data of the node's, also when its ports have changed since;
 * borrowed, an array of texts; NULL: none. */
const json_t *flow_peek_boot_macs(const struct node *n);

/* One sentence: what the node waits for, since when, until when, what happens next.  For `inox why`.
 * The caller frees it. */
char *node_why(const struct node *n, struct wall now);
/* The flow for people and programs: {"operation","phase","since","until","attempt","milestone",
 * "command","progress":{"done","total"},"why"}; {} when there is none.  A new reference. */
json_t *node_flow_view(const struct node *n, struct wall now);
