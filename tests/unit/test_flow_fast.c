/* Fast track: the agent of a cleaning stays up for the next operation. */
#include "flow_fixture.h"

static struct play cleaned(void)
{
	struct play p = play_new(STATE_MANAGEABLE);

	p.fast_track = true;
	p.n->automated_clean = 1;
	g_assert_true(play_verb(&p, STATE_EVENT_PROVIDE, NULL));
	play_taken(&p);
	play_until(&p, PHASE_IDLE_WAIT);
	return p;
}

static void test_stays(void)
{
	struct play p = cleaned();
	struct flow_boot boot;

	assert_state(&p, STATE_AVAILABLE);
	g_assert_null(p.n->reservation);
	g_assert_cmpstr(p.n->power_state, ==, "power on");
	g_assert_cmpstr(p.n->agent_token, ==, "sealed:v1:token");
	g_assert_cmpstr(p.n->agent_address, ==, "10.77.2.9");
	g_assert_nonnull(json_object_get(p.n->driver_internal_info, "agent_url"));
	g_assert_null(json_object_get(p.n->driver_internal_info, "clean_steps"));
	/* No boot data are published, and the agent may still call. */
	g_auto(flow) f = play_flow(&p);

	g_assert_null(f.path);
	g_assert_true(flow_keeps_agent(p.n));
	flow_peek_boot(p.n, &boot);
	g_assert_true(boot.begun && boot.kept && !boot.active);
	g_autofree char *why = node_why(p.n, p.now);

	g_assert_nonnull(strstr(why, "The agent of epoch 1 stays up at 10.77.2.9"));
	play_done(&p);
}

static void assert_fast(struct play *p, enum phase identify)
{
	g_assert_cmpint(play_phase(p), ==, identify);
	g_assert_cmpint(p->n->boot_epoch, ==, 1);
	g_assert_cmpstr(p->n->agent_token, ==, "sealed:v1:token");
}

static void test_deploys(void)
{
	struct play p = cleaned();

	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	assert_fast(&p, PHASE_DEPLOY_IDENTIFY);
	assert_state(&p, STATE_DEPLOYING);
	play_taken(&p);
	g_assert_cmpstr(p.n->reservation, ==, PLAY_HOST);
	play_until(&p, PHASE_DEPLOY_CLAIM);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ACTIVE);
	assert_at_rest(&p);
	g_assert_cmpint(p.n->boot_epoch, ==, 1);
	g_assert_null(p.n->agent_address);
	g_assert_null(json_object_get(p.n->driver_internal_info, "agent_url"));
	g_assert_null(p.n->last_error);
	play_done(&p);
}

static void test_cleans_again(void)
{
	struct play p = cleaned();
	g_autoptr(json_t) steps = json_pack("[{s:s, s:s}]", "interface", "deploy", "step", "burn");

	g_assert_true(play_verb(&p, STATE_EVENT_MANAGE, NULL));
	g_assert_cmpint(play_phase(&p), ==, PHASE_IDLE_WAIT);
	struct event ev = play_event(&p, EVENT_VERB);

	ev.verb = STATE_EVENT_CLEAN;
	ev.steps = steps;
	ev.limits = (struct flow_limits){0};
	fold_ok(&p, &ev);
	assert_fast(&p, PHASE_CLEAN_IDENTIFY);
	play_taken(&p);
	play_until(&p, PHASE_IDLE_WAIT);
	assert_state(&p, STATE_MANAGEABLE);
	g_assert_cmpint(p.n->boot_epoch, ==, 1);
	/* And without cleaning to `available`: the agent stays. */
	p.n->automated_clean = 0;
	g_assert_true(play_verb(&p, STATE_EVENT_PROVIDE, NULL));
	assert_state(&p, STATE_AVAILABLE);
	g_assert_nonnull(json_object_get(p.n->driver_internal_info, "agent_url"));
	g_assert_cmpint(play_phase(&p), ==, PHASE_IDLE_WAIT);
	play_done(&p);
}

/* ---- doubts */

static void doubt_silence(struct play *p)
{
	p->now.us += 301 * (int64_t)1000000;
}

static void doubt_gone(struct play *p)
{
	struct event ev = seconds_later(p, EVENT_AGENT_GONE, 20);

	fold_ok(p, &ev);
}

static void doubt_token(struct play *p)
{
	g_clear_pointer(&p->n->agent_token, g_free);
}

static void doubt_power(struct play *p)
{
	g_free(p->n->power_state);
	p->n->power_state = g_strdup("power off");
}

static void doubt_interface(struct play *p)
{
	g_free(p->n->boot_interface);
	p->n->boot_interface = g_strdup("redfish-virtual-media");
}

static void doubt_transport(struct play *p)
{
	json_object_set_new(p->n->driver_info, "agent_transport", json_string("http"));
}

static void doubt_switched_off(struct play *p)
{
	p->fast_track = false;
}

static void doubt_own_wish(struct play *p)
{
	json_object_set_new(p->n->driver_info, "fast_track", json_false());
}

static void test_doubts(void)
{
	static void (*const doubts[])(struct play *) = {
		doubt_silence,   doubt_gone,      doubt_token,        doubt_power,
		doubt_interface, doubt_transport, doubt_switched_off, doubt_own_wish};

	for (size_t i = 0; i < G_N_ELEMENTS(doubts); i++) {
		struct play p = cleaned();

		doubts[i](&p);
		g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
		g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_OFF);
		g_assert_null(p.n->agent_token);
		g_assert_null(p.n->agent_verifier);
		play_taken(&p);
		play_until(&p, PHASE_DEPLOY_CLEAR);
		play_until(&p, PHASE_DEPLOY_CONTACT);
		g_assert_cmpint(p.n->boot_epoch, ==, 2);
		play_until(&p, PHASE_NONE);
		assert_state(&p, STATE_ACTIVE);
		assert_at_rest(&p);
		play_done(&p);
	}
}

static void test_changed_mode(void)
{
	struct play p = cleaned();
	struct event ev = play_event(&p, EVENT_VERB);

	ev.verb = STATE_EVENT_DEPLOY;
	ev.limits = (struct flow_limits){0};
	ev.agents = (struct agent_defaults){.active = true, .api_url = "http://10.77.0.1:6385"};
	fold_ok(&p, &ev);
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_OFF);
	play_done(&p);
}

static void fails(struct play *p)
{
	struct event ev = failure(p, false);

	fold_ok(p, &ev);
}

static void fails_again_and_again(struct play *p)
{
	for (unsigned i = 0; i < 4; i++) {
		struct event ev = failure(p, true);

		fold_ok(p, &ev);
	}
}

static void is_late(struct play *p)
{
	struct event ev = seconds_later(p, EVENT_DEADLINE, 1801);

	fold_ok(p, &ev);
}

static void is_unreachable(struct play *p)
{
	struct event ev = seconds_later(p, EVENT_AGENT_MILESTONE, 2);

	ev.reason = "no answer";
	fold_ok(p, &ev);
}

/* The operator does not learn that a short cut was tried. */
static void test_falls_back(void)
{
	static void (*const ways[])(struct play *) = {fails, fails_again_and_again, is_late,
						      doubt_gone, is_unreachable};
	static const enum phase phases[] = {PHASE_DEPLOY_IDENTIFY, PHASE_DEPLOY_CLAIM,
					    PHASE_DEPLOY_LOAD_STEPS};

	for (size_t i = 0; i < G_N_ELEMENTS(ways) * G_N_ELEMENTS(phases); i++) {
		struct play p = cleaned();

		g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
		play_taken(&p);
		play_until(&p, phases[i % G_N_ELEMENTS(phases)]);
		ways[i / G_N_ELEMENTS(phases)](&p);
		g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_OFF);
		g_assert_null(p.n->agent_token);
		g_assert_null(p.n->last_error);
		play_until(&p, PHASE_NONE);
		g_assert_cmpint(p.n->boot_epoch, ==, 2);
		assert_state(&p, STATE_ACTIVE);
		assert_at_rest(&p);
		play_done(&p);
	}
}

static void test_fails_late(void)
{
	struct play p = cleaned();

	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	play_taken(&p);
	play_until(&p, PHASE_DEPLOY_STEP_WAIT);
	fails(&p);
	assert_state(&p, STATE_DEPLOY_FAILED);
	/* Without boot data, and all the same there is something to take back. */
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_UP_WITHDRAW);
	play_until(&p, PHASE_CLEAN_UP_OFF);
	play_until(&p, PHASE_NONE);
	g_assert_null(p.n->agent_address);
	assert_at_rest(&p);
	play_done(&p);
}

/* ---- the end of waiting */

static void test_silence_ends_it(void)
{
	struct play p = cleaned();
	struct event ev = seconds_later(&p, EVENT_DEADLINE, 100);
	int64_t turn = (int64_t)ev.turn;

	/* Heard of late: the watch is renewed. */
	fold_ok(&p, &ev);
	g_assert_cmpint(play_phase(&p), ==, PHASE_IDLE_WAIT);
	ev = play_event(&p, EVENT_AGENT_ALIVE);
	g_assert_cmpint((int64_t)ev.turn, >, turn);
	ev.own_agent = true;
	fold_ok(&p, &ev);
	for (unsigned i = 0; i < 2; i++) {
		ev = seconds_later(&p, EVENT_DEADLINE, 149);
		fold_ok(&p, &ev);
		g_assert_cmpint(play_phase(&p), ==, PHASE_IDLE_WAIT);
	}
	ev = seconds_later(&p, EVENT_DEADLINE, 149);
	fold_ok(&p, &ev);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_UP_WITHDRAW);
	assert_state(&p, STATE_AVAILABLE);
	g_assert_null(p.n->agent_token);
	g_assert_null(json_object_get(p.n->driver_internal_info, "agent_url"));
	play_until(&p, PHASE_CLEAN_UP_OFF);
	play_until(&p, PHASE_NONE);
	g_assert_cmpstr(p.n->power_state, ==, "power off");
	g_assert_null(p.n->agent_address);
	g_assert_null(p.n->last_error);
	assert_at_rest(&p);
	play_done(&p);
}

static void test_no_limit(void)
{
	struct play p = cleaned();

	for (unsigned i = 0; i < 100; i++) {
		struct event ev = seconds_later(&p, EVENT_DEADLINE, 1000);

		ev.fast_track_s = FLOW_FOREVER;
		fold_ok(&p, &ev);
		g_assert_cmpint(play_phase(&p), ==, PHASE_IDLE_WAIT);
	}
	play_done(&p);
}

/* Whoever looks after the machine is not to find it switched off. */
static void test_maintenance(void)
{
	struct play p = cleaned();
	struct event ev = seconds_later(&p, EVENT_DEADLINE, 100);

	p.n->maintenance = true;
	fold_ok(&p, &ev);
	g_assert_cmpint(play_phase(&p), ==, PHASE_RELEASE_WITHDRAW);
	play_until(&p, PHASE_NONE);
	g_assert_cmpstr(p.n->power_state, ==, "power on");
	g_assert_null(p.n->agent_address);
	assert_at_rest(&p);
	play_done(&p);
}

static void test_power_requests(void)
{
	for (unsigned target = TARGET_POWER_ON; target <= TARGET_SOFT_REBOOT; target++) {
		struct play p = cleaned();
		struct event ev = play_event(&p, EVENT_POWER_REQUEST);

		ev.power_target = target;
		ev.limits = (struct flow_limits){0};
		fold_ok(&p, &ev);
		g_assert_null(p.n->agent_token);
		g_assert_null(p.n->agent_verifier);
		play_taken(&p);
		play_until(&p, PHASE_RELEASE_WITHDRAW);
		g_assert_null(p.n->target_power_state);
		g_assert_null(p.n->reservation);
		/* The boot host may be away; nobody waits for it. */
		ev = play_event(&p, EVENT_POWER_REQUEST);
		ev.power_target = TARGET_POWER_OFF;
		fold_ok(&p, &ev);
		play_until(&p, PHASE_NONE);
		g_assert_cmpstr(p.n->power_state, ==, "power off");
		g_assert_null(p.n->agent_address);
		assert_state(&p, STATE_AVAILABLE);
		assert_at_rest(&p);
		play_done(&p);
	}
}

static void test_failed_power_request(void)
{
	struct play p = cleaned();
	struct event ev = play_event(&p, EVENT_POWER_REQUEST);

	ev.power_target = TARGET_POWER_OFF;
	fold_ok(&p, &ev);
	fails(&p);
	g_assert_cmpstr(p.n->power_state, ==, "error");
	g_assert_nonnull(p.n->last_error);
	g_assert_cmpint(play_phase(&p), ==, PHASE_RELEASE_WITHDRAW);
	play_until(&p, PHASE_NONE);
	g_assert_null(p.n->agent_address);
	assert_at_rest(&p);
	play_done(&p);
}

/* ---- the agent */

static void test_agent_restarts(void)
{
	struct play p = cleaned();

	restart_agent(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_IDLE_WAIT);
	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	assert_fast(&p, PHASE_DEPLOY_IDENTIFY);
	play_taken(&p);
	restart_agent(&p);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ACTIVE);
	play_done(&p);
}

static void test_heartbeats(void)
{
	struct play p = play_new(STATE_MANAGEABLE);
	struct event ev;

	p.fast_track = true;
	p.n->automated_clean = 1;
	g_assert_true(play_verb(&p, STATE_EVENT_PROVIDE, NULL));
	play_taken(&p);
	play_until(&p, PHASE_CLEAN_PUBLISH);
	json_object_set_new(p.n->flow, "active", json_true());
	play_until(&p, PHASE_CLEAN_CONTACT);
	ev = play_event(&p, EVENT_AGENT_HEARTBEAT);
	ev.pin = "pin";
	ev.agent_url = "https://10.77.2.9:9999";
	fold_ok(&p, &ev);
	play_until(&p, PHASE_IDLE_WAIT);
	g_auto(flow) before = play_flow(&p);

	g_assert_true(before.active && before.called);
	g_assert_cmpstr(before.pin, ==, "pin");
	ev = seconds_later(&p, EVENT_AGENT_HEARTBEAT, 60);
	ev.agent_url = "https://10.77.2.9:9999";
	fold_ok(&p, &ev);
	g_auto(flow) after = play_flow(&p);

	g_assert_cmpint(after.contact_at.us, ==, p.now.us);
	play_done(&p);
}

/* What the agent did for an operation before is not taken for the step that was sent. */
static void test_older_commands(void)
{
	struct play p = cleaned();
	g_autoptr(json_t) list =
		json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:s}]", "id",
			  "11111111-2222-4333-8444-555555555555", "name", "execute_clean_step",
			  "status", "SUCCEEDED", "id", "33333333-2222-4333-8444-555555555555",
			  "name", "get_clean_steps", "status", "SUCCEEDED");

	g_assert_true(play_verb(&p, STATE_EVENT_MANAGE, NULL));
	g_assert_true(play_verb(&p, STATE_EVENT_PROVIDE, NULL));
	assert_fast(&p, PHASE_CLEAN_IDENTIFY);
	play_taken(&p);
	play_until(&p, PHASE_CLEAN_LOAD_STEPS);
	g_autoptr(json_t) steps = NULL;
	struct event ev = play_success(&p, &steps);

	ev.command = "33333333-2222-4333-8444-555555555555";
	fold_ok(&p, &ev);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_SEND);
	ev = seconds_later(&p, EVENT_SENDING, 1);
	fold_ok(&p, &ev);
	ev = seconds_later(&p, EVENT_AGENT_LIST, 1);
	ev.outcome = list;
	fold_ok(&p, &ev);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_SEND);
	play_done(&p);
}

static void test_not_kept(void)
{
	struct play p = play_new(STATE_MANAGEABLE);

	json_object_set_new(p.n->driver_info, "fast_track", json_true());
	p.n->automated_clean = 1;
	g_assert_true(play_verb(&p, STATE_EVENT_PROVIDE, NULL));
	play_taken(&p);
	play_until(&p, PHASE_CLEAN_KEEP);
	/* The boot host refuses: the cleaning ends as it does without. */
	fails(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_SYNC);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	g_assert_cmpstr(p.n->power_state, ==, "power off");
	g_assert_null(p.n->last_error);
	assert_at_rest(&p);
	play_done(&p);
}

#define CASE(name, fn) g_test_add_func("/flow fast track/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("cleaning ends with the agent up", test_stays);
	CASE("a deployment begins with the agent that runs", test_deploys);
	CASE("so does another cleaning, and manage and provide leave it alone", test_cleans_again);
	CASE("any doubt leads to a new boot", test_doubts);
	CASE("so does another mode of the server", test_changed_mode);
	CASE("an agent that does not do its part is booted anew", test_falls_back);
	CASE("from the first step on a failure is one", test_fails_late);
	CASE("a silent agent's machine is switched off, and nothing has failed",
	     test_silence_ends_it);
	CASE("without a limit the agent is waited for", test_no_limit);
	CASE("maintenance ends it and leaves the machine on", test_maintenance);
	CASE("power requests end the boot and give the address back", test_power_requests);
	CASE("so do those that fail", test_failed_power_request);
	CASE("an agent may start again in its boot", test_agent_restarts);
	CASE("an active agent's heartbeats keep it fresh", test_heartbeats);
	CASE("commands of an older operation are not mistaken", test_older_commands);
	CASE("boot data that stay make an agent not stay", test_not_kept);
	return g_test_run();
}
