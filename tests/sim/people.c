/* Operators and bad luck: one deed at a time, until the world gets quiet. */
#include <string.h>

#include "sim.h"

struct deed {
	unsigned weight;
	void (*fn)(unsigned index);
};

static struct machine *machine_of(unsigned index)
{
	return &sim->machines[index];
}

/* ---- operators */

static void say_result(unsigned index, const char *what, char *refusal)
{
	sim_say("operator: node %u: %s%s%s", index, what, refusal ? ": refused: " : "",
		refusal ? refusal : "");
	g_free(refusal);
}

/* What an operator would want in that state: mostly the first. */
static const struct sense {
	const char *often, *sometimes;
	unsigned per_mille; /* of the first */
} sense[STATE_COUNT] = {
	[STATE_ENROLL] = {"manage", "manage", 500},
	[STATE_MANAGEABLE] = {"provide", "clean", 600},
	[STATE_AVAILABLE] = {"active", "manage", 900},
	[STATE_ACTIVE] = {"deleted", "rescue", 500},
	[STATE_DEPLOY_FAILED] = {"active", "deleted", 500},
	[STATE_ERROR] = {"deleted", "rebuild", 800},
	[STATE_CLEAN_FAILED] = {"manage", "manage", 500},
	[STATE_DEPLOY_WAIT] = {"abort", "deleted", 500},
	[STATE_CLEAN_WAIT] = {"abort", "abort", 500},
	[STATE_CLEAN_HOLD] = {"unhold", "abort", 850},
	[STATE_RESCUE] = {"unrescue", "deleted", 800},
	[STATE_RESCUE_WAIT] = {"abort", "deleted", 700},
	[STATE_RESCUE_FAILED] = {"unrescue", "rescue", 600},
	[STATE_UNRESCUE_FAILED] = {"unrescue", "deleted", 600},
};

static const char *sensible_verb(const struct node *n)
{
	const struct sense *s = &sense[n->provision_state];

	return sim_coin(s->per_mille) ? s->often : s->sometimes;
}

static void ask_verb(unsigned index)
{
	static const char *const words[] = {"manage", "provide", "active", "rebuild",  "deleted",
					    "abort",  "clean",   "rescue", "unrescue", "unhold"};
	const struct node *n = rows_peek(index);
	const char *word = sim_coin(850) ? sensible_verb(n) : NULL;

	/* Who deploys again after a failure has looked what it was. */
	if (n->maintenance && sim_coin(700))
		say_result(index, "maintenance off", api_maintenance(index, false));
	/* Waits are left alone most of the time, or nothing would ever succeed. */
	if (word && strcmp(word, "abort") == 0 && sim_coin(700))
		return;
	if (!word)
		word = words[sim_below(G_N_ELEMENTS(words))];
	say_result(index, word, api_provision(index, word));
}

static void ask_power(unsigned index)
{
	static const char *const words[] = {"power on", "power off", "rebooting", "soft power off",
					    "soft rebooting"};
	const char *word = words[sim_below(G_N_ELEMENTS(words))];

	say_result(index, word, api_power(index, word));
}

static void ask_patch(unsigned index)
{
	static const char *const patches[] = {
		"[{\"op\": \"add\", \"path\": \"/driver_info/agent_poll_only\", \"value\": true}]",
		"[{\"op\": \"add\", \"path\": \"/driver_info/agent_poll_only\", \"value\": false}]",
		"[{\"op\": \"add\", \"path\": \"/driver_info/agent_delivery\", \"value\": "
		"\"lookup\"}]",
		"[{\"op\": \"add\", \"path\": \"/driver_info/agent_delivery\", \"value\": "
		"\"boot\"}]",
		"[{\"op\": \"replace\", \"path\": \"/boot_interface\", \"value\": "
		"\"redfish-virtual-media\"}]",
		"[{\"op\": \"replace\", \"path\": \"/boot_interface\", \"value\": \"ipxe\"}]",
		"[{\"op\": \"add\", \"path\": \"/automated_clean\", \"value\": true}]",
		"[{\"op\": \"add\", \"path\": \"/automated_clean\", \"value\": false}]",
		"[{\"op\": \"add\", \"path\": \"/driver_info/fast_track\", \"value\": true}]",
		"[{\"op\": \"add\", \"path\": \"/driver_info/fast_track\", \"value\": false}]",
		"[{\"op\": \"replace\", \"path\": \"/retired\", \"value\": true}]",
		"[{\"op\": \"replace\", \"path\": \"/retired\", \"value\": false}]",
	};
	const char *patch = patches[sim_below(G_N_ELEMENTS(patches))];

	say_result(index, patch, api_patch(index, patch));
}

static void ask_maintenance(unsigned index)
{
	bool on = sim_coin(400);

	say_result(index, on ? "maintenance on" : "maintenance off", api_maintenance(index, on));
}

static void ask_delete(unsigned index)
{
	say_result(index, "delete", api_delete(index));
}

/* ---- machines */

static void cut_power(unsigned index)
{
	struct machine *m = machine_of(index);
	bool was_on = m->power;

	sim_say("machine %u: somebody pulls the plug", index);
	machine_set_power(m, false);
	m->touched = true;
	if (was_on && sim_coin(600))
		machine_set_power(m, true);
}

static void restart_agent(unsigned index)
{
	struct machine *m = machine_of(index);

	if (!m->agent.up)
		return;
	sim_say("machine %u: the agent restarts", index);
	machine_stop_agent(m);
	machine_start_agent(m);
}

static void kill_agent(unsigned index)
{
	sim_say("machine %u: the agent ends", index);
	machine_stop_agent(machine_of(index));
}

static void hang(unsigned index)
{
	machine_of(index)->hangs = !machine_of(index)->hangs;
	sim_say("machine %u: %s", index, machine_of(index)->hangs ? "hangs" : "hangs no more");
}

static void darken(unsigned index)
{
	machine_of(index)->dark = !machine_of(index)->dark;
	sim_say("machine %u: cable %s", index, machine_of(index)->dark ? "out" : "in");
}

static int64_t a_while(void)
{
	return sim->now + (int64_t)sim_below(sim_coin(200) ? 900 * SECOND : 40 * SECOND);
}

static void break_bmc(unsigned index)
{
	machine_of(index)->bmc_down_until = a_while();
	sim_say("bmc %u: goes away", index);
}

static void slow_bmc(unsigned index)
{
	machine_of(index)->bmc_slow_until = a_while();
	sim_say("bmc %u: becomes slow", index);
}

static void corrupt_bmc(unsigned index)
{
	machine_of(index)->bmc_lies_until = a_while();
	sim_say("bmc %u: begins to lie", index);
}

static void break_boot_host(unsigned index)
{
	(void)index;
	sim->boot_host_down_until = a_while();
	sim_say("boot host: goes away");
}

/* ---- the control plane */

static void crash(unsigned index)
{
	(void)index;
	if (!sim->conductor || sim->crash_in)
		return;
	sim->crash_in = 1 + (int)sim_below(12);
	sim_say("the conductor will die at its %d. deed", sim->crash_in);
}

static void crash_worker(unsigned index)
{
	static const enum role workers[] = {ROLE_BMC, ROLE_BOOT, ROLE_DIALER};

	(void)index;
	plane_crash_worker(workers[sim_below(G_N_ELEMENTS(workers))]);
}

/* The moment in which nobody watches. */
static void lose_unwatched(unsigned index)
{
	plane_crash_worker(ROLE_DIALER);
	machine_set_power(machine_of(index), false);
	machine_of(index)->touched = true;
}

/* ---- strangers */

/* An agent of another boot, or of nobody, takes the address of a node. */
static void move_stranger(unsigned index)
{
	struct machine *m = &sim->machines[NODES_MOST];
	const struct machine *victim = machine_of(index);

	if (m->agent.up) {
		machine_stop_agent(m);
		sim_say("the stranger leaves");
		return;
	}
	g_snprintf(m->agent.boot.address, sizeof(m->agent.boot.address), "127.0.1.%u", index + 1);
	g_strlcpy(m->agent.boot.node, victim->agent.boot.node, sizeof(m->agent.boot.node));
	g_strlcpy(m->agent.boot.token, "a stranger's token", sizeof(m->agent.boot.token));
	m->agent.boot.epoch = victim->agent.boot.epoch;
	m->agent.own = true;
	machine_start_agent(m);
	sim_say("a stranger answers at the address of node %u", index);
}

static void hostile_look_up(unsigned index)
{
	char token[64];

	people_look_up(index, token);
	if (*token)
		check_holder(token, &sim->machines[NODES_MOST]);
}

static void hostile_heartbeat(unsigned index)
{
	const struct machine *m = machine_of(index);
	g_autofree char *address = g_strdup_printf("127.0.1.%u", index + 1);
	GHashTableIter iter;
	gpointer key;

	/* Every token of this world, old ones and other nodes' among them. */
	g_hash_table_iter_init(&iter, sim->tokens);
	while (g_hash_table_iter_next(&iter, &key, NULL))
		if (strcmp(key, m->agent.boot.token) != 0 && sim_coin(500))
			(void)people_heartbeat(index, key, address);
	(void)people_heartbeat(index, "nonsense", address);
}

static void second_look_up(unsigned index)
{
	char token[64];

	/* The agent's own machine, which may forget what it was told. */
	if (machine_of(index)->os != OS_AGENT)
		return;
	people_look_up(index, token);
	if (*token)
		check_holder(token, machine_of(index));
}

/* ---- */

static const struct deed deeds[] = {
	{30, ask_verb},      {4, ask_power},       {4, ask_patch},       {2, ask_maintenance},
	{1, ask_delete},     {3, cut_power},       {3, restart_agent},   {1, kill_agent},
	{1, hang},           {2, darken},          {2, break_bmc},       {2, slow_bmc},
	{1, corrupt_bmc},    {2, break_boot_host}, {4, crash},           {3, crash_worker},
	{1, lose_unwatched}, {2, move_stranger},   {2, hostile_look_up}, {1, hostile_heartbeat},
	{1, second_look_up},
};

static void act_once(unsigned index)
{
	unsigned all = 0, i;

	for (i = 0; i < G_N_ELEMENTS(deeds); i++)
		all += deeds[i].weight;
	unsigned chosen = (unsigned)sim_below(all);

	for (i = 0; chosen >= deeds[i].weight; i++)
		chosen -= deeds[i].weight;
	if (rows_peek(index))
		deeds[i].fn(index);
}

/* Who holds a cleaning lets it go on some day. */
static void let_go_on(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < sim->nodes; i++)
		if (rows_peek(i) && rows_peek(i)->provision_state == STATE_CLEAN_HOLD)
			say_result(i, "unhold", api_provision(i, "unhold"));
	sim_after(20 * SECOND, let_go_on, NULL, NULL);
}

/* The world is good from here on; what it did stays done. */
static void become_quiet(void)
{
	sim->quiet = true;
	sim->quiet_since = sim->now;
	sim->boot_host_down_until = 0;
	for (unsigned i = 0; i < MACHINES_MOST; i++) {
		struct machine *m = &sim->machines[i];

		m->bmc_down_until = m->bmc_lies_until = m->bmc_slow_until = 0;
		m->hangs = m->dark = false;
	}
	sim_say("---- quiet");
	let_go_on(NULL);
}

void people_act(void *unused)
{
	(void)unused;
	if (sim->wishes >= sim->wishes_most) {
		become_quiet();
		return;
	}
	sim->wishes++;
	act_once((unsigned)sim_below(sim->nodes));
	int64_t pause = (int64_t)sim_below(2 * SECOND);

	if (sim_coin(500))
		pause = (int64_t)sim_below(30 * SECOND);
	else if (sim_coin(200))
		pause = (int64_t)sim_below(400 * SECOND);
	sim_after(pause, people_act, NULL, NULL);
}
