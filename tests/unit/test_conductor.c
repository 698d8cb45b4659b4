/* The conductor: a node gets where it should, whatever dies and whatever is lost. */
#include "conductor_fixture.h"

static void test_deploy(struct world *w, gconstpointer data)
{
	(void)data;
	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	world_until_rest(w, STATE_ACTIVE);
	g_autoptr(node) n = world_get(w);

	g_assert_cmpuint(w->writes, ==, 1);
	g_assert_cmpuint(w->boots, ==, 1);
	g_assert_true(w->power);
	g_assert_false(w->published);
	g_assert_null(n->agent_token);
	g_assert_null(n->reservation);
	g_assert_null(n->last_error);
	g_assert_cmpstr(n->power_state, ==, "power on");
}

/* Killed after each message in turn, carried out or not, the deployment ends the same. */
static void kill_everywhere(struct world *w, bool before)
{
	for (unsigned at = 1;; at++) {
		w->messages = 0;
		w->kill_at = at;
		w->kill_before = before;
		w->writes = w->boots = 0;
		world_verb(w, STATE_EVENT_DEPLOY);
		world_poke(w);
		world_until_rest(w, STATE_ACTIVE);
		g_assert_cmpuint(w->writes, ==, 1);
		g_assert_cmpuint(w->boots, ==, 1);
		g_assert_false(w->published);
		bool done = w->kill_at != 0;

		w->kill_at = 0;
		world_verb(w, STATE_EVENT_DELETE);
		world_poke(w);
		world_until_rest(w, STATE_AVAILABLE);
		g_autoptr(node) n = world_get(w);
		attr_set changed = {0};

		json_object_set_new(n->instance_info, "image_source",
				    json_string("http://10.0.0.1/i.raw"));
		json_object_set_new(n->instance_info, "image_checksum",
				    json_string("http://10.0.0.1/i.sum"));
		attr_set_add(changed, NODE_ATTR_instance_info);
		g_assert_true(store_begin(w->store, NULL));
		g_assert_true(store_node_update(w->store, n, changed, NULL));
		g_assert_true(store_commit(w->store, NULL));
		if (done)
			break;
		g_assert_cmpuint(at, <, 100);
	}
}

static void test_killed_after(struct world *w, gconstpointer data)
{
	(void)data;
	kill_everywhere(w, false);
}

static void test_killed_before(struct world *w, gconstpointer data)
{
	(void)data;
	kill_everywhere(w, true);
}

static void test_workers_die(struct world *w, gconstpointer data)
{
	(void)data;
	for (w->kill_worker = ROLE_DIALER; w->kill_worker <= ROLE_BOOT; w->kill_worker++) {
		kill_everywhere(w, false);
		kill_everywhere(w, true);
	}
}

static void test_lost_poke(struct world *w, gconstpointer data)
{
	(void)data;
	world_verb(w, STATE_EVENT_DEPLOY);
	world_until_rest(w, STATE_ACTIVE);
}

static void test_lost_answer(struct world *w, gconstpointer data)
{
	(void)data;
	w->lose_answer_to_step = 1;
	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	world_until_rest(w, STATE_ACTIVE);
	g_assert_cmpuint(w->writes, ==, 1);
}

static void test_retry(struct world *w, gconstpointer data)
{
	(void)data;
	w->refuse_publish = 1;
	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	world_until_rest(w, STATE_ACTIVE);
	g_assert_cmpuint(w->refuse_publish, ==, 0);
}

/* One event, as the API folds it. */
static void fold_as_api(struct world *w, struct event *ev)
{
	attr_set changed = {0};

	g_assert_true(store_begin(w->store, NULL));
	g_autoptr(node) n = world_get(w);

	ev->now = wall_now();
	ev->host = "api";
	ev->epoch = (uint64_t)n->boot_epoch;
	ev->limits = (struct flow_limits){.callback_s = 1800, .power_s = 60};
	g_assert_true(node_fold(n, ev, changed, NULL));
	g_assert_true(store_node_update(w->store, n, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));
	world_poke(w);
}

static void test_active(struct world *w, gconstpointer data)
{
	struct event ev = {
		.kind = EVENT_AGENT_HEARTBEAT, .agent_url = "https://" ADDRESS ":9999", .pin = PIN};

	(void)data;
	g_assert_true(store_begin(w->store, NULL));
	g_autoptr(node) n = world_get(w);
	attr_set changed = {0};

	json_object_set_new(n->driver_info, "agent_poll_only", json_false());
	attr_set_add(changed, NODE_ATTR_driver_info);
	g_assert_true(store_node_update(w->store, n, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));

	struct event deploy = {.kind = EVENT_VERB,
			       .verb = STATE_EVENT_DEPLOY,
			       .agents = {.api_url = "http://127.0.0.1:1"}};

	fold_as_api(w, &deploy);
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	for (;;) {
		g_autoptr(node) now = world_get(w);

		if (now->provision_state == STATE_DEPLOY_WAIT || w->late)
			break;
		loop_turn(w->loop, true);
	}
	/* It was started with the URL, and is not dialled before it called: not after a restart, either. */
	g_assert_false(w->late);
	g_assert_cmpstr(w->api_url, ==, "http://127.0.0.1:1");
	world_stop(w);
	world_start(w);
	world_poke(w);
	for (unsigned i = 0; i < 3; i++)
		loop_turn(w->loop, true);
	g_assert_false(w->watched);
	w->called = true;
	fold_as_api(w, &ev);
	world_until_rest(w, STATE_ACTIVE);
	g_assert_true(w->watched);
	g_assert_cmpuint(w->writes, ==, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("a node is deployed", test_deploy);
	CASE("killed after any message was carried out, it goes on", test_killed_after);
	CASE("killed before any message was carried out, it goes on", test_killed_before);
	CASE("whichever worker dies, whenever, it goes on", test_workers_die);
	CASE("a lost poke costs a sweep", test_lost_poke);
	CASE("a step whose answer was lost is not run twice", test_lost_answer);
	CASE("a boot host that comes back is asked again", test_retry);
	CASE("an active node's agent is dialled when it has called", test_active);
	return g_test_run();
}
