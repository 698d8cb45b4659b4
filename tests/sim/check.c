/* What must hold: after every commit, at every deed of an agent, and when a world has come to rest. */
#include <string.h>

#include "flow.h"
#include "jsons.h"
#include "sim.h"

static void check_leak(const struct node *n, const char *what, const char *text)
{
	if (text && (strstr(text, TOKEN_MARK) || strstr(text, PASSWORD)))
		sim_broken("a secret stands in %s of node %s: %s", what, n->uuid.s, text);
}

static bool has_failed(enum provision_state s)
{
	const char *text = provision_state_text(s);

	return s == STATE_ERROR || g_str_has_suffix(text, " failed");
}

static const struct machine *machine_of(const struct node *n)
{
	int i = rows_find(n->uuid.s);

	return i < 0 ? NULL : &sim->machines[i];
}

static void check_power(const struct node *n, bool on)
{
	const struct machine *m = machine_of(n);

	if (m && m->power != on && !m->lied && !m->touched)
		sim_broken("%s is reached, and the machine is %s",
			   provision_state_text((unsigned)n->provision_state),
			   m->power ? "on" : "off");
}

static void check_disk(const struct node *before, const struct node *n)
{
	const struct machine *m = machine_of(n);
	struct flow f = {.phase = PHASE_NONE};

	if (!m || !flow_parse(before->flow, &f, NULL))
		return;
	if (!m->disk.whole)
		sim_broken("active is reached without an image on the disk");
	else if (strcmp(m->disk.node, n->uuid.s) != 0)
		sim_broken("active is reached with an image that another node's agent wrote");
	else if (m->disk.epoch != (uint64_t)n->boot_epoch)
		sim_broken("active is reached with an image of epoch %d in epoch %d",
			   (int)m->disk.epoch, (int)n->boot_epoch);
	else if (m->disk.at < f.started.us)
		sim_broken("active is reached with an image of an earlier deployment");
	flow_clear(&f);
}

static void check_rescue(const struct node *n)
{
	const struct machine *m = machine_of(n);

	check_power(n, true);
	if (m && !m->touched && !m->lied &&
	    (!m->agent.finalized || m->agent.boot.epoch != (uint64_t)n->boot_epoch))
		sim_broken("rescue is reached, and no agent of epoch %d has set a password",
			   (int)n->boot_epoch);
}

static bool is_bare(const struct node *n)
{
	struct flow f = {.phase = PHASE_NONE};
	bool bare = flow_parse(n->flow, &f, NULL) && f.bare;

	flow_clear(&f);
	return bare;
}

/* The power is what the last step that switches it has left. */
static void check_cleaned(const struct node *before, const struct node *n)
{
	const json_t *steps = json_object_get(before->driver_internal_info, "clean_steps");

	if (!is_bare(before)) {
		check_power(n, flow_is_idle(n));
		return;
	}
	for (size_t i = json_array_size(steps); i-- > 0;) {
		const char *name = json_peek_string(json_array_get(steps, i), "step");

		if (strcmp(name, "hold") == 0 || strcmp(name, "wait") == 0)
			continue;
		check_power(n, strcmp(name, "power_off") != 0);
		return;
	}
}

static void check_arrival(const struct node *before, const struct node *n)
{
	enum provision_state from = (enum provision_state)before->provision_state;
	enum provision_state to = (enum provision_state)n->provision_state;

	if (from == to)
		return;
	sim_say("node %u: %s -> %s%s%s", (unsigned)rows_find(n->uuid.s), provision_state_text(from),
		provision_state_text(to), n->last_error ? ": " : "",
		n->last_error ? n->last_error : "");
	if (has_failed(to) && (!n->last_error || strlen(n->last_error) < 10))
		sim_broken("%s without a last_error", provision_state_text(to));
	if (to == STATE_ACTIVE && (from == STATE_DEPLOYING || from == STATE_DEPLOY_WAIT)) {
		check_disk(before, n);
		check_power(n, true);
	}
	if (to == STATE_ACTIVE && from == STATE_UNRESCUING)
		check_power(n, true);
	if (to == STATE_RESCUE)
		check_rescue(n);
	if ((to == STATE_AVAILABLE || to == STATE_MANAGEABLE) &&
	    (from == STATE_DELETING || from == STATE_CLEANING || from == STATE_CLEAN_WAIT ||
	     from == STATE_CLEAN_HOLD))
		check_cleaned(before, n);
}

/* No operation, no trust: nothing that belongs to a boot is left. */
static void check_rest(const struct node *n)
{
	unsigned flags = provision_state_flags((enum provision_state)n->provision_state);

	if (flags & (S_WORKING | S_WAITING))
		sim_broken("%s, and nothing is under way",
			   provision_state_text((unsigned)n->provision_state));
	if (n->agent_token || n->agent_verifier)
		sim_broken("a token is alive, and nothing is under way");
	/* A rescued machine goes on running with it, and who fails to take it back has to know it. */
	if (n->agent_address && n->provision_state != STATE_RESCUE &&
	    !has_failed((enum provision_state)n->provision_state))
		sim_broken("an address is assigned, and nothing is under way");
	if (json_object_get(n->instance_info, "rescue_password"))
		sim_broken("a rescue password is kept, and nothing is under way");
	if (n->reservation || n->target_power_state)
		sim_broken("the node is locked, and nothing is under way");
	/* The clean step that failed stays to be seen. */
	if (json_object_size(n->deploy_step) ||
	    (json_object_size(n->clean_step) && n->provision_state != STATE_CLEAN_FAILED))
		sim_broken("a step is shown, and nothing is under way");
}

void check_row(const struct node *before, const struct node *after)
{
	check_leak(after, "last_error", after->last_error);
	check_leak(after, "maintenance_reason", after->maintenance_reason);
	/* A dear text: now and then. */
	if (after->revision % 8 == 0) {
		g_autofree char *why = node_why(after, (struct wall){sim->now});

		check_leak(after, "why", why);
	}
	if (after->boot_epoch < before->boot_epoch)
		sim_broken("the epoch goes back from %d to %d", (int)before->boot_epoch,
			   (int)after->boot_epoch);
	if (after->boot_epoch != before->boot_epoch && after->agent_token &&
	    g_strcmp0(after->agent_token, before->agent_token) == 0)
		sim_broken("epoch %d has the token of the one before", (int)after->boot_epoch);
	check_arrival(before, after);
	if (json_object_size(after->flow) == 0)
		check_rest(after);
}

/* ---- agents */

/* When what is under way on the machine's node was asked for: with fast track an agent serves several.  A list that was
 * made anew, because the agent is another one, is as another operation. */
static int64_t list_began(const struct machine *m)
{
	struct flow f = {.phase = PHASE_NONE};
	int i = rows_find(m->agent.boot.node);
	int64_t began = 0;

	if (i >= 0 && flow_parse(rows_peek((unsigned)i)->flow, &f, NULL))
		began = f.started.us + f.relists;
	flow_clear(&f);
	return began;
}

/* The text of the agent's commands holds what it carried out before, this one included. */
void check_step(struct machine *m, struct agent_command *c)
{
	const char *step = c->step;
	unsigned runs = 0;

	c->began = list_began(m);
	for (guint i = 0; i < m->agent.commands->len; i++) {
		const struct agent_command *other =
			&g_array_index(m->agent.commands, struct agent_command, i);

		runs += strcmp(other->step, step) == 0 && other->began == c->began;
	}
	if (m->runs_began != c->began)
		m->burn_runs = m->flash_runs = 0;
	m->runs_began = c->began;
	m->burn_runs += strcmp(step, "burn") == 0;
	m->flash_runs += strcmp(step, "flash") == 0;
	if (runs > 1)
		sim_broken("an agent carries out %s twice", step);
	/* Not even across a restart of the agent, or a boot: nobody knows what it did to the machine. */
	if (m->burn_runs > 1 || m->flash_runs > 1)
		sim_broken("%s, which is not known to bear it, runs again", step);
}

/* A boot has one token, whoever asks. */
static bool has_token(const struct node *n)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, sim->tokens);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct token_origin *o = value;

		if (strcmp(o->node, n->uuid.s) == 0 && o->epoch == (uint64_t)n->boot_epoch)
			return true;
	}
	return false;
}

void check_origin(const char *token, const struct node *n)
{
	struct token_origin *o = g_hash_table_lookup(sim->tokens, token);

	if (!o) {
		if (has_token(n))
			sim_broken("epoch %d gets a second token", (int)n->boot_epoch);
		o = g_new0(struct token_origin, 1);
		g_strlcpy(o->node, n->uuid.s, sizeof(o->node));
		o->epoch = (uint64_t)n->boot_epoch;
		o->holder = -1;
		g_hash_table_insert(sim->tokens, g_strdup(token), o);
	} else if (strcmp(o->node, n->uuid.s) != 0 || o->epoch != (uint64_t)n->boot_epoch) {
		sim_broken("the token of epoch %d is used in epoch %d", (int)o->epoch,
			   (int)n->boot_epoch);
	}
}

void check_holder(const char *token, const struct machine *m)
{
	struct token_origin *o = g_hash_table_lookup(sim->tokens, token);

	if (!o)
		return;
	if (o->holder >= 0 && o->holder != (int)m->index)
		sim_broken("the token of epoch %d reaches the machines %d and %u", (int)o->epoch,
			   o->holder, m->index);
	o->holder = (int)m->index;
}

void check_watch(const struct message_dialer_watch *w)
{
	int i = rows_find(w->node.s);
	const struct node *n = i < 0 ? NULL : rows_peek((unsigned)i);

	if (!n || !w->token)
		return;
	if (w->epoch != (uint64_t)n->boot_epoch)
		sim_broken("epoch %d is watched in epoch %d", (int)w->epoch, (int)n->boot_epoch);
	check_origin(secret_peek(w->token), n);
}

void check_heartbeat(unsigned index, const char *token)
{
	const struct node *n = rows_peek(index);
	const struct token_origin *o = g_hash_table_lookup(sim->tokens, token);

	if (!o || strcmp(o->node, n->uuid.s) != 0)
		sim_broken("a heartbeat with a token of nobody is accepted");
	else if (o->epoch != (uint64_t)n->boot_epoch)
		sim_broken("a heartbeat with the token of epoch %d is accepted in epoch %d",
			   (int)o->epoch, (int)n->boot_epoch);
	else if (json_object_size(n->flow) == 0)
		sim_broken("a heartbeat is accepted, and nothing is under way");
}

/* ---- the end */

/* Its agent waits for the next operation, and would hear of it. */
static bool is_served(const struct node *n)
{
	const struct machine *m = machine_of(n);

	return flow_is_idle(n) && m && m->power && m->os == OS_AGENT && m->agent.up && !m->dark &&
	       m->agent.boot.epoch == (uint64_t)n->boot_epoch && n->agent_token &&
	       sim->watches[rows_find(n->uuid.s)].alive;
}

bool check_is_stable(const struct node *n)
{
	return json_object_size(n->flow) == 0 || is_served(n);
}

static void check_end_of(unsigned index)
{
	const struct node *n = rows_peek(index);
	const struct machine *m = &sim->machines[index];
	const char *real = m->power ? "power on" : "power off";

	if (!n)
		return;
	if (!flow_is_idle(n))
		check_rest(n);
	/* Nobody looks at these. */
	if (n->provision_state == STATE_ENROLL || n->maintenance)
		return;
	if (g_strcmp0(n->power_state, real) != 0)
		sim_broken("the row says %s, and the machine is at %s", n->power_state, real);
}

void check_end(void)
{
	for (unsigned i = 0; i < sim->nodes; i++) {
		check_end_of(i);
		if (sim->watches[i].on && !(rows_peek(i) && flow_is_idle(rows_peek(i))))
			sim_broken("the dialer still watches node %u", i);
	}
	if (sim->published->len > 0) {
		const struct boot_image *b = sim->published->pdata[0];

		sim_broken("boot data of epoch %d are still there%s", (int)b->epoch,
			   b->token_there ? ", with the token" : "");
	}
}
