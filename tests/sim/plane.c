/* The control plane: channels without descriptors, and the conductor's and the workers' lives and deaths. */
#include <string.h>

#include "inside.h"
#include "sim.h"

/* A worker that died is started again after this long (supervisor.c). */
#define RESTART (1 * SECOND)

struct channel {
	enum role role;
	channel_message_fn on_message;
	channel_closed_fn on_closed;
	void *ctx;
};

/* conductor_attach() passes a "descriptor" on, which is the role here. */
struct channel *channel_new(struct loop *l, int fd, channel_message_fn on_message,
			    channel_closed_fn on_closed, void *ctx)
{
	struct channel *c = g_new0(struct channel, 1);

	(void)l;
	c->role = (enum role)fd;
	c->on_message = on_message;
	c->on_closed = on_closed;
	c->ctx = ctx;
	sim->channels[c->role] = c;
	return c;
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	if (sim->channels[c->role] == c)
		sim->channels[c->role] = NULL;
	g_free(c);
}

/* Everybody reads at once, so that nobody is ever held. */
void channel_hold(struct channel *c, bool hold)
{
	(void)c, (void)hold;
}

size_t channel_queued_bytes(const struct channel *c)
{
	(void)c;
	return 0;
}

static void deliver(const struct message *m)
{
	switch ((unsigned)m->type) {
	case MESSAGE_bmc_request: bmc_take(&m->bmc_request); break;
	case MESSAGE_boot_publish:
	case MESSAGE_boot_withdraw: boot_host_take(m); break;
	default: phone_take(m); break;
	}
}

bool channel_send(struct channel *c, const struct message *m, GError **error)
{
	(void)c, (void)error;
	if (sim->dead)
		return true;
	if (sim->crash_in > 0 && --sim->crash_in == 0) {
		sim->dead = true;
		/* In front of the message, or behind it. */
		if (sim_coin(500))
			return true;
	}
	deliver(m);
	return true;
}

/* ---- answers */

struct reply {
	enum role worker;
	uint64_t generation;
	struct message m;
};

static void on_reply(void *data)
{
	struct reply *r = data;
	struct channel *c = sim->channels[r->worker];

	if (c && sim->workers[r->worker] == r->generation && !sim->dead)
		c->on_message(c->ctx, &r->m, -1);
}

static void reply_free(gpointer data)
{
	struct reply *r = data;

	message_clear(&r->m);
	g_free(r);
}

void plane_reply(enum role worker, uint64_t generation, int64_t us, struct message *m)
{
	struct reply *r = g_new(struct reply, 1);

	*r = (struct reply){.worker = worker, .generation = generation, .m = *m};
	*m = (struct message){.type = MESSAGE_NONE};
	sim_after(us, on_reply, r, reply_free);
}

/* ---- lives */

void plane_start(void *unused)
{
	static const enum role workers[] = {ROLE_BMC, ROLE_BOOT, ROLE_DIALER};
	g_autoptr(GError) error = NULL;

	(void)unused;
	rows_reload();
	sim_say("the conductor starts");
	sim->conductor = conductor_new(NULL, sim->config, NULL, NULL, -1, &error);
	g_assert_no_error(error);
	for (size_t i = 0; i < G_N_ELEMENTS(workers); i++)
		conductor_attach(sim->conductor, workers[i], (int)workers[i]);
}

static void end_worker(enum role worker)
{
	sim->workers[worker]++;
	sim->died[worker] = sim->now;
	if (worker == ROLE_DIALER)
		phone_forget_all();
}

/* The workers see the end of their channels and end, too. */
void plane_stop(void)
{
	g_clear_pointer(&sim->conductor, conductor_free);
	sim->dead = false;
	sim->crash_in = 0;
	for (enum role r = ROLE_SUPERVISOR; r < ROLE_COUNT; r++)
		end_worker(r);
}

static void on_worker_restart(void *data)
{
	enum role worker = *(enum role *)data;

	if (sim->conductor && !sim->channels[worker])
		conductor_attach(sim->conductor, worker, (int)worker);
}

void plane_crash_worker(enum role worker)
{
	struct channel *c = sim->channels[worker];

	if (!sim->conductor || !c)
		return;
	sim_say("the worker %s dies", role_text[worker]);
	end_worker(worker);
	c->on_closed(c->ctx, NULL);
	sim_after(RESTART, on_worker_restart, g_memdup2(&worker, sizeof(worker)), NULL);
}

/* What left the process is on its way, or not; nothing of it comes when the next one works already. */
bool plane_carries_out(enum role worker, uint64_t generation)
{
	return sim->workers[worker] == generation ||
	       (sim->workers[worker] == generation + 1 &&
		sim->now - sim->died[worker] < RESTART / 2 && sim_coin(500));
}

void plane_poke(const char *uuid)
{
	conductor_look(sim->conductor, uuid);
}
