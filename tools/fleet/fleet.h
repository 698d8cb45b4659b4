/* fleet.h: agents as arithmetic: whatever an agent is follows from the seed and its number, so that a
 * million of them that nobody talks to cost nothing.
 *
 * Agent i listens at 127.16.0.0 + i.  The healthy ones have the first numbers; behind them every fault has a
 * range of its own, in the order of faults.def.  The first four bytes of a node's UUID are the number,
 * permuted, so that a UUID leads back to its agent.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "fault.h"
#include "identity.h"
#include "script.h"
#include "tls.h"
#include "vocabulary.h"

#define FLEET_AGENTS_MOST   (1u << 20)
#define FLEET_ADDRESS_FIRST 0x7f100000u /* 127.16.0.0 */
#define FLEET_TOKEN_TEXT    44
#define FLEET_NOBODY        UINT32_MAX
#define FLEET_TRANSPORTS    (TRANSPORT_HTTP + 1)
#define FLEET_VERSION       "0.1.0"

struct fleet; /* keys that follow from the seed, and the plan */

struct fleet_plan {
	const char *seed;
	uint32_t agents;
	unsigned port;                              /* refusing agents: the one behind it */
	unsigned transport_share[FLEET_TRANSPORTS]; /* of SHARE_ALL, together all of it */
	unsigned fault_share[FAULT_COUNT];
	bool ipv6; /* agent 0 listens at ::1 instead: there is only one such address */
	const struct script *script; /* borrowed; outlives the fleet */
};

/* INVALID if the shares leave no healthy agent. */
struct fleet *fleet_new(const struct fleet_plan *plan, GError **error);
void fleet_free(struct fleet *f);

uint32_t fleet_count(const struct fleet *f);
uint32_t fleet_healthy(const struct fleet *f); /* agents 0 to this - 1 */
const struct fleet_plan *fleet_plan(const struct fleet *f);
void fleet_fault_range(const struct fleet *f, enum fault kind, uint32_t *ret_first,
		       uint32_t *ret_count);

struct uuid fleet_node(struct fleet *f, uint32_t agent);
uint64_t fleet_epoch(const struct fleet *f, uint32_t agent);
void fleet_token(struct fleet *f, uint32_t agent, char out[static FLEET_TOKEN_TEXT]);
/* The same key as tls_psk_of_token() makes of the agent's token. */
void fleet_psk(struct fleet *f, uint32_t agent, uint8_t out[static TLS_PSK_BYTES]);
enum fault fleet_fault(const struct fleet *f, uint32_t agent);
enum agent_transport fleet_transport(const struct fleet *f, uint32_t agent);
/* Numeric, without port. */
void fleet_address(const struct fleet *f, uint32_t agent, char out[static ENDPOINT_TEXT]);
unsigned fleet_port(const struct fleet *f, uint32_t agent);
const struct script_part *fleet_script(const struct fleet *f, uint32_t agent);
/* A number that follows from the agent and the salt. */
uint64_t fleet_chance(const struct fleet *f, uint32_t agent, uint64_t salt);

/* FLEET_NOBODY for a stranger. */
uint32_t fleet_of_node(struct fleet *f, const struct uuid *node);
uint32_t fleet_of_ipv4(const struct fleet *f, uint32_t address); /* host byte order */

typedef struct fleet fleet;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(fleet, fleet_free)
