/* The dialer, as look.c and call.c of src/dialer have it, with a network that loses things between it and
 * the agents.  The channel is PSK: who has another token than the boot's is not understood at all. */
#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "sim.h"

#define GONE_AFTER    (10 * SECOND)
#define GONE_FAILURES 3
#define COMMAND_LIMIT (60 * SECOND)

struct call {
	unsigned index;
	uint64_t generation, request, epoch, turn;
	char *command; /* NULL: the list */
	json_t *params;
};

static void on_look(void *data);

struct look {
	unsigned index;
	uint64_t turn;
};

static void look_after(unsigned index, int64_t us)
{
	struct look l = {.index = index, .turn = ++sim->watches[index].turn};

	sim_after(us, on_look, g_memdup2(&l, sizeof(l)), NULL);
}

static void look_again(unsigned index)
{
	struct sim_watch *w = &sim->watches[index];
	int64_t us = 2 * SECOND + (int64_t)sim_below(6 * SECOND);

	if (w->failures > 0 && w->phase != WATCH_FIRST_CONTACT)
		us = 2 * SECOND << MIN(w->failures - 1, 4);
	else if (w->phase != WATCH_FIRST_CONTACT && !w->own)
		us = SECOND << MIN(w->looks, 4);
	look_after(index, us);
}

static void tell(struct message *m)
{
	plane_reply(ROLE_DIALER, sim->workers[ROLE_DIALER], 1000, m);
}

static void tell_alive(struct sim_watch *w)
{
	struct message m = {.type = MESSAGE_agent_alive};

	m.agent_alive = (struct message_agent_alive){.node = w->node,
						     .epoch = w->epoch,
						     .version = g_strdup("1"),
						     .started_ms = w->started_ms,
						     .own_agent = w->own,
						     .restarted = w->restarted};
	w->alive = true;
	w->gone = w->restarted = false;
	tell(&m);
}

static void tell_command(struct sim_watch *w, const struct agent_command *c)
{
	struct message m = {.type = MESSAGE_agent_command};
	enum command_status status = c ? c->status : COMMAND_UNKNOWN;

	m.agent_command = (struct message_agent_command){
		.node = w->node,
		.epoch = w->epoch,
		.command = g_strdup(w->command),
		.status = status,
		.done = c ? c->done : 0,
		.reason = status == COMMAND_FAILED ? g_strdup("the disk is full") : NULL,
	};
	w->command_status = status;
	tell(&m);
}

static void on_success(unsigned index)
{
	struct sim_watch *w = &sim->watches[index];

	w->seen = sim->now;
	w->failures = 0;
	w->suspect = false;
	if (!w->alive || w->gone || w->restarted)
		tell_alive(w);
	look_again(index);
}

static void on_failure(unsigned index, enum milestone reached, const char *reason)
{
	struct sim_watch *w = &sim->watches[index];
	struct message m = {.type = MESSAGE_agent_milestone};

	w->failures++;
	if (!w->alive && reached > w->furthest) {
		w->furthest = reached;
		m.agent_milestone = (struct message_agent_milestone){.node = w->node,
								     .epoch = w->epoch,
								     .milestone = reached,
								     .reason = g_strdup(reason)};
		tell(&m);
	} else if (w->alive && !w->gone && w->failures >= GONE_FAILURES &&
		   sim->now - w->seen > GONE_AFTER) {
		m.type = MESSAGE_agent_gone;
		m.agent_gone = (struct message_agent_gone){
			.node = w->node,
			.epoch = w->epoch,
			.seconds = (uint32_t)((sim->now - w->seen) / SECOND),
			.reason = g_strdup(reason)};
		w->gone = true;
		tell(&m);
	}
	look_again(index);
}

/* The agent at the other end of a channel that only this boot's token opens. */
static struct machine *reach(const struct sim_watch *w, enum milestone *ret_reached)
{
	struct machine *m = sim_chance(sim->loss) ? NULL : machine_at(w->address);

	*ret_reached = MILESTONE_POWER;
	if (!m)
		return NULL;
	*ret_reached = MILESTONE_PORT;
	if (strcmp(m->agent.boot.token, w->token) != 0 || !*w->token ||
	    m->agent.boot.epoch != w->epoch || strcmp(m->agent.boot.node, w->node.s) != 0)
		return NULL;
	*ret_reached = MILESTONE_TOKEN;
	return m;
}

static void look_at_command(unsigned index, struct machine *m)
{
	struct sim_watch *w = &sim->watches[index];
	struct agent_command *c = machine_command(m, w->command);

	w->looks++;
	if (!c) {
		if (w->command_status != COMMAND_UNKNOWN || w->looks == 1)
			tell_command(w, NULL);
		w->seen = sim->now;
		w->failures = 0;
		w->suspect = true;
		look_again(index);
		return;
	}
	if (c->status != w->command_status || c->done != w->done)
		tell_command(w, c);
	w->done = c->done;
	if (c->status != COMMAND_RUNNING)
		w->command[0] = '\0';
	on_success(index);
}

static void on_look(void *data)
{
	struct look *l = data;
	struct sim_watch *w = &sim->watches[l->index];
	enum milestone reached;

	if (!w->on || w->turn != l->turn)
		return;
	if (sim->now < w->busy_until) {
		look_after(l->index, w->busy_until - sim->now);
		return;
	}
	struct machine *m = reach(w, &reached);

	if (!m) {
		on_failure(l->index, reached,
			   reached == MILESTONE_PORT ? "the handshake failed" : "no answer");
		return;
	}
	if (w->alive && w->phase == WATCH_WORKING && *w->command && !w->suspect) {
		look_at_command(l->index, m);
		return;
	}
	w->restarted = w->restarted || (w->started_ms && w->started_ms != m->agent.started_ms);
	w->started_ms = m->agent.started_ms;
	w->own = m->agent.own;
	on_success(l->index);
}

static void take_watch(unsigned index, const struct message_dialer_watch *m)
{
	struct sim_watch *w = &sim->watches[index];
	bool fresh = !w->on || w->epoch != m->epoch;

	check_watch(m);
	if (fresh)
		*w = (struct sim_watch){.on = true, .turn = w->turn, .begun = sim->now};
	w->node = m->node;
	w->epoch = m->epoch;
	g_strlcpy(w->address, m->address ? m->address : "", sizeof(w->address));
	g_strlcpy(w->token, m->token ? secret_peek(m->token) : "", sizeof(w->token));
	if (g_strcmp0(m->command ? m->command : "", w->command) != 0) {
		w->command_status = COMMAND_UNKNOWN;
		w->looks = w->done = 0;
		g_strlcpy(w->command, m->command ? m->command : "", sizeof(w->command));
	}
	w->phase = (enum watch_phase)m->phase;
	if (w->phase != WATCH_WORKING)
		w->alive = false;
	look_after(index, fresh ? (int64_t)sim_below(SECOND) : 0);
}

/* ---- commands */

static void call_free(gpointer data)
{
	struct call *c = data;

	g_free(c->command);
	json_decref(c->params);
	g_free(c);
}

static void fail(struct message_agent_reply *reply, enum inox_error code, bool unclear,
		 const char *reason)
{
	reply->result = (uint32_t)code + 1;
	reply->unclear = unclear;
	reply->reason = g_strdup(reason);
}

static void on_call(void *data)
{
	struct call *c = data;
	struct sim_watch *w = &sim->watches[c->index];
	struct message out = {.type = MESSAGE_agent_reply};
	struct message_agent_reply *reply = &out.agent_reply;
	int64_t delay = 2000;
	enum milestone reached;

	if (sim->workers[ROLE_DIALER] != c->generation || !w->on)
		return;
	if (sim->now < w->busy_until) {
		struct call *again = g_memdup2(c, sizeof(*c));

		c->command = NULL;
		c->params = NULL;
		sim_after(w->busy_until - sim->now, on_call, again, call_free);
		return;
	}
	reply->request = c->request;
	reply->node = w->node;
	reply->epoch = c->epoch;
	struct machine *m = w->epoch == c->epoch ? reach(w, &reached) : NULL;

	if (w->epoch != c->epoch) {
		fail(reply, INOX_ERROR_CONFLICT, false, "this boot of the node is not watched");
	} else if (!m) {
		fail(reply, INOX_ERROR_UNAVAILABLE, false, "the agent cannot be reached");
		reply->refused = reached == MILESTONE_POWER && machine_refuses_at(w->address);
	} else if (!c->command) {
		json_t *list = machine_list(m);

		reply->outcome = json_print_compact(list);
		json_decref(list);
	} else if (!machine_call(m, c->command, c->params, reply)) {
		fail(reply, INOX_ERROR_BUSY, false, "the agent is busy");
		reply->busy = true;
	}
	if (reply->result == 0 && sim_chance(sim->loss)) {
		message_clear(&out);
		out = (struct message){.type = MESSAGE_agent_reply};
		reply->request = c->request;
		reply->node = w->node;
		reply->epoch = c->epoch;
		fail(reply, INOX_ERROR_TIMEOUT, c->command != NULL, "the answer did not come");
		delay = COMMAND_LIMIT;
	} else if (sim_chance(sim->loss)) {
		delay = (int64_t)sim_below(COMMAND_LIMIT);
	}
	w->busy_until = sim->now + delay;
	sim_say("dialer %u: %s: %s", c->index, c->command ? c->command : "list",
		reply->reason ? reply->reason : "answered");
	plane_reply(ROLE_DIALER, c->generation, delay, &out);
	look_after(c->index, delay);
}

static void take_call(unsigned index, uint64_t request, uint64_t epoch, const char *command,
		      const char *params)
{
	struct sim_watch *w = &sim->watches[index];
	struct call *c = g_new0(struct call, 1);

	*c = (struct call){.index = index,
			   .generation = sim->workers[ROLE_DIALER],
			   .request = request,
			   .epoch = epoch,
			   .command = g_strdup(command),
			   .params = params ? json_loads(params, 0, NULL) : NULL};
	if (w->on && w->epoch == epoch) {
		sim_after(500 + (int64_t)sim_below(20000), on_call, c, call_free);
		return;
	}
	struct message out = {.type = MESSAGE_agent_reply};

	out.agent_reply.request = request;
	out.agent_reply.node = w->node;
	out.agent_reply.epoch = epoch;
	fail(&out.agent_reply, INOX_ERROR_CONFLICT, false, "this boot of the node is not watched");
	plane_reply(ROLE_DIALER, c->generation, 1000, &out);
	call_free(c);
}

void phone_take(const struct message *m)
{
	int i = -1;

	switch ((unsigned)m->type) {
	case MESSAGE_dialer_watch: i = rows_find(m->dialer_watch.node.s); break;
	case MESSAGE_dialer_call: i = rows_find(m->dialer_call.node.s); break;
	case MESSAGE_dialer_list: i = rows_find(m->dialer_list.node.s); break;
	case MESSAGE_dialer_forget:
		for (unsigned n = 0; n < NODES_MOST; n++)
			if (strcmp(sim->watches[n].node.s, m->dialer_forget.node.s) == 0)
				sim->watches[n] =
					(struct sim_watch){.turn = sim->watches[n].turn + 1};
		return;
	default: g_assert_not_reached();
	}
	if (i < 0)
		return;
	if (m->type == MESSAGE_dialer_watch)
		take_watch((unsigned)i, &m->dialer_watch);
	else if (m->type == MESSAGE_dialer_call)
		take_call((unsigned)i, m->dialer_call.request, m->dialer_call.epoch,
			  m->dialer_call.command, m->dialer_call.params);
	else
		take_call((unsigned)i, m->dialer_list.request, m->dialer_list.epoch, NULL, NULL);
}

void phone_forget_all(void)
{
	for (unsigned i = 0; i < NODES_MOST; i++)
		sim->watches[i] = (struct sim_watch){.turn = sim->watches[i].turn + 1};
}
