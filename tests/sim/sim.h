/* sim.h: a world in virtual time around the real conductor and the real handlers of the API.
 *
 * What is real: everything of src/model and src/conductor, and of src/api what verbs, power requests, patches,
 * look-ups and heartbeats go through.  What is played, in one process and without a clock of its own: the
 * loop, the channels, the store (rows in memory, as text across a crash), sealing, the workers, BMCs,
 * machines, agents, the boot host and the network between them.
 *
 * One world at a time, and one random stream from its seed: the same seed is the same story.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "channel.h"
#include "conductor.h"
#include "config.h"
#include "flow_record.h"
#include "node.h"
#include "port.h"
#include "role.h"

#define NODES_MOST    3
#define MACHINES_MOST (NODES_MOST + 1) /* and a stranger */
#define SECOND        1000000
#define TOKEN_MARK    "T0k"      /* every token and every path of a boot begins so */
#define PASSWORD      "Passw0rd" /* of every BMC */

/* ---- clock.c: time, chance, what happens when */

typedef void (*sim_fn)(void *data);

struct sim_queue;

struct agent_command {
	char id[UUID_TEXT];
	char name[40]; /* part behind the dot */
	char step[40]; /* of execute_*_step; else "" */
	enum command_status status;
	int64_t began; /* of the list of steps that it belongs to */
	int64_t ends;  /* virtual time */
	uint64_t done;
};

/* What a ramdisk got with its boot. */
struct boot_image {
	bool there;
	char node[UUID_TEXT];
	uint64_t epoch;
	char path[64];
	char token[64]; /* "": none comes with the boot */
	char address[64];
	bool active, media;
	bool script, token_there; /* on the boot host: what of it can still be fetched */
};

struct agent {
	bool up;
	uint64_t instance; /* grows with each start of the program */
	struct boot_image boot;
	bool own;
	uint64_t started_ms;
	bool finalized;   /* the machine is rescued: the port is closed, and it runs on */
	GArray *commands; /* struct agent_command */
	bool called;      /* a heartbeat was accepted */
};

enum os { OS_OFF, OS_FIRMWARE, OS_LOADING, OS_AGENT, OS_INSTANCE, OS_NOTHING };

struct disk {
	bool whole;
	uint64_t epoch;
	int64_t at;
	char node[UUID_TEXT];
};

struct machine {
	unsigned index;
	char mac[MAC_TEXT];
	enum os os;
	bool power;
	uint64_t boot; /* grows with every change of power: what belongs to another one is void */
	enum boot_device once, persistent;
	char media[64]; /* path of the ISO in the virtual drive; "": empty */
	struct disk disk;
	struct agent agent;
	unsigned write_runs;            /* of this boot */
	unsigned burn_runs, flash_runs; /* of the list of steps that began at runs_began */
	int64_t runs_began;
	bool flashes;     /* its agent lists the step "flash", which asks for a reboot */
	unsigned version; /* of its hardware managers; may grow with a boot */
	bool hangs;       /* the next boot does not get to an agent */
	bool dark;        /* nothing reaches it over the network */
	/* the BMC */
	int64_t bmc_down_until, bmc_lies_until, bmc_slow_until;
	bool lied;           /* since the last honest change of power */
	bool touched;        /* its power was changed behind the control plane's back */
	int64_t bmc_free_at; /* requests are carried out one after the other */
};

/* What the dialer knows of a node. */
struct sim_watch {
	bool on;
	struct uuid node;
	uint64_t epoch, looks;
	char address[64], token[64], command[UUID_TEXT];
	enum watch_phase phase;
	bool alive, gone, restarted, suspect, own;
	unsigned failures;
	enum command_status command_status;
	uint64_t done, started_ms;
	enum milestone furthest;
	int64_t begun, seen, busy_until; /* one request at a time */
	uint64_t turn; /* grows with everything that makes the look under way void */
};

struct token_origin {
	char node[UUID_TEXT];
	uint64_t epoch;
	int holder; /* machine that has it; -1: none yet */
};

struct sim_row {
	struct node *n; /* NULL: deleted */
	struct port *p;
};

struct world {
	uint64_t seed, chance;
	int64_t now; /* microseconds since 1970 */
	struct sim_queue *queue;
	struct config *config;
	unsigned loss; /* per mille of messages that a hostile network loses */
	bool quiet;
	unsigned nodes;

	/* store */
	struct sim_row rows[NODES_MOST], saved[NODES_MOST];
	bool in_transaction;

	/* control plane */
	struct conductor *conductor;
	struct channel *channels[ROLE_COUNT];
	uint64_t workers[ROLE_COUNT]; /* generation of that worker */
	int64_t died[ROLE_COUNT];     /* when the one before ended */
	bool dead, in_api;
	int crash_in; /* commits and messages until the conductor dies; 0: it lives */
	unsigned tokens_made;
	GHashTable *tokens; /* text to struct token_origin */

	/* outside */
	struct machine machines[MACHINES_MOST];
	struct sim_watch watches[NODES_MOST];
	GPtrArray *published; /* struct boot_image */
	int64_t boot_host_down_until;
	char stranger_address[64]; /* "": the stranger answers nowhere */

	/* the story */
	unsigned wishes,
		wishes_most; /* hostile and operators' deeds so far, and until it gets quiet */
	int64_t quiet_since;
	bool tracing;
	GString *trace;
	char *broken; /* the invariant that does not hold; NULL: all is well */
};

extern struct world *sim; /* the one world */

void clock_begin(void);
void clock_end(void);
/* Calls fn(data) after so many microseconds, then frees the data: with g_free(), if `destroy` is NULL. */
void sim_after(int64_t us, sim_fn fn, void *data, GDestroyNotify destroy);
/* Handles the next event; false: nothing is scheduled before `limit`, and the clock stands there. */
bool sim_step(int64_t limit);
uint64_t sim_random(void);
uint64_t sim_below(uint64_t n);      /* 0 .. n-1 */
bool sim_chance(unsigned per_mille); /* never when the world is quiet */
bool sim_coin(unsigned per_mille);   /* also then */
void sim_uuid(char out[UUID_TEXT]);

/* A line of the story; free when nobody listens. */
void sim_say(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* An invariant does not hold; the first one counts. */
void sim_broken(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* ---- rows.c */
int rows_find(const char *uuid); /* -1: none */
struct node *rows_peek(unsigned index);
void rows_add(unsigned index, struct node *n, struct port *p);
void rows_reload(void); /* every row through its text form */
void rows_end(void);

/* ---- plane.c: channels, and the life of the conductor */
void plane_start(void *unused);
void plane_stop(void);
void plane_crash_worker(enum role worker);
/* The conductor is told to look at a node. */
void plane_poke(const char *uuid);
/* What a worker had begun is still carried out: false for what a dead one cannot have begun. */
bool plane_carries_out(enum role worker, uint64_t generation);
/* Gives the message to the conductor, unless the worker was replaced meanwhile; takes its fields. */
void plane_reply(enum role worker, uint64_t generation, int64_t us, struct message *m);

/* ---- bmc.c, boot_host.c, phone.c: the workers */
void bmc_take(const struct message_bmc_request *rq);
void boot_host_take(const struct message *m);
void phone_take(const struct message *m);
void phone_forget_all(void);

/* ---- machine.c */
void machine_init(unsigned index);
void machine_end(struct machine *m);
void machine_set_power(struct machine *m, bool on);
void machine_start_agent(struct machine *m);
void machine_stop_agent(struct machine *m);
/* The machine that answers at the address; NULL: none.  Chance decides between several. */
struct machine *machine_at(const char *address);
/* A machine lives there whose agent has closed its port. */
bool machine_refuses_at(const char *address);
/* Carries out a command; the answer's fields are new texts.  Asked with a token that is not the agent's: false. */
bool machine_call(struct machine *m, const char *command, const json_t *params,
		  struct message_agent_reply *reply);
json_t *machine_list(struct machine *m);
struct agent_command *machine_command(struct machine *m, const char *id);

/* ---- boot_host.c, as seen by machines */
struct boot_image *boot_host_script(const char *uuid);
struct boot_image *boot_host_path(const char *path);

/* ---- people.c: operators, agents' own calls, bad luck */
void people_act(void *unused);
bool people_heartbeat(unsigned index, const char *token, const char *address);
/* The token that is given, "" if none is; false: refused. */
bool people_look_up(unsigned index, char ret_token[64]);

/* ---- check.c: the invariants */
void check_row(const struct node *before, const struct node *after);
void check_step(struct machine *m, struct agent_command *c);
void check_watch(const struct message_dialer_watch *w);
void check_heartbeat(unsigned index, const char *token);
void check_holder(const char *token, const struct machine *m);
void check_origin(const char *token, const struct node *n);
bool check_is_stable(const struct node *n);
void check_end(void);

/* ---- api_calls.c */
char *api_provision(unsigned index, const char *verb);
char *api_power(unsigned index, const char *target);
char *api_patch(unsigned index, const char *patch);
char *api_delete(unsigned index);
char *api_maintenance(unsigned index, bool on);
