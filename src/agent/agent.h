/* agent.h: the agent as its parts see it: who it belongs to, and what may be asked of it. */
#pragma once

#include <jansson.h>

#include "agent_options.h"
#include "command.h"
#include "loop.h"
#include "steps.h"
#include "tls.h"

/* With AGENT_RETIRES the program ends and the machine stays. */
enum agent_power { AGENT_STAYS, AGENT_RETIRES, AGENT_REBOOTS, AGENT_POWERS_OFF };

struct active;
struct command_list;

/* Everything here belongs to the loop's thread. */
struct agent {
	struct loop *l;
	struct agent_options options;
	struct wall started;
	struct secret *token; /* replaced by poll.set_node_info; NULL: none */
	uint8_t psk_key[TLS_PSK_BYTES];
	char identity[TLS_IDENTITY_MAX]; /* the only one accepted; "": any */
	json_t *node;                    /* cached, without its config drive; NULL: none yet */
	json_t *partitions;              /* what standby.get_partition_uuids answers */
	struct command_list *commands;
	struct active *active;       /* NULL: the agent dials nobody */
	struct http_tls_server *tls; /* NULL: plain HTTP */
	bool certificate_is_ours;    /* made by us, not given by the options */
	enum agent_power power;      /* what is done when the program ends */
	struct loop_timer *leave;    /* ends the program once the last answers are out */
};

/* Takes a token of 32 characters or more; the old one is dead at once. */
void agent_set_token(struct agent *a, const struct secret *token);
/* From now on nobody is served: the token is dead here, in the files that a restart would read it from and in
 * the heartbeats, which end; the program follows once the last answer is out. */
void agent_retire(struct agent *a);
/* Whether a request may run or read commands: `token` is the query's first value (NULL: none),
 * `psk_identity` the connection's (NULL: none). */
bool agent_is_authorized(const struct agent *a, const char *token, const char *psk_identity);
/* Whether the body is that of the one command that needs no token: while this agent waits for its token, the
 * one that gives it, for the node of this boot. */
bool agent_is_introduction(const struct agent *a, const char *body, size_t length);
/* Keeps a copy of a node object from the control plane.  False with INVALID if it has no UUID, or if
 * this boot belongs to another node. */
bool agent_cache_node(struct agent *a, const json_t *node, GError **error);
/* Whether the node object is of the node this boot belongs to; thread-safe. */
bool agent_check_node(const struct agent *a, const json_t *node, GError **error);
/* The one address that the agent listens on, numeric; false if it listens on all. */
bool agent_listen_host(const struct agent *a, char out[static INET6_ADDRSTRLEN]);
/* True for a real machine, false with --root. */
bool agent_is_machine(const struct agent *a);

/* Runs the program; `extra` is a table of further steps that ends with a row without a name, or NULL.
 * Returns the exit status. */
int agent_main(int argc, char **argv, const struct step *extra);
