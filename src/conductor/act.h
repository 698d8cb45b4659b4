/* act.h: what the parts of node_act() share.  Inside the conductor only. */
#pragma once

#include "flow_record.h"
#include "inside.h"

struct act {
	struct conductor *c;
	struct run *run;
	const struct node *n;
	struct flow f;
};

/* One request of a node at a worker at a time; a lost one is given up. */
bool act_is_under_way(struct act *a, enum role worker);
/* Sends the request that is answered under the conductor's next id. */
bool act_ask(struct act *a, enum role worker, bool list, const struct message *m,
	     unsigned timeout_s, GError **error);

/* act_bmc.c */
bool act_get_power(struct act *a, GError **error);
bool act_power(struct act *a, GError **error);
bool act_boot_pxe(struct act *a, GError **error);
bool act_boot_cd(struct act *a, GError **error);
bool act_boot_disk(struct act *a, GError **error);
bool act_insert(struct act *a, GError **error);
bool act_eject(struct act *a, GError **error);

/* act_boot.c */
bool act_publish(struct act *a, GError **error);
bool act_withdraw(struct act *a, GError **error);
/* The machine keeps its address. */
bool act_withdraw_boot(struct act *a, GError **error);
bool act_withdraw_token(struct act *a, GError **error);

/* act_agent.c */
bool act_call(struct act *a, GError **error);
bool act_step(struct act *a, GError **error);
bool act_finalize(struct act *a, GError **error);
/* The boot's token, unsealed.  The caller frees it. */
struct secret *act_open_token(struct act *a, GError **error);
/* How the node's agent is spoken to: its own wish, else the configuration's. */
bool act_read_transport(const struct act *a, enum agent_transport *ret_transport, GError **error);
/* Tells the dialer what it does not know yet.  While waiting, each turn tells it again. */
bool act_keep_watch(struct act *a, GError **error);
