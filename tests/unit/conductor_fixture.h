/* conductor_fixture.h: what the tests of the conductor share: a real store, and workers that are played here: a machine with
 * a BMC, a boot host and an agent, which outlive any conductor. */
#pragma once

#include "channel.h"
#include "conductor.h"
#include "flow.h"
#include "inside.h"

#define MAC     "52:54:00:aa:bb:01"
#define ADDRESS "127.77.0.9"
#define PIN     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct world {
	struct loop *loop;
	char *folder;
	struct config *config;
	struct store *store;
	struct seal_key *key;
	struct conductor *conductor;
	struct channel *workers[ROLE_COUNT];
	struct uuid node;
	struct loop_timer *guard;
	bool late;
	int pokes[2];

	/* the machine */
	bool power, pxe, published, agent_up;
	uint64_t epoch;
	char *token;
	json_t *commands; /* the agent's list */
	unsigned writes, boots;
	const char *mac;

	/* the test's wishes */
	unsigned messages; /* received so far */
	unsigned kill_at;  /* the conductor dies when this message was carried out; 0: never */
	bool kill_before;  /* and the message was not carried out */
	bool ignores_soft_off;
	char *password; /* that the BMC worker was given */
	bool verify;
	bool called,
		watched; /* active mode: a heartbeat went out; the dialer was told of the agent */
	char *api_url;
	enum role kill_worker; /* only this worker dies; 0: the conductor, with all of them */
	unsigned lose_answer_to_step, refuse_publish;
	bool steps_last;       /* the agent is never done with one */
	struct uuid last_step; /* the command of it */
	bool bmc_is_slow;      /* it keeps its answer in `late_answer` */
	struct message late_answer;
};

/* The control plane, with the store's one node at rest. */
void world_set_up(struct world *w, gconstpointer data);
void world_tear_down(struct world *w, gconstpointer data);
/* A conductor with all its workers. */
void world_start(struct world *w);
void world_stop(struct world *w);
/* Another worker of this role; the one before was freed. */
void world_attach(struct world *w, enum role role);
/* What a worker says; the content stays the caller's. */
void world_send(struct world *w, enum role role, struct message *m);

/* A node with one port, w->node from now on. */
void world_add_node(struct world *w, const char *mac);
/* The caller frees it. */
struct node *world_get(struct world *w);
/* As the API does it: fold in a transaction. */
void world_verb(struct world *w, enum state_event event);
void world_poke(struct world *w);

/* Turns the loop until nothing is under way, in this state. */
void world_until_rest(struct world *w, enum provision_state state);
void world_until_power(struct world *w, const char *power);

#define CASE(name, fn) \
	g_test_add("/conductor/" name, struct world, NULL, world_set_up, fn, world_tear_down)
