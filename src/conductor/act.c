/* node_act(): what the committed row still needs is started here, and nowhere else. */
#include "act.h"
#include "log.h"

/* A power state that is being reached is looked at this often. */
#define PAUSE_BETWEEN_LOOKS SPAN_SECONDS(1)
/* After a start, agents and BMCs get this long to be heard before old deadlines count. */
#define GRACE         SPAN_SECONDS(30)
#define LONGEST_SLEEP ((struct mono){24 * 3600 * (uint64_t)1000000})
/* On top of a worker's own time limit, before a request counts as lost. */
#define SPARE_S 15

static void on_timer(void *ctx)
{
	struct run *run = ctx;
	struct item item = {.kind = run->timer_is_deadline ? ITEM_DEADLINE : ITEM_LOOK,
			    .node = run->node,
			    .turn = run->timer_turn};

	conductor_post(run->c, &item);
}

static struct mono mono_of(const struct conductor *c, struct wall t)
{
	int64_t away = t.us - wall_now().us;

	return mono_add(loop_now(c->loop), (struct span){MAX(away, 0)});
}

/* The earlier of the deadline and the next attempt. */
static void arm(struct act *a, bool waits, struct mono next)
{
	struct conductor *c = a->c;
	struct run *run = a->run;
	struct mono now = loop_now(c->loop);
	struct mono grace = mono_add(c->started, GRACE);
	struct mono due = mono_of(c, a->f.until);

	/* Passed while no conductor ran: only counts when the world had time to speak. */
	if (due.us <= now.us && !mono_reached(grace, now))
		due = grace;
	run->timer_is_deadline = true;
	run->timer_turn = (uint64_t)a->f.turn;
	if (waits && next.us < due.us) {
		due = next;
		run->timer_is_deadline = false;
	}
	/* What has no deadline is looked at once a day. */
	due.us = MIN(due.us, now.us + LONGEST_SLEEP.us);
	if (!run->timer)
		run->timer = loop_timer_new(c->loop, on_timer, run);
	loop_timer_arm(run->timer, (struct span){(int64_t)(due.us - MIN(due.us, now.us)) + 1000});
}

/* When the phase may act; false: not now. */
static bool may_act(struct act *a)
{
	struct mono now = loop_now(a->c->loop);
	struct mono next = {0};

	if (a->f.retry_at.us > wall_now().us)
		next = mono_of(a->c, a->f.retry_at);
	if (a->run->answered_turn == (uint64_t)a->f.turn) {
		struct mono pause = mono_add(a->run->answered_at, PAUSE_BETWEEN_LOOKS);

		next.us = MAX(next.us, pause.us);
	}
	bool waits = next.us > now.us;

	arm(a, waits, next);
	return !waits;
}

bool act_is_under_way(struct act *a, enum role worker)
{
	uint64_t id = a->run->requests[worker];
	const struct request *rq = g_hash_table_lookup(a->c->requests, &id);

	if (!rq)
		return conductor_is_full(a->c, a->run, worker);
	bool stale = worker == ROLE_DIALER && rq->turn != (uint64_t)a->f.turn;

	if (!stale && !mono_reached(rq->due, loop_now(a->c->loop)))
		return true;
	bool sync = rq->turn == 0;

	conductor_forget_request(a->c, id);
	if (sync)
		sync_next(a->c);
	return conductor_is_full(a->c, a->run, worker);
}

bool act_ask(struct act *a, enum role worker, bool list, const struct message *m,
	     unsigned timeout_s, GError **error)
{
	struct request rq = {
		.id = a->c->next_request,
		.node = a->run->node,
		.worker = worker,
		.turn = (uint64_t)a->f.turn,
		.list = list,
		.due = mono_add(loop_now(a->c->loop), SPAN_SECONDS(timeout_s + SPARE_S))};

	return conductor_request(a->c, a->run, &rq, m, error);
}

/* The watch answers by itself. */
static bool act_wait(struct act *a, GError **error)
{
	(void)a, (void)error;
	return true;
}

static bool (*const actions[ACTION_COUNT])(struct act *, GError **) = {
	[ACTION_GET_POWER] = act_get_power, [ACTION_POWER_OFF] = act_power,
	[ACTION_POWER_ON] = act_power,      [ACTION_SOFT_OFF] = act_power,
	[ACTION_CONFIRM_OFF] = act_power,   [ACTION_BOOT_PXE] = act_boot_pxe,
	[ACTION_BOOT_DISK] = act_boot_disk, [ACTION_BOOT_INSTANCE] = act_boot_disk,
	[ACTION_BOOT_CD] = act_boot_cd,     [ACTION_INSERT] = act_insert,
	[ACTION_EJECT] = act_eject,         [ACTION_EMPTY_DRIVE] = act_eject,
	[ACTION_PUBLISH] = act_publish,     [ACTION_WITHDRAW_TOKEN] = act_withdraw_token,
	[ACTION_WITHDRAW] = act_withdraw,   [ACTION_WITHDRAW_BOOT] = act_withdraw_boot,
	[ACTION_CONTACT] = act_wait,        [ACTION_IDENTIFY] = act_call,
	[ACTION_CLAIM] = act_call,          [ACTION_LOAD_STEPS] = act_call,
	[ACTION_STEP_SEND] = act_step,      [ACTION_STEP_WAIT] = act_wait,
	[ACTION_FINALIZE] = act_finalize,   [ACTION_SYNC] = act_call,
	[ACTION_AGENT_OFF] = act_call,      [ACTION_KEEP_AGENT] = act_withdraw_boot,
	[ACTION_IDLE] = act_wait,           [ACTION_HOLD] = act_wait,
	[ACTION_PAUSE] = act_wait,
};

static void act_in_motion(struct act *a)
{
	g_autoptr(GError) error = NULL;
	struct item item = {.node = a->run->node, .turn = (uint64_t)a->f.turn};

	if (a->f.until.us == 0) {
		item.kind = ITEM_TAKEN;
		conductor_post(a->c, &item);
		return;
	}
	bool may = may_act(a);

	if (!act_keep_watch(a, &error) || (may && !actions[flow_action(&a->f)](a, &error))) {
		item.kind = ITEM_UNABLE;
		item.reason = g_strdup(error ? error->message : NULL);
		conductor_post(a->c, &item);
	}
}

void node_act(struct conductor *c, struct run *run, const struct node *n)
{
	struct act a = {.c = c, .run = run, .n = n};
	g_autoptr(GError) error = NULL;

	if (!flow_parse(n->flow, &a.f, &error)) {
		log_error(n->uuid.s, "row is damaged", F_ERR(error));
		return;
	}
	run->in_motion = a.f.phase != PHASE_NONE;
	run->acted_at = loop_now(c->loop);
	run->acted_revision = n->revision;
	if (!run->in_motion) {
		node_unwatch(c, run);
		if (run->timer)
			loop_timer_disarm(run->timer);
	} else {
		act_in_motion(&a);
	}
	flow_clear(&a.f);
}
