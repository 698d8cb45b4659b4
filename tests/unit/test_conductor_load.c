/* The conductor: the power sync, and workers that say or hear too much. */
#include "conductor_fixture.h"

static void test_power_sync(struct world *w, gconstpointer data)
{
	(void)data;
	world_until_power(w, "power off");
	w->power = true;
	world_until_power(w, "power on");
}

/* Until the slow BMC was asked for the node's power. */
static void until_asked(struct world *w)
{
	w->bmc_is_slow = true;
	w->late_answer.type = MESSAGE_NONE;
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	while (w->late_answer.type == MESSAGE_NONE && !w->late)
		loop_turn(w->loop, true);
	g_assert_false(w->late);
	w->bmc_is_slow = false;
}

static void until_no_sync(struct world *w)
{
	while (w->conductor->syncs && !w->late)
		loop_turn(w->loop, true);
	g_assert_false(w->late);
	g_assert_cmpuint(w->conductor->syncs, ==, 0);
}

static void test_sync_of_deleted_node(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;

	(void)data;
	until_asked(w);
	g_assert_cmpuint(c->syncs, ==, 1);
	/* All places are taken, and the next node waits for one. */
	unsigned others = 15;
	struct uuid deleted = w->node;

	c->syncs += others;
	world_add_node(w, "52:54:00:aa:bb:02");
	g_queue_push_tail(&c->sync_queue, g_strdup(w->node.s));
	g_assert_true(store_begin(w->store, NULL));
	g_assert_true(store_node_delete(w->store, deleted.s, NULL));
	g_assert_true(store_commit(w->store, NULL));
	world_send(w, ROLE_BMC, &w->late_answer);
	while (!g_queue_is_empty(&c->sync_queue) && !w->late)
		loop_turn(w->loop, true);
	g_assert_false(w->late);
	c->syncs -= others;
	until_no_sync(w);
	world_until_power(w, "power off");
}

/* An operation does not wait for it any longer, and its answer comes all the same. */
static void test_overdue_sync(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;
	GHashTableIter iter;
	gpointer value;

	(void)data;
	until_asked(w);
	g_hash_table_iter_init(&iter, c->requests);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		((struct request *)value)->due.us = 1;
	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	until_no_sync(w);
	world_send(w, ROLE_BMC, &w->late_answer);
	world_until_rest(w, STATE_ACTIVE);
	until_no_sync(w);
}

/* A worker that ends takes its requests along.  An answer of it that was heard before gives back no place of the next one's. */
static void test_sync_of_ended_worker(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;

	(void)data;
	until_asked(w);
	world_send(w, ROLE_BMC, &w->late_answer);
	while (c->messages == 0 && !w->late)
		loop_turn(w->loop, true);
	g_assert_cmpuint(c->messages, ==, 1);
	g_queue_push_tail(&c->sync_queue, g_strdup(w->node.s));
	g_clear_pointer(&w->workers[ROLE_BMC], channel_free);
	world_attach(w, ROLE_BMC);
	g_assert_cmpuint(c->syncs, ==, 1);
	until_asked(w);
	g_assert_cmpuint(c->messages, ==, 0);
	g_assert_cmpuint(c->syncs, ==, 1);
	g_clear_pointer(&w->workers[ROLE_BMC], channel_free);
	until_no_sync(w);
}

/* ---- pressure */

static void post_noise(struct conductor *c, size_t length)
{
	struct item item = {.kind = ITEM_MESSAGE, .node = uuid_new()};

	item.message.type = MESSAGE_agent_gone;
	item.message.length = (uint32_t)length;
	item.message.agent_gone.reason = g_strdup("noise");
	conductor_post(c, &item);
}

/* Messages that wait for the store, many or large ones, keep the workers from being listened to until they are done. */
static void test_workers_are_held(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;
	unsigned posted = 0;

	(void)data;
	for (size_t length = 1; length < 1u << 24; length <<= 22) {
		g_assert_false(c->holds);
		for (; !c->holds && posted < 100000; posted++)
			post_noise(c, length);
		g_assert_cmpuint(posted, <=, 4096);
		g_assert_cmpuint(c->message_bytes, <=, 20u << 20);
		/* A late worker is not listened to either. */
		g_clear_pointer(&w->workers[ROLE_DIALER], channel_free);
		world_attach(w, ROLE_DIALER);
		struct message m = {.type = MESSAGE_dialer_metrics};

		m.dialer_metrics.figures = (char *)(uintptr_t) "no figures";
		for (unsigned i = 0; i < 5000; i++)
			world_send(w, ROLE_DIALER, &m);
		size_t waiting = channel_queued_bytes(w->workers[ROLE_DIALER]);

		g_assert_cmpuint(waiting, >, 0);
		g_assert_true(c->holds);
		while (c->messages > 0)
			loop_turn(w->loop, true);
		g_assert_false(c->holds);
		g_assert_cmpuint(c->message_bytes, ==, 0);
		while (channel_queued_bytes(w->workers[ROLE_DIALER]) > 0)
			loop_turn(w->loop, true);
		posted = 0;
	}
}

/* A BMC worker that does not read is sent no more than its share, and what waited for that goes on afterwards. */
static void test_full_channel(struct world *w, gconstpointer data)
{
	struct channel *to = w->conductor->workers[ROLE_BMC].channel;
	struct message m = {.type = MESSAGE_bmc_request};

	(void)data;
	channel_hold(w->workers[ROLE_BMC], true);
	m.bmc_request.node = w->node;
	m.bmc_request.driver = (char *)(uintptr_t) "fake-hardware";
	while (channel_queued_bytes(to) <= 4u << 20)
		g_assert_true(channel_send(to, &m, NULL));
	size_t full = channel_queued_bytes(to);

	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	loop_timer_arm(w->guard, SPAN_SECONDS(5));
	while (g_queue_is_empty(&w->conductor->workers[ROLE_BMC].waiting) && !w->late)
		loop_turn(w->loop, true);
	for (unsigned i = 0; i < 20; i++)
		loop_turn(w->loop, true);
	g_assert_cmpuint(channel_queued_bytes(to), ==, full);
	g_assert_cmpuint(w->conductor->workers[ROLE_BMC].waiting.length, ==, 1);
	channel_hold(w->workers[ROLE_BMC], false);
	world_until_rest(w, STATE_ACTIVE);
	g_assert_cmpuint(w->boots, ==, 1);
}

static int64_t progress_of(struct world *w)
{
	g_autoptr(node) n = world_get(w);
	g_auto(flow) f = {.phase = PHASE_NONE};

	g_assert_true(flow_parse(n->flow, &f, NULL));
	return f.done;
}

static void tell_progress(struct world *w, const struct uuid *uuid, uint64_t done)
{
	struct conductor *c = w->conductor;
	struct item item = {.kind = ITEM_MESSAGE, .node = *uuid};

	item.message.type = MESSAGE_agent_command;
	item.message.agent_command =
		(struct message_agent_command){.node = *uuid,
					       .epoch = w->epoch,
					       .command = g_strdup(w->last_step.s),
					       .name = g_strdup("execute_deploy_step"),
					       .status = COMMAND_RUNNING,
					       .reason = g_strdup(""),
					       .outcome = g_strdup(""),
					       .done = done,
					       .total = 100};
	conductor_post(c, &item);
	while (c->messages > 0)
		loop_turn(w->loop, true);
}

/* A deployment whose agent is at work, and stays at it. */
static void until_in_step(struct world *w)
{
	w->steps_last = true;
	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	while (!uuid_is_set(&w->last_step) && !w->late)
		loop_turn(w->loop, true);
	g_assert_true(uuid_is_set(&w->last_step));
}

/* A dialer that tells of the progress of nodes that nobody knows leaves nothing behind either. */
static void test_progress_is_rationed(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;

	(void)data;
	until_in_step(w);

	guint runs = g_hash_table_size(c->runs);

	c->progress.full_at = mono_add(mono_now(), SPAN_SECONDS(1000));
	for (unsigned i = 0; i < 10; i++) {
		struct uuid unknown = uuid_new();

		tell_progress(w, &unknown, 20);
	}
	tell_progress(w, &w->node, 20);
	g_assert_cmpint(progress_of(w), ==, 0);
	g_assert_cmpuint(g_hash_table_size(c->runs), ==, runs);
	c->progress.full_at.us = 0;
	tell_progress(w, &w->node, 30);
	g_assert_cmpint(progress_of(w), ==, 30);
}

/* A poke that was lost costs the time to the next sweep; a row that nobody changed is left alone. */
static void test_sweep_sees_changes(struct world *w, gconstpointer data)
{
	(void)data;
	until_in_step(w);
	struct run *run = conductor_run(w->conductor, w->node.s);
	struct mono later = mono_add(mono_now(), SPAN_SECONDS(1000));
	struct mono quiet = mono_add(mono_now(), SPAN_MS(300));

	/* What is on its way comes first. */
	while (!mono_reached(quiet, mono_now()))
		loop_turn(w->loop, true);
	run->acted_at = later;
	w->steps_last = false;
	world_verb(w, STATE_EVENT_DELETE);
	while (run->acted_at.us == later.us && !w->late)
		loop_turn(w->loop, true);
	g_assert_false(w->late);
	world_until_rest(w, STATE_AVAILABLE);
}

static void test_sweep_pause(struct world *w, gconstpointer data)
{
	(void)w, (void)data;
	g_assert_cmpint(conductor_sweep_pause(0, SPAN_SECONDS(3)).us, ==, SPAN_SECONDS(15).us);
	g_assert_cmpint(conductor_sweep_pause(7500, SPAN_SECONDS(3)).us, ==, SPAN_SECONDS(15).us);
	g_assert_cmpint(conductor_sweep_pause(100000, SPAN_SECONDS(3)).us, ==,
			SPAN_SECONDS(200).us);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("the power that the BMC reports is adopted", test_power_sync);
	CASE("a node that is deleted gives its place in the power sync back",
	     test_sync_of_deleted_node);
	CASE("a power sync that is given up gives its place back, once", test_overdue_sync);
	CASE("a BMC worker that ends gives the places of the power sync back",
	     test_sync_of_ended_worker);
	CASE("workers are not listened to while too much of theirs waits", test_workers_are_held);
	CASE("a worker that does not read is sent nothing more", test_full_channel);
	CASE("progress is written so many times a second and no more", test_progress_is_rationed);
	CASE("the sweep finds a row that was changed without a poke", test_sweep_sees_changes);
	CASE("the sweep takes longer for more nodes", test_sweep_pause);
	return g_test_run();
}
