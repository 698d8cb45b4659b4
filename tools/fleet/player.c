#include "player.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connect.h"
#include "errors.h"
#include "log.h"

#define FEED_EVERY   SPAN_MS(1)
#define FEED_BYTES   (256 * 1024)
#define STOP_MS      10000
#define CALL_SECONDS 60
#define MARK_ALIVE   1u
#define MARK_NAMED   2u
#define STEP_COMMAND "deploy.execute_deploy_step"
#define STEP_PARAMS  "{}"

/* ---- to the dialers */

static struct player_dialer *dialer_of(struct player *p, uint32_t agent)
{
	return &p->dialers[agent % p->plan.dialers];
}

static void send_message(struct player_dialer *d, const struct message *m)
{
	g_autoptr(GError) error = NULL;

	if (!channel_send(d->conductor, m, &error))
		log_error(NULL, "a dialer cannot be told", F_ERR(error));
}

void player_watch(struct player *p, uint32_t agent, enum watch_phase phase, const char *command)
{
	struct fleet *f = p->plan.fleet;
	enum agent_transport transport = fleet_transport(f, agent);
	struct message m = {.type = MESSAGE_dialer_watch};
	char address[ENDPOINT_TEXT], token[FLEET_TOKEN_TEXT];
	g_autofree char *pin = g_strdup(transport == TRANSPORT_PINNED ? p->plan.pin : "");
	g_autofree char *id = g_strdup(command);

	fleet_address(f, agent, address);
	fleet_token(f, agent, token);
	g_autoptr(secret) s = secret_new(token);

	m.dialer_watch.node = fleet_node(f, agent);
	m.dialer_watch.epoch = fleet_epoch(f, agent);
	m.dialer_watch.address = address;
	m.dialer_watch.port = fleet_port(f, agent);
	m.dialer_watch.transport = transport;
	m.dialer_watch.token = s;
	m.dialer_watch.certificate = pin;
	m.dialer_watch.phase = phase;
	m.dialer_watch.interval_s = p->plan.interval_s;
	m.dialer_watch.command = id;
	send_message(dialer_of(p, agent), &m);
}

void player_call(struct player *p, uint32_t agent)
{
	struct message m = {.type = MESSAGE_dialer_call};
	char command[] = STEP_COMMAND, params[] = STEP_PARAMS;

	p->calls++;
	m.dialer_call.request = agent + 1ull;
	m.dialer_call.node = fleet_node(p->plan.fleet, agent);
	m.dialer_call.epoch = fleet_epoch(p->plan.fleet, agent);
	m.dialer_call.command = command;
	m.dialer_call.params = params;
	m.dialer_call.timeout_s = CALL_SECONDS;
	send_message(dialer_of(p, agent), &m);
}

static bool has_script(struct player *p, uint32_t agent)
{
	const struct script_part *part = fleet_script(p->plan.fleet, agent);

	return part->boot_to || script_has_commands(part);
}

static void begin_watch(struct player *p, uint32_t agent)
{
	bool scripted = has_script(p, agent);

	if (scripted && script_has_commands(fleet_script(p->plan.fleet, agent)))
		g_hash_table_insert(p->actors, GUINT_TO_POINTER(agent), actor_new(p, agent));
	player_watch(p, agent, scripted ? WATCH_FIRST_CONTACT : p->plan.phase, "");
}

/* As fast as the dialers take it, without holding it all in memory. */
static void on_feed(void *ctx)
{
	struct player *p = ctx;
	bool done = true;

	for (unsigned i = 0; i < p->plan.dialers; i++) {
		struct player_dialer *d = &p->dialers[i];

		/* Its size without a watch is read when it is ready. */
		while (d->ready && d->next < fleet_count(p->plan.fleet) &&
		       channel_queued_bytes(d->conductor) < FEED_BYTES) {
			begin_watch(p, d->next);
			d->next += p->plan.dialers;
		}
		if (d->next < fleet_count(p->plan.fleet) || channel_queued_bytes(d->conductor))
			done = false;
	}
	if (!done) {
		loop_timer_arm(p->feed, FEED_EVERY);
		return;
	}
	p->fed = mono_now();
	p->on_fed(p->ctx);
}

/* ---- from the dialers */

static void note_reason(struct player *p, uint32_t agent, const char *reason)
{
	enum fault kind = fleet_fault(p->plan.fleet, agent);
	struct player_voice *v = &p->voices[kind];
	char address[ENDPOINT_TEXT + 8];

	fleet_address(p->plan.fleet, agent, address);
	size_t length = strlen(address);

	g_snprintf(address + length, sizeof(address) - length, ":%u",
		   fleet_port(p->plan.fleet, agent));
	g_auto(GStrv) pieces = g_strsplit(reason, address, 2);
	g_autofree char *text = g_strjoinv("ADDRESS", pieces);

	if (strstr(reason, fault_table[kind].words) && !(p->marks[agent] & MARK_NAMED)) {
		p->marks[agent] |= MARK_NAMED;
		v->named++;
	}
	unsigned times = GPOINTER_TO_UINT(g_hash_table_lookup(v->reasons, text));

	if (times || g_hash_table_size(v->reasons) < PLAYER_REASONS_MOST)
		g_hash_table_insert(v->reasons, g_steal_pointer(&text),
				    GUINT_TO_POINTER(times + 1));
	else
		v->unlisted++;
}

static void on_alive(struct player *p, uint32_t agent)
{
	struct actor *a = g_hash_table_lookup(p->actors, GUINT_TO_POINTER(agent));

	if (!(p->marks[agent] & MARK_ALIVE)) {
		p->marks[agent] |= MARK_ALIVE;
		p->voices[fleet_fault(p->plan.fleet, agent)].alive++;
		if (has_script(p, agent) || p->plan.phase == WATCH_FIRST_CONTACT)
			player_watch(p, agent, WATCH_IDLE, "");
	}
	if (a)
		actor_on_alive(a);
}

/* Which node a message is about; every message of the dialer but `ready` and `alive` has one. */
static const struct uuid *node_of(const struct message *m)
{
	switch ((int)m->type) {
	case MESSAGE_agent_alive: return &m->agent_alive.node;
	case MESSAGE_agent_milestone: return &m->agent_milestone.node;
	case MESSAGE_agent_gone: return &m->agent_gone.node;
	case MESSAGE_agent_command: return &m->agent_command.node;
	case MESSAGE_agent_reply: return &m->agent_reply.node;
	default: return NULL;
	}
}

static void on_event(struct player *p, uint32_t agent, struct message *m)
{
	struct actor *a = g_hash_table_lookup(p->actors, GUINT_TO_POINTER(agent));

	switch ((int)m->type) {
	case MESSAGE_agent_alive: on_alive(p, agent); break;
	case MESSAGE_agent_milestone:
		p->milestones[MIN(m->agent_milestone.milestone, PLAYER_MILESTONES - 1)]++;
		note_reason(p, agent, m->agent_milestone.reason);
		break;
	case MESSAGE_agent_gone: note_reason(p, agent, m->agent_gone.reason); break;
	case MESSAGE_agent_command:
		if (a)
			actor_on_command(a, &m->agent_command);
		break;
	case MESSAGE_agent_reply:
		if (a)
			actor_on_reply(a, &m->agent_reply);
		break;
	default: break;
	}
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct player_dialer *d = ctx;
	const struct uuid *node = node_of(m);
	uint32_t agent = node ? fleet_of_node(d->player->plan.fleet, node) : FLEET_NOBODY;

	/* Of system calls that the sandbox refuses, which nobody here reads: they are refused all the same. */
	if (fd >= 0)
		close(fd);
	d->player->events[m->type]++;
	if (m->type == MESSAGE_ready && !d->ready) {
		d->ready = true;
		d->player->started = mono_now();
		d->resident_before = child_resident_bytes(d->child.pid);
	}
	if (agent != FLEET_NOBODY)
		on_event(d->player, agent, m);
	else if (node)
		log_warn(node->s, "a dialer speaks of a node that is none of the fleet",
			 F_STR("type", message_type_text(m->type)));
}

static void on_closed(void *ctx, const GError *error)
{
	struct player_dialer *d = ctx;

	log_error(NULL, "a dialer has ended", F_INT("pid", d->child.pid), F_ERR(error));
	d->player->failed = true;
	loop_stop(d->player->loop);
}

/* ---- life */

static void on_connector_message(void *ctx, struct message *m, int fd)
{
	(void)ctx;
	(void)m;
	if (fd >= 0)
		close(fd);
}

static void on_connector_closed(void *ctx, const GError *error)
{
	struct player *p = ctx;

	log_error(NULL, "the connector has ended", F_ERR(error));
	p->failed = true;
	loop_stop(p->loop);
}

static char *make_configuration(const struct player *p)
{
	return g_strdup_printf("[agent]\nallowed_networks = 127.0.0.0/8, ::1/128\n"
			       "command_timeout = %u\n",
			       p->plan.command_timeout_s);
}

static bool start_connector(struct player *p, GError **error)
{
	g_autofree char *configuration = make_configuration(p);

	if (!child_start_worker(p->plan.inoxd, ROLE_CONNECTOR, configuration, NULL, 0,
				&p->connector, error))
		return false;
	p->to_connector = channel_new(p->loop, p->connector.supervisor_fd, on_connector_message,
				      on_connector_closed, p);
	return true;
}

/* The dialer's ends of its channel to us and of its pair with the connector. */
static bool start_with(struct player_dialer *d, const int ends[static CHILD_EXTRA_MOST],
		       int connector_end, GError **error)
{
	struct player *p = d->player;
	g_autofree char *configuration = make_configuration(p);
	struct message attached = {.type = MESSAGE_worker_attached};

	attached.worker_attached.role = ROLE_DIALER;
	attached.worker_attached.index = (uint32_t)(d - p->dialers);
	return channel_send_fd(p->to_connector, &attached, connector_end, error) &&
	       child_start_worker(p->plan.inoxd, ROLE_DIALER, configuration, ends, CHILD_EXTRA_MOST,
				  &d->child, error);
}

static bool start_dialer(struct player *p, struct player_dialer *d, GError **error)
{
	int conductor[2], connector[2];

	d->player = p;
	d->next = (uint32_t)(d - p->dialers);
	if (!channel_pair(conductor, error))
		return false;
	if (!connect_pair(connector, error)) {
		close(conductor[0]);
		close(conductor[1]);
		return false;
	}
	const int ends[CHILD_EXTRA_MOST] = {conductor[1], connector[0]};
	bool ok = start_with(d, ends, connector[1], error);

	close(conductor[1]);
	close(connector[0]);
	close(connector[1]);
	if (!ok) {
		close(conductor[0]);
		return false;
	}
	d->supervisor = channel_new(p->loop, d->child.supervisor_fd, on_message, on_closed, d);
	d->conductor = channel_new(p->loop, conductor[0], on_message, on_closed, d);
	return true;
}

struct player *player_new(struct loop *l, const struct player_plan *plan, void (*on_fed)(void *ctx),
			  void *ctx, GError **error)
{
	struct player *p = g_new0(struct player, 1);

	p->loop = l;
	p->plan = *plan;
	p->on_fed = on_fed;
	p->ctx = ctx;
	p->marks = g_new0(uint8_t, fleet_count(plan->fleet));
	p->actors = g_hash_table_new_full(NULL, NULL, NULL, actor_free);
	p->feed = loop_timer_new(l, on_feed, p);
	for (int k = 0; k < FAULT_COUNT; k++)
		p->voices[k].reasons = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	bool ok = start_connector(p, error);

	for (unsigned i = 0; ok && i < plan->dialers; i++)
		ok = start_dialer(p, &p->dialers[i], error);
	if (!ok) {
		player_stop(p);
		player_free(p);
		return NULL;
	}
	p->started = mono_now();
	loop_timer_arm(p->feed, FEED_EVERY);
	return p;
}

static bool stop_worker(struct worker_child *c, bool ready)
{
	if (c->pid <= 0)
		return true;
	pid_t pid = c->pid;
	int status = child_stop(pid, STOP_MS);
	/* Before it is ready it does not know the signal yet. */
	bool early = !ready && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;

	c->pid = 0;
	if (early || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return true;
	log_error(NULL, "a worker did not end well", F_INT("pid", pid),
		  F_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
		  F_INT("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
	return false;
}

/* The connector last: dialers end by themselves without it. */
bool player_stop(struct player *p)
{
	bool good = !p->failed, ready = true;

	for (unsigned i = 0; i < p->plan.dialers; i++) {
		ready = ready && p->dialers[i].ready;
		good = stop_worker(&p->dialers[i].child, p->dialers[i].ready) && good;
	}
	return stop_worker(&p->connector, ready) && good;
}

void player_free(struct player *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->plan.dialers; i++) {
		channel_free(p->dialers[i].supervisor);
		channel_free(p->dialers[i].conductor);
	}
	channel_free(p->to_connector);
	for (int k = 0; k < FAULT_COUNT; k++)
		g_hash_table_unref(p->voices[k].reasons);
	loop_timer_free(p->feed);
	g_hash_table_unref(p->actors);
	g_free(p->marks);
	g_free(p);
}
