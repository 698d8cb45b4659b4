/* player.h: the conductor's side of the fleet: starts real dialers, has them watch the agents, walks
 * through the script, and counts what they tell. */
#pragma once

#include "board.h"
#include "channel.h"
#include "child.h"
#include "fleet.h"
#include "histogram.h"
#include "loop.h"

#define PLAYER_DIALERS_MOST 16
#define PLAYER_REASONS_MOST 16
#define PLAYER_MILESTONES   (MILESTONE_COMMAND + 1)

struct player_plan {
	struct fleet *fleet;
	const char *inoxd;
	const char *pin; /* of the pinned agents */
	unsigned dialers, interval_s, command_timeout_s;
	enum watch_phase phase; /* of agents that the script leaves alone */
};

/* What dialers said about the agents with one fault, or about the healthy ones. */
struct player_voice {
	uint32_t alive;      /* agents that were counted as alive at any time */
	uint32_t named;      /* agents with a reason that has the fault's words in it */
	GHashTable *reasons; /* text without the address -> GUINT_TO_POINTER(times) */
	uint64_t unlisted;   /* reasons beyond PLAYER_REASONS_MOST */
};

struct player_dialer {
	struct player *player;
	struct worker_child child;
	struct channel *supervisor, *conductor;
	uint32_t next; /* the next agent to be watched */
	uint64_t resident_before;
	bool ready;
};

struct player {
	struct loop *loop;
	struct player_plan plan;
	struct worker_child connector; /* opens the dialers' connections */
	struct channel *to_connector;
	struct player_dialer dialers[PLAYER_DIALERS_MOST];
	struct loop_timer *feed;
	GHashTable *actors; /* agent -> struct actor, of those with commands in their script */
	uint8_t *marks;     /* per agent */
	struct mono started, fed; /* fed 0: not yet */
	bool failed;              /* a dialer ended */
	void (*on_fed)(void *ctx);
	void *ctx;

	uint64_t events[MESSAGE_TYPE_COUNT], milestones[PLAYER_MILESTONES];
	uint64_t calls, calls_refused, succeeded, failed_commands;
	struct histogram step_us; /* from the end in the agent to the event here */
	struct player_voice voices[FAULT_COUNT];
};

/* `on_fed` is called once, when all watches have been handed over. */
struct player *player_new(struct loop *l, const struct player_plan *plan, void (*on_fed)(void *ctx),
			  void *ctx, GError **error);
/* Ends the dialers; false if one had ended by itself or did not end well. */
bool player_stop(struct player *p);
void player_free(struct player *p);

/* Told by the scripts' actors. */
void player_watch(struct player *p, uint32_t agent, enum watch_phase phase, const char *command);
void player_call(struct player *p, uint32_t agent);

/* actor.c: one agent that walks through its script. */
struct actor;
struct actor *actor_new(struct player *p, uint32_t agent);
void actor_free(void *actor);
void actor_on_alive(struct actor *a);
void actor_on_reply(struct actor *a, const struct message_agent_reply *m);
void actor_on_command(struct actor *a, const struct message_agent_command *m);
