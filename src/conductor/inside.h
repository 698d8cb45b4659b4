/* inside.h: what the parts of the conductor share. */
#pragma once

#include "address.h"
#include "channel.h"
#include "conductor.h"
#include "flow.h"
#include "flow_record.h"
#include "limit.h"
#include "ration.h"

/* A request under way at a worker. */
struct request {
	uint64_t id;
	struct uuid node;
	enum role worker;
	uint64_t turn;   /* of the flow when it was made; 0: power sync */
	bool list;       /* dialer_list */
	struct mono due; /* not answered by then: given up */
};

/* What is known of a node besides its row: only what a restart may forget. */
struct run {
	struct conductor *c;
	struct uuid node;
	struct loop_timer *timer;
	uint64_t requests[ROLE_COUNT]; /* id under way at that worker; 0: none */
	uint64_t send_turn; /* "about to send" was committed by this process in this turn */
	uint64_t timer_turn;
	bool timer_is_deadline;
	char *watch; /* what the dialer was told; NULL: nothing */
	/* An answer came for this turn and did not end it: the next request waits a little. */
	uint64_t answered_turn;
	struct mono answered_at;
	struct mono progress_at;
	bool looks;     /* an ITEM_LOOK is queued */
	unsigned waits; /* bits of roles: for room in the channel to that worker */
	bool in_motion; /* when it was acted on last, at acted_at */
	struct mono acted_at;
	int64_t acted_revision;
};

/* Something to look at, in the order it came. */
struct item {
	enum item_kind {
		ITEM_LOOK,
		ITEM_MESSAGE,
		ITEM_DEADLINE,
		ITEM_TAKEN,
		ITEM_SENDING,
		ITEM_UNABLE,
		ITEM_MEDIA_OVER
	} kind;
	struct uuid node;
	struct message message;
	struct request request; /* of ITEM_MESSAGE that answers one; id 0: none */
	uint64_t turn;
	char *reason;
};

/* A worker's channel. */
struct link {
	struct conductor *c;
	enum role role;
	unsigned index;          /* of a dialer */
	struct channel *channel; /* NULL: it is not there */
	GQueue waiting;          /* UUIDs (char *) that wait for room in it */
	char *figures;           /* of a dialer, to be kept; NULL: none */
};

struct conductor {
	struct loop *loop;
	const struct config *config;
	struct store *store;
	const struct seal_key *key;
	struct link workers[ROLE_COUNT]; /* bmc and boot */
	struct link dialers[LIMIT_DIALERS];
	unsigned dialer_count;
	int poke_fd;
	struct loop_watch *poke_watch;
	struct loop_timer *drain_timer, *sweep_timer, *sync_timer;
	struct mono started;
	GHashTable *runs;     /* UUID text to struct run */
	GHashTable *requests; /* id to struct request */
	struct ration progress;
	uint64_t next_request;
	GQueue items;
	unsigned messages;    /* among the items */
	size_t message_bytes; /* of these */
	bool holds;           /* the workers are not listened to: there are too many */
	struct loop_timer *room_timer;
	struct address_pool pool;
	json_t *clean_priorities; /* from the configuration */
	GQueue sync_queue;        /* UUIDs (char *) whose power is to be looked at */
	unsigned syncs;           /* requests of turn 0 that are under way */
};

/* conductor.c */
/* How long a node that moves is left alone by the sweep, if nobody changes its row, when `moving` of them do.  The
 * sweep comes every `interval`. */
struct span conductor_sweep_pause(unsigned moving, struct span interval);
struct run *conductor_run(struct conductor *c, const char *uuid);
/* Takes the fields of the item. */
void conductor_post(struct conductor *c, const struct item *item);
void conductor_look(struct conductor *c, const char *uuid);
/* Sends a message that is answered under its request id; false when the worker is not there. */
bool conductor_request(struct conductor *c, struct run *run, const struct request *rq,
		       const struct message *m, GError **error);
/* The channel to the worker that is the node's, NULL if it is not there. */
struct channel *conductor_channel(const struct conductor *c, enum role worker,
				  const struct uuid *uuid);
/* Answered or given up.  The place that a power sync had is free; who calls this fills it by sync_next(). */
void conductor_forget_request(struct conductor *c, uint64_t id);
/* The node's worker has much to read yet: nothing more is to be sent; the node is looked at again later. */
bool conductor_is_full(struct conductor *c, struct run *run, enum role worker);
/* The next item, NULL if there is none; the caller frees it with conductor_item_free(). */
struct item *conductor_take(struct conductor *c);
void conductor_item_free(gpointer item);

/* intake.c: handles a batch of what was posted, in one transaction, and acts.  False: the store is locked by another
 * process, and nothing was touched. */
bool conductor_drain(struct conductor *c);

/* act.c: starts what the committed row still needs; calling it twice is harmless. */
void node_act(struct conductor *c, struct run *run, const struct node *n);
/* act_agent.c: tells the dialer to forget the node, if it watches it. */
void node_unwatch(struct conductor *c, struct run *run);
/* act_bmc.c: the reply to a request is known under this message id. */
bool fill_bmc_request(struct conductor *c, const struct node *n, enum bmc_operation operation,
		      struct message *ret_message, GError **error);

/* sync.c */
void sync_start(struct conductor *c);
void sync_next(struct conductor *c);

/* figures.c: what a dialer counts, kept for the API. */
void figures_take(struct link *l, const char *text);
void figures_drop(struct conductor *c, unsigned index);
/* Writes what was taken; false: there was nothing. */
bool figures_keep(struct conductor *c);
