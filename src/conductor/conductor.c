#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "errors.h"
#include "inside.h"
#include "jsons.h"
#include "log.h"
#include "ramdisk.h"

#define POKES_PER_TURN 256
/* With so many messages, or so much of them, queued the workers are not listened to: they see that, and begin
 * nothing new. */
#define MESSAGES_MOST      4096
#define MESSAGE_BYTES_MOST (16u * 1024 * 1024)
/* A worker that has so much to read yet is sent nothing new. */
#define CHANNEL_MOST (4u * 1024 * 1024)
#define ROOM_LOOK    SPAN_MS(20)
#define LOCKED_PAUSE SPAN_MS(20)
/* A node that moves and that nobody has changed is looked at in each n-th sweep only, and so many of them a second:
 * reading thousands of rows that wait for something costs more than it finds. */
#define SWEEPS_PER_LOOK 5
#define SWEPT_MOST      500

static void run_free(gpointer data)
{
	struct run *run = data;

	loop_timer_free(run->timer);
	g_free(run->watch);
	g_free(run);
}

struct run *conductor_run(struct conductor *c, const char *uuid)
{
	struct run *run = g_hash_table_lookup(c->runs, uuid);

	if (run)
		return run;
	run = g_new0(struct run, 1);
	run->c = c;
	g_strlcpy(run->node.s, uuid, sizeof(run->node.s));
	g_hash_table_insert(c->runs, run->node.s, run);
	return run;
}

/* ---- what is queued */

void conductor_item_free(gpointer data)
{
	struct item *item = data;

	message_clear(&item->message);
	g_free(item->reason);
	g_free(item);
}

static size_t cost_of(const struct item *item)
{
	return item->kind == ITEM_MESSAGE ? sizeof(*item) + item->message.length : 0;
}

static void hold_workers(struct conductor *c, bool hold)
{
	if (c->holds == hold)
		return;
	c->holds = hold;
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (c->workers[i].channel)
			channel_hold(c->workers[i].channel, hold);
	for (unsigned i = 0; i < c->dialer_count; i++)
		if (c->dialers[i].channel)
			channel_hold(c->dialers[i].channel, hold);
}

void conductor_post(struct conductor *c, const struct item *item)
{
	g_queue_push_tail(&c->items, g_memdup2(item, sizeof(*item)));
	c->messages += item->kind == ITEM_MESSAGE;
	c->message_bytes += cost_of(item);
	if (c->messages >= MESSAGES_MOST || c->message_bytes >= MESSAGE_BYTES_MOST)
		hold_workers(c, true);
	loop_timer_arm(c->drain_timer, SPAN_MS(0));
}

struct item *conductor_take(struct conductor *c)
{
	struct item *item = g_queue_pop_head(&c->items);
	struct run *run;

	if (!item)
		return NULL;
	c->messages -= item->kind == ITEM_MESSAGE;
	c->message_bytes -= cost_of(item);
	if (c->messages <= MESSAGES_MOST / 2 && c->message_bytes <= MESSAGE_BYTES_MOST / 2)
		hold_workers(c, false);
	if (item->kind == ITEM_LOOK && (run = g_hash_table_lookup(c->runs, item->node.s)))
		run->looks = false;
	return item;
}

void conductor_look(struct conductor *c, const char *uuid)
{
	struct run *run = conductor_run(c, uuid);
	struct item item = {.kind = ITEM_LOOK, .node = run->node};

	/* Once is enough: it looks at the row as it will be. */
	if (run->looks)
		return;
	run->looks = true;
	conductor_post(c, &item);
}

static void on_drain(void *ctx)
{
	struct conductor *c = ctx;
	bool locked = false;

	/* One of them in a turn: each may wait for a locked store, and the supervisor for a sign of life. */
	if (!figures_keep(c) && !g_queue_is_empty(&c->items))
		locked = !conductor_drain(c);
	if (!g_queue_is_empty(&c->items))
		loop_timer_arm(c->drain_timer, locked ? LOCKED_PAUSE : SPAN_MS(0));
}

/* ---- requests */

void conductor_forget_request(struct conductor *c, uint64_t id)
{
	const struct request *rq = g_hash_table_lookup(c->requests, &id);
	struct run *run = rq ? g_hash_table_lookup(c->runs, rq->node.s) : NULL;

	if (run && run->requests[rq->worker] == id)
		run->requests[rq->worker] = 0;
	/* Here each request ends once: answered or given up, and whatever became of its node. */
	c->syncs -= rq && rq->turn == 0;
	g_hash_table_remove(c->requests, &id);
}

static unsigned dialer_of(const struct conductor *c, const struct uuid *uuid)
{
	return g_str_hash(uuid->s) % c->dialer_count;
}

static struct link *link_of(struct conductor *c, enum role worker, const struct uuid *uuid)
{
	return worker == ROLE_DIALER ? &c->dialers[dialer_of(c, uuid)] : &c->workers[worker];
}

struct channel *conductor_channel(const struct conductor *c, enum role worker,
				  const struct uuid *uuid)
{
	return worker == ROLE_DIALER ? c->dialers[dialer_of(c, uuid)].channel
				     : c->workers[worker].channel;
}

/* ---- room in the channels */

static bool has_room(const struct link *l, size_t most)
{
	return !l->channel || channel_queued_bytes(l->channel) <= most;
}

bool conductor_is_full(struct conductor *c, struct run *run, enum role worker)
{
	struct link *l = link_of(c, worker, &run->node);

	if (has_room(l, CHANNEL_MOST))
		return false;
	if (!(run->waits & (1u << worker))) {
		run->waits |= 1u << worker;
		g_queue_push_tail(&l->waiting, g_strdup(run->node.s));
		loop_timer_arm(c->room_timer, ROOM_LOOK);
	}
	return true;
}

/* True if somebody still waits. */
static bool look_at_waiting(struct conductor *c, struct link *l)
{
	while (!g_queue_is_empty(&l->waiting) && has_room(l, CHANNEL_MOST / 2) &&
	       c->items.length < MESSAGES_MOST) {
		g_autofree char *uuid = g_queue_pop_head(&l->waiting);
		struct run *run = g_hash_table_lookup(c->runs, uuid);

		if (!run)
			continue;
		run->waits &= ~(1u << l->role);
		conductor_look(c, uuid);
	}
	return !g_queue_is_empty(&l->waiting);
}

static void on_room(void *ctx)
{
	struct conductor *c = ctx;
	bool waits = false;

	for (unsigned i = 0; i < ROLE_COUNT; i++)
		waits = look_at_waiting(c, &c->workers[i]) || waits;
	for (unsigned i = 0; i < c->dialer_count; i++)
		waits = look_at_waiting(c, &c->dialers[i]) || waits;
	if (waits)
		loop_timer_arm(c->room_timer, ROOM_LOOK);
}

bool conductor_request(struct conductor *c, struct run *run, const struct request *rq,
		       const struct message *m, GError **error)
{
	struct channel *worker = conductor_channel(c, rq->worker, &rq->node);

	/* Without its worker a request waits for conductor_attach(). */
	if (!worker)
		return true;
	if (!channel_send(worker, m, error))
		return false;
	struct request *copy = g_memdup2(rq, sizeof(*rq));

	c->next_request++;
	c->syncs += rq->turn == 0;
	run->requests[rq->worker] = copy->id;
	g_hash_table_insert(c->requests, &copy->id, copy);
	return true;
}

/* ---- what the workers say */

struct sender {
	const struct uuid *node;
	uint64_t request; /* 0: not an answer */
	enum role role;
};

static bool sender_of(const struct message *m, struct sender *ret)
{
#define FROM(type, from, number)                                                     \
	case MESSAGE_##type:                                                         \
		*ret = (struct sender){                                              \
			.node = &m->type.node, .request = (number), .role = (from)}; \
		return true
	switch ((unsigned)m->type) {
		FROM(agent_alive, ROLE_DIALER, 0);
		FROM(agent_milestone, ROLE_DIALER, 0);
		FROM(agent_gone, ROLE_DIALER, 0);
		FROM(agent_command, ROLE_DIALER, 0);
		FROM(agent_reply, ROLE_DIALER, m->agent_reply.request);
		FROM(bmc_reply, ROLE_BMC, m->bmc_reply.request);
		FROM(boot_reply, ROLE_BOOT, m->boot_reply.request);
	default: return false;
	}
#undef FROM
}

/* Whether the node is one of this worker's. */
static bool is_share(const struct link *l, const struct uuid *uuid)
{
	return l->role != ROLE_DIALER || dialer_of(l->c, uuid) == l->index;
}

/* A worker meets strangers: it may answer only what it was asked, and only for its own nodes. */
static void take_message(struct link *l, struct message *m)
{
	struct conductor *c = l->c;
	enum role role = l->role;
	struct item item = {.kind = ITEM_MESSAGE};
	struct sender sender;

	if (role == ROLE_DIALER && m->type == MESSAGE_dialer_metrics) {
		figures_take(l, m->dialer_metrics.figures);
		return;
	}
	if (!sender_of(m, &sender) || sender.role != role || !is_share(l, sender.node)) {
		log_warn(NULL, "message of the wrong kind dropped",
			 F_STR("worker", role_text[role]),
			 F_STR("type", message_type_text(m->type)));
		return;
	}
	item.node = *sender.node;
	if (sender.request) {
		const struct request *rq = g_hash_table_lookup(c->requests, &sender.request);

		if (!rq || rq->worker != role || strcmp(rq->node.s, item.node.s) != 0)
			return;
		item.request = *rq;
		conductor_forget_request(c, sender.request);
	} else if (role != ROLE_DIALER) {
		return;
	}
	item.message = *m;
	*m = (struct message){.type = MESSAGE_NONE};
	conductor_post(c, &item);
}

/* Whatever the worker was asked is forgotten: the rows know what is needed. */
static void close_worker(struct link *l, const GError *error)
{
	struct conductor *c = l->c;
	GHashTableIter iter;
	gpointer value;

	log_notice(NULL, "worker is gone", F_STR("worker", role_text[l->role]),
		   F_INT("index", l->index), F_ERR(error));
	channel_free(g_steal_pointer(&l->channel));
	g_hash_table_iter_init(&iter, c->requests);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct request *rq = value;

		if (rq->worker != l->role || !is_share(l, &rq->node))
			continue;
		c->syncs -= rq->turn == 0;
		g_hash_table_iter_remove(&iter);
	}
	g_hash_table_iter_init(&iter, c->runs);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct run *run = value;

		if (!is_share(l, &run->node))
			continue;
		run->requests[l->role] = 0;
		if (l->role == ROLE_DIALER)
			g_clear_pointer(&run->watch, g_free);
	}
	if (l->role == ROLE_DIALER)
		figures_drop(c, l->index);
}

static void on_message(void *ctx, struct message *m, int fd)
{
	(void)fd;
	take_message(ctx, m);
}

static void on_closed(void *ctx, const GError *error)
{
	close_worker(ctx, error);
}

struct span conductor_sweep_pause(unsigned moving, struct span interval)
{
	return (struct span){
		MAX(interval.us * SWEEPS_PER_LOOK, SPAN_SECONDS(1).us * moving / SWEPT_MOST)};
}

static bool is_asking(const struct run *run)
{
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (run->requests[i])
			return true;
	return false;
}

/* Whether the sweep finds something to do: the row was changed, or it may be time to do something again. */
static bool is_worth_a_look(const struct run *run, int64_t revision, struct span usual,
			    struct span pause, struct mono now)
{
	return !run || !run->in_motion || run->acted_revision != revision ||
	       mono_reached(mono_add(run->acted_at, is_asking(run) ? usual : pause), now);
}

static bool sweep(struct conductor *c, struct span interval, GError **error)
{
	g_autoptr(GArray) list = store_nodes_in_motion(c->store, error);
	struct mono now = loop_now(c->loop);
	struct span usual = conductor_sweep_pause(0, interval);
	struct span pause = conductor_sweep_pause(list ? list->len : 0, interval);

	for (guint i = 0; list && i < list->len; i++) {
		const struct moving_node *m = &g_array_index(list, struct moving_node, i);

		if (is_worth_a_look(g_hash_table_lookup(c->runs, m->uuid.s), m->revision, usual,
				    pause, now))
			conductor_look(c, m->uuid.s);
	}
	return list;
}

/* All that move; after a start, and for a worker that is new. */
static bool look_at_all(struct conductor *c, GError **error)
{
	g_autoptr(GArray) list = store_nodes_in_motion(c->store, error);

	for (guint i = 0; list && i < list->len; i++)
		conductor_look(c, g_array_index(list, struct moving_node, i).uuid.s);
	return list;
}

static void attach(struct conductor *c, struct link *l, int channel_fd)
{
	g_autoptr(GError) error = NULL;

	if (l->channel)
		close_worker(l, NULL);
	l->channel = channel_new(c->loop, channel_fd, on_message, on_closed, l);
	channel_hold(l->channel, c->holds);
	if (!look_at_all(c, &error))
		log_error(NULL, "nodes in motion cannot be read", F_ERR(error));
	if (l->role == ROLE_BMC)
		sync_next(c);
}

void conductor_attach(struct conductor *c, enum role worker, int channel_fd)
{
	if (worker == ROLE_DIALER)
		attach(c, &c->dialers[0], channel_fd);
	else
		attach(c, &c->workers[worker], channel_fd);
}

void conductor_attach_dialer(struct conductor *c, unsigned index, int channel_fd)
{
	g_assert(index < c->dialer_count);
	attach(c, &c->dialers[index], channel_fd);
}

/* ---- pokes and the sweep */

static void on_poke(void *ctx, bool readable, bool writable)
{
	struct conductor *c = ctx;
	char text[UUID_TEXT + 1];

	(void)readable;
	(void)writable;
	for (unsigned i = 0; i < POKES_PER_TURN; i++) {
		ssize_t n = recv(c->poke_fd, text, sizeof(text) - 1, MSG_DONTWAIT);
		struct uuid uuid;

		if (n < 0)
			return;
		text[n] = '\0';
		if (uuid_parse(text, &uuid, NULL))
			conductor_look(c, uuid.s);
	}
}

static void on_sweep(void *ctx)
{
	struct conductor *c = ctx;
	struct span interval = config_span(c->config, OPTION_conductor_sweep_interval);
	g_autoptr(GError) error = NULL;

	if (!sweep(c, interval, &error))
		log_error(NULL, "nodes in motion cannot be read", F_ERR(error));
	loop_timer_arm(c->sweep_timer, interval);
}

static void on_sync(void *ctx)
{
	struct conductor *c = ctx;

	sync_start(c);
	loop_timer_arm(c->sync_timer,
		       config_span(c->config, OPTION_conductor_sync_power_state_interval));
}

/* ---- options */

static void start_timers(struct conductor *c)
{
	struct span sync = config_span(c->config, OPTION_conductor_sync_power_state_interval);

	loop_timer_arm(c->sweep_timer, config_span(c->config, OPTION_conductor_sweep_interval));
	if (sync.us > 0)
		loop_timer_arm(c->sync_timer, sync);
	if (c->poke_fd < 0)
		return;
	c->poke_watch = loop_watch_new(c->loop, c->poke_fd, on_poke, c);
	loop_watch_set(c->poke_watch, true, false);
}

struct conductor *conductor_new(struct loop *l, const struct config *conf, struct store *s,
				const struct seal_key *key, int poke_fd, GError **error)
{
	g_autoptr(conductor) c = g_new0(struct conductor, 1);

	c->loop = l;
	c->config = conf;
	c->store = s;
	c->key = key;
	c->poke_fd = poke_fd;
	c->started = mono_now();
	c->next_request = 1;
	c->dialer_count = (unsigned)config_int(conf, OPTION_agent_dialers);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		c->workers[i] = (struct link){.c = c, .role = i};
	for (unsigned i = 0; i < LIMIT_DIALERS; i++)
		c->dialers[i] = (struct link){.c = c, .role = ROLE_DIALER, .index = i};
	c->runs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, run_free);
	c->requests = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	g_queue_init(&c->items);
	g_queue_init(&c->sync_queue);
	c->drain_timer = loop_timer_new(l, on_drain, c);
	c->room_timer = loop_timer_new(l, on_room, c);
	c->sweep_timer = loop_timer_new(l, on_sweep, c);
	c->sync_timer = loop_timer_new(l, on_sync, c);
	if (!address_pool_parse(config_text(conf, OPTION_boot_address_pool), &c->pool, error))
		return NULL;
	g_autofree char *arguments =
		ramdisk_parse_arguments(config_text(conf, OPTION_agent_kernel_append_params),
					"[agent]kernel_append_params", error);

	c->clean_priorities = config_clean_priorities(conf, error);
	if (!c->clean_priorities || !arguments || !look_at_all(c, error))
		return NULL;
	for (unsigned i = 0; i < c->dialer_count; i++)
		figures_drop(c, i);
	start_timers(c);
	return g_steal_pointer(&c);
}

static void free_link(struct link *l)
{
	channel_free(l->channel);
	g_queue_clear_full(&l->waiting, g_free);
	g_free(l->figures);
}

void conductor_free(struct conductor *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		free_link(&c->workers[i]);
	for (unsigned i = 0; i < LIMIT_DIALERS; i++)
		free_link(&c->dialers[i]);
	loop_watch_free(c->poke_watch);
	loop_timer_free(c->drain_timer);
	loop_timer_free(c->room_timer);
	loop_timer_free(c->sweep_timer);
	loop_timer_free(c->sync_timer);
	g_queue_clear_full(&c->items, conductor_item_free);
	g_queue_clear_full(&c->sync_queue, g_free);
	g_hash_table_unref(c->runs);
	g_hash_table_unref(c->requests);
	json_decref(c->clean_priorities);
	g_free(c);
}
