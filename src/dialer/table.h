/* table.h: the watched agents: a compact record each, found by node or by a small number that serves the
 * schedule and the queues.
 *
 * Records lie in chunks that are never moved and are kept out of core dumps: they hold tokens.  With its
 * share of the index and of the schedule a node costs less than 1 KiB.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "agent_reply.h"
#include "clocks.h"
#include "dial_address.h"
#include "tls.h"
#include "vocabulary.h"

#define WATCH_TOKEN_MAX 128
#define WATCH_PIN_TEXT  65

/* What a running look has asked for. */
enum look { LOOK_STATUS, LOOK_LIST, LOOK_COMMAND, LOOK_LONG_POLL, LOOK_OFFER };

/* Which limit a connection counts against, and in which queue it waits for its turn. */
enum slot {
	SLOT_NONE,
	SLOT_CALL,
	SLOT_USUAL,   /* answered last time, or was never asked by this process */
	SLOT_CONTACT, /* may still be booting */
	SLOT_RETRY,   /* failed once or twice */
	SLOT_DEAD,
	SLOT_LONG, /* is asked to wait with its answer; has no queue */
	SLOT_COUNT
};

struct call;
struct running;

struct watch {
	uint32_t id;
	struct uuid node, command;
	uint64_t epoch;

	/* where and how; the conductor's words */
	struct dial_address to;
	uint8_t transport; /* enum agent_transport */
	uint8_t phase;     /* enum watch_phase */
	uint32_t interval_s;
	char token[WATCH_TOKEN_MAX + 1];
	uint8_t psk[TLS_PSK_BYTES];
	char pin[WATCH_PIN_TEXT];

	/* what is known of the agent */
	char version[AGENT_VERSION_MAX + 1];
	uint64_t started_ms;
	bool own_agent;
	bool alive;       /* this epoch's token was accepted, and the conductor knows */
	bool gone;        /* the conductor knows that it is silent */
	bool restarted;   /* to be told with the next agent_alive */
	bool suspect;     /* it does not know the command: look at its status next */
	bool halted;      /* not dialled */
	bool counted;     /* in the number of those watched in its phase */
	bool token_lost;  /* never dialled again in this epoch */
	bool offer;       /* the token may be given to an agent that has none */
	bool offered;     /* and was taken: once in an epoch */
	uint8_t furthest; /* enum milestone that was told */
	uint32_t reason_hash;
	uint32_t first_listed;  /* hash of the first command in its list; 0: it was empty */
	uint8_t without_status; /* looks since the status was read */
	uint8_t command_status;
	uint64_t done;

	/* pacing */
	struct mono begun, seen, told_progress, due;
	uint16_t failures, looks;

	/* what runs */
	uint8_t look;            /* enum look, the last one */
	uint8_t waiting;         /* enum slot: in this queue */
	struct running *running; /* the transfer, NULL if there is none */
	struct call *calls;      /* the first one may be running */
};

#define WATCH_PHASES (WATCH_IDLE + 1)

struct table;

struct table *table_new(void);
void table_free(struct table *t);
/* NULL if the node is not watched. */
struct watch *table_find(const struct table *t, const struct uuid *node);
/* A zeroed record with id and node; the node must not be there. */
struct watch *table_add(struct table *t, const struct uuid *node);
/* Wipes the record and gives its id back. */
void table_remove(struct table *t, struct watch *w);
struct watch *table_at(const struct table *t, uint32_t id);
unsigned table_count(const struct table *t);
/* Calls fn for each record; fn may remove the one it is given. */
void table_each(const struct table *t, void (*fn)(void *ctx, struct watch *w), void *ctx);

typedef struct table table;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(table, table_free)
