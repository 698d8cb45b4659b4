/* Steps that ask for more than to be carried out: a boot behind them, another list. */
#include "flow_fixture.h"

#define STEP(name) "{\"interface\": \"deploy\", \"step\": \"" name "\"}"

static struct play begin(enum state_event verb, const char *steps)
{
	struct play p = play_new(STATE_MANAGEABLE);
	struct event ev = play_event(&p, EVENT_VERB);
	g_autoptr(json_t) list = steps ? json_loads(steps, 0, NULL) : NULL;

	p.n->automated_clean = 1;
	ev.verb = verb;
	ev.steps = list;
	g_assert_true(play_fold(&p, &ev, NULL));
	return p;
}

/* What the agent lists: "flash" asks for a reboot; its managers have that version. */
static void list_steps(struct play *p, const char *version)
{
	g_autoptr(json_t) outcome = json_pack(
		"{s:{s:[{s:s,s:s,s:i},{s:s,s:s,s:i,s:b},{s:s,s:s,s:i}]},s:{s:s}}", "clean_steps",
		"m", "interface", "deploy", "step", "erase_devices", "priority", 30, "interface",
		"deploy", "step", "flash", "priority", 20, "reboot_requested", 1, "interface",
		"deploy", "step", "burn", "priority", 10, "hardware_manager_version", "m", version);
	struct event ev = play_event(p, EVENT_AGENT_REPLY);

	g_assert_cmpint(play_phase(p), ==, PHASE_CLEAN_LOAD_STEPS);
	p->now.us += 1000000;
	ev.now = p->now;
	ev.command = "00000000-2222-4333-8444-555555555555";
	ev.outcome = outcome;
	g_assert_true(play_fold(p, &ev, NULL));
}

static void to_steps(struct play *p, const char *version)
{
	play_until(p, PHASE_CLEAN_LOAD_STEPS);
	list_steps(p, version);
}

/* The step that is sent next has that name; it is carried out. */
static void carry_out(struct play *p, const char *name)
{
	play_until(p, PHASE_CLEAN_STEP_WAIT);
	g_assert_cmpstr(json_peek_string(p->n->clean_step, "step"), ==, name);
	play_step(p);
}

static void assert_asked_for(const struct play *p, bool wanted)
{
	g_autofree char *why = node_why(p->n, p->now);

	g_assert_cmpint(strstr(why, "the step before has asked for a reboot") != NULL, ==, wanted);
}

static void test_reboot(void)
{
	struct play p = begin(STATE_EVENT_PROVIDE, NULL);

	to_steps(&p, "1");
	carry_out(&p, "erase_devices");
	g_assert_cmpint(p.n->boot_epoch, ==, 1);
	carry_out(&p, "flash");
	/* From here nothing of the boot counts any more. */
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_OFF);
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEANING);
	g_assert_null(p.n->agent_token);
	g_assert_null(p.n->agent_verifier);
	g_assert_null(json_object_get(p.n->driver_internal_info, "agent_url"));
	assert_asked_for(&p, true);
	play_until(&p, PHASE_CLEAN_CLEAR);
	play_until(&p, PHASE_CLEAN_CONTACT);
	g_assert_cmpint(p.n->boot_epoch, ==, 2);
	g_assert_nonnull(p.n->agent_token);
	to_steps(&p, "1");
	carry_out(&p, "burn");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_SYNC);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	assert_at_rest(&p);
	play_done(&p);
}

static void list_deploy_steps(struct play *p)
{
	g_autoptr(json_t) outcome = json_pack(
		"{s:{s:[{s:s,s:s,s:i},{s:s,s:s,s:i,s:b}]},s:{}}", "deploy_steps", "m", "interface",
		"deploy", "step", "write_image", "priority", 0, "interface", "deploy", "step",
		"flash", "priority", 90, "reboot_requested", 1, "hardware_manager_version");

	play_until(p, PHASE_DEPLOY_LOAD_STEPS);
	struct event ev = play_event(p, EVENT_AGENT_REPLY);

	ev.outcome = outcome;
	g_assert_true(play_fold(p, &ev, NULL));
}

static void test_reboot_in_a_deployment(void)
{
	struct play p = play_new(STATE_AVAILABLE);

	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	play_taken(&p);
	list_deploy_steps(&p);
	play_until(&p, PHASE_DEPLOY_STEP_WAIT);
	g_assert_cmpstr(json_peek_string(p.n->deploy_step, "step"), ==, "flash");
	play_step(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_OFF);
	assert_asked_for(&p, true);
	g_assert_null(p.n->agent_token);
	list_deploy_steps(&p);
	g_assert_cmpint(p.n->boot_epoch, ==, 2);
	play_until(&p, PHASE_DEPLOY_STEP_WAIT);
	g_assert_cmpstr(json_peek_string(p.n->deploy_step, "step"), ==, "write_image");
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ACTIVE);
	play_done(&p);
}

static void test_reboot_after_the_last(void)
{
	struct play p = begin(STATE_EVENT_CLEAN, "[" STEP("flash") "]");

	p.fast_track = true;
	to_steps(&p, "1");
	carry_out(&p, "flash");
	to_steps(&p, "1");
	/* The agent that stays is the new one. */
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_KEEP);
	play_until(&p, PHASE_IDLE_WAIT);
	g_assert_cmpint(p.n->boot_epoch, ==, 2);
	g_assert_cmpint(p.n->provision_state, ==, STATE_MANAGEABLE);
	play_done(&p);
}

static void test_reboot_of_a_kept_agent(void)
{
	struct play p = begin(STATE_EVENT_CLEAN, "[" STEP("burn") "]");
	struct event ev = play_event(&p, EVENT_VERB);
	g_autoptr(json_t) list = json_loads("[" STEP("flash") "]", 0, NULL);

	p.fast_track = true;
	to_steps(&p, "1");
	carry_out(&p, "burn");
	play_until(&p, PHASE_IDLE_WAIT);
	g_free(p.n->power_state);
	p.n->power_state = g_strdup("power on");
	ev = play_event(&p, EVENT_VERB);
	ev.verb = STATE_EVENT_CLEAN;
	ev.steps = list;
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_IDENTIFY);
	to_steps(&p, "1");
	carry_out(&p, "flash");
	/* Its address is taken back, as nothing says that the machine gets it again. */
	play_until(&p, PHASE_CLEAN_CLEAR);
	play_step(&p);
	struct flow f = play_flow(&p);

	g_assert_cmpint(f.phase, ==, PHASE_CLEAN_PUBLISH);
	g_assert_false(f.kept);
	flow_clear(&f);
	play_done(&p);
}

static void test_abort_goes_before_the_reboot(void)
{
	struct play p = begin(STATE_EVENT_CLEAN, "[" STEP("flash") "]");

	to_steps(&p, "1");
	play_until(&p, PHASE_CLEAN_STEP_WAIT);
	g_assert_true(play_verb(&p, STATE_EVENT_ABORT, NULL));
	play_step(&p);
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEAN_FAILED);
	play_until(&p, PHASE_NONE);
	g_assert_cmpint(p.n->boot_epoch, ==, 1);
	play_done(&p);
}

/* A boot that brings another agent. */
static void test_versions_change(void)
{
	struct play p = begin(STATE_EVENT_PROVIDE, NULL);

	to_steps(&p, "1");
	carry_out(&p, "erase_devices");
	carry_out(&p, "flash");
	to_steps(&p, "2");
	carry_out(&p, "erase_devices");
	carry_out(&p, "flash");
	to_steps(&p, "2");
	carry_out(&p, "burn");
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	play_done(&p);

	p = begin(STATE_EVENT_CLEAN, "[" STEP("flash") "," STEP("burn") "]");
	to_steps(&p, "1");
	carry_out(&p, "flash");
	to_steps(&p, "2");
	g_assert_cmpstr(json_peek_string(json_object_get(p.n->driver_internal_info,
							 "hardware_manager_version"),
					 "m"),
			==, "2");
	carry_out(&p, "burn");
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_MANAGEABLE);
	play_done(&p);
}

static void test_versions_change_without_end(void)
{
	struct play p = begin(STATE_EVENT_PROVIDE, NULL);
	char version[2] = "1";

	for (to_steps(&p, version); play_phase(&p) == PHASE_CLEAN_STEP_SEND;
	     to_steps(&p, version)) {
		g_assert_cmpint(version[0]++, <, '9');
		carry_out(&p, "erase_devices");
		carry_out(&p, "flash");
	}
	g_assert_cmpstr(p.n->last_error, ==,
			"The agent's hardware managers changed again and again");
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEAN_FAILED);
	g_assert_cmpstr(p.n->fault, ==, "clean failure");
	play_done(&p);
}

static void mismatch(struct play *p)
{
	g_autoptr(json_t) outcome = NULL;

	play_until(p, PHASE_CLEAN_STEP_WAIT);
	struct event ev = play_success(p, &outcome);

	ev.status = COMMAND_VERSION_MISMATCH;
	g_assert_true(play_fold(p, &ev, NULL));
}

static void test_versions_refused(void)
{
	struct play p = begin(STATE_EVENT_PROVIDE, NULL);

	to_steps(&p, "1");
	carry_out(&p, "erase_devices");
	mismatch(&p);
	list_steps(&p, "2");
	carry_out(&p, "erase_devices");
	play_done(&p);

	p = begin(STATE_EVENT_CLEAN, "[" STEP("burn") "," STEP("erase_devices") "]");
	to_steps(&p, "1");
	carry_out(&p, "burn");
	/* An agent that refuses what it has just said. */
	for (unsigned i = 0; i < 3; i++) {
		mismatch(&p);
		list_steps(&p, "2");
	}
	mismatch(&p);
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEAN_FAILED);
	play_done(&p);
}

/* ---- steps of the conductor's own */

#define OWN(name) "{\"interface\": \"power\", \"step\": \"" name "\"}"
#define WAIT(secs) \
	"{\"interface\": \"power\", \"step\": \"wait\", \"args\": {\"seconds\": " secs "}}"

static void pass_deadline(struct play *p)
{
	struct flow f = play_flow(p);

	g_assert_cmpint(f.until.us, ==, p->now.us + 5000000);
	p->now = f.until;
	flow_clear(&f);
	struct event ev = play_event(p, EVENT_DEADLINE);

	g_assert_true(play_fold(p, &ev, NULL));
}

static void unhold(struct play *p)
{
	g_assert_cmpint(p->n->provision_state, ==, STATE_CLEAN_HOLD);
	g_assert_null(p->n->reservation);
	g_assert_true(play_verb(p, STATE_EVENT_UNHOLD, NULL));
	play_taken(p);
}

static void test_hold(void)
{
	struct play p =
		begin(STATE_EVENT_CLEAN, "[" OWN("hold") "," STEP("burn") "," OWN("hold") "]");

	to_steps(&p, "1");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_HOLD);
	g_assert_cmpint(p.n->target_provision_state, ==, STATE_MANAGEABLE);
	g_assert_cmpstr(json_peek_string(p.n->clean_step, "step"), ==, "hold");
	struct flow f = play_flow(&p);

	g_assert_false(flow_has_deadline(&f));
	flow_clear(&f);
	/* Whatever the agent does. */
	struct event gone = play_event(&p, EVENT_AGENT_GONE);

	g_assert_true(play_fold(&p, &gone, NULL));
	restart_agent(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_HOLD);
	g_autofree char *why = node_why(p.n, p.now);

	g_assert_nonnull(strstr(
		why,
		"waits to be let go on by the verb unhold (step power.hold); there is no deadline"));
	unhold(&p);
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEAN_WAIT);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_RESUME);
	/* Who is there is asked anew. */
	play_until(&p, PHASE_CLEAN_LOAD_STEPS);
	list_steps(&p, "1");
	carry_out(&p, "burn");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_HOLD);
	unhold(&p);
	to_steps(&p, "1");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_SYNC);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_MANAGEABLE);
	assert_at_rest(&p);
	play_done(&p);
}

static void test_hold_is_aborted(void)
{
	struct play p = begin(STATE_EVENT_CLEAN, "[" OWN("hold") "]");

	g_assert_false(play_verb(&p, STATE_EVENT_UNHOLD, NULL));
	to_steps(&p, "1");
	struct event ev = play_event(&p, EVENT_POWER_REQUEST);

	ev.power_target = TARGET_POWER_OFF;
	g_assert_false(play_fold(&p, &ev, NULL));
	g_assert_true(play_verb(&p, STATE_EVENT_ABORT, NULL));
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEAN_FAILED);
	g_assert_false(p.n->maintenance);
	play_until(&p, PHASE_NONE);
	assert_at_rest(&p);
	play_done(&p);
}

static void test_wait(void)
{
	struct play p =
		begin(STATE_EVENT_CLEAN, "[" WAIT("5") "," OWN("wait") "," STEP("burn") "]");

	to_steps(&p, "1");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_PAUSE);
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEAN_WAIT);
	restart_agent(&p);
	p.now.us -= 1000000;
	pass_deadline(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_RESUME);
	to_steps(&p, "1");
	/* Without seconds: until the agent is heard again. */
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_RESUME);
	to_steps(&p, "1");
	carry_out(&p, "burn");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_SYNC);
	play_done(&p);
}

/* Its agent comes and goes: the step lasts as long as it says, and no longer. */
static void test_wait_of_fickle_agent(void)
{
	struct play p = begin(STATE_EVENT_CLEAN, "[" WAIT("3600") "," STEP("burn") "]");

	to_steps(&p, "1");
	struct flow f = play_flow(&p);
	struct wall until = f.until;

	flow_clear(&f);
	for (unsigned i = 0; i < 3; i++) {
		struct event ev = seconds_later(&p, EVENT_AGENT_GONE, 600);

		ev.silent_s = 15;
		fold_ok(&p, &ev);
		ev = seconds_later(&p, EVENT_AGENT_ALIVE, 600);
		ev.own_agent = true;
		fold_ok(&p, &ev);
		f = play_flow(&p);
		g_assert_false(f.gone);
		g_assert_cmpint(f.until.us, ==, until.us);
		flow_clear(&f);
	}
	struct event ev = play_event(&p, EVENT_DEADLINE);

	fold_ok(&p, &ev);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_RESUME);
	play_done(&p);
}

static void test_power_steps(void)
{
	struct play p = begin(
		STATE_EVENT_CLEAN,
		"[" OWN("power_on") "," OWN("reboot") "," STEP("burn") "," OWN("power_off") "," OWN(
			"hold") "," STEP("erase_devices") "," OWN("power_off") "]");

	/* The machine is on; the boot is the step. */
	to_steps(&p, "1");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_OFF);
	assert_asked_for(&p, false);
	g_assert_null(p.n->agent_token);
	to_steps(&p, "1");
	g_assert_cmpint(p.n->boot_epoch, ==, 2);
	carry_out(&p, "burn");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_OFF);
	g_assert_null(p.n->agent_token);
	play_step(&p);
	/* Nobody is there to be heard again: the next step boots. */
	unhold(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_OFF);
	assert_asked_for(&p, false);
	to_steps(&p, "1");
	g_assert_cmpint(p.n->boot_epoch, ==, 3);
	carry_out(&p, "erase_devices");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_OFF);
	play_step(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_CONFIRM_OFF);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_MANAGEABLE);
	assert_at_rest(&p);
	play_done(&p);
}

static void test_agents_own_names(void)
{
	struct play p = begin(STATE_EVENT_PROVIDE, NULL);
	g_autoptr(json_t) outcome =
		json_pack("{s:{s:[{s:s,s:s,s:i},{s:s,s:s,s:i}]},s:{}}", "clean_steps", "m",
			  "interface", "power", "step", "hold", "priority", 30, "interface",
			  "deploy", "step", "burn", "priority", 10, "hardware_manager_version");

	play_until(&p, PHASE_CLEAN_LOAD_STEPS);
	struct event ev = play_event(&p, EVENT_AGENT_REPLY);

	ev.outcome = outcome;
	g_assert_true(play_fold(&p, &ev, NULL));
	carry_out(&p, "burn");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_SYNC);
	play_done(&p);
}

/* ---- without a ramdisk */

static bool begin_bare(struct play *p, const char *steps, GError **error)
{
	struct event ev = play_event(p, EVENT_VERB);
	g_autoptr(json_t) list = json_loads(steps, 0, NULL);

	g_assert_nonnull(list);
	ev.verb = STATE_EVENT_CLEAN;
	ev.steps = list;
	ev.disable_ramdisk = true;
	ev.limits = (struct flow_limits){0};
	/* Nobody could find an agent of this node. */
	ev.agents.active = true;
	return play_fold(p, &ev, error);
}

static void test_bare(void)
{
	struct play p = play_new(STATE_MANAGEABLE);

	g_assert_true(begin_bare(
		&p, "[" OWN("reboot") "," OWN("hold") "," WAIT("5") "," OWN("power_off") "]",
		NULL));
	play_taken(&p);
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEANING);
	g_assert_cmpstr(p.n->reservation, ==, PLAY_HOST);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_OFF);
	play_step(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_ON);
	play_step(&p);
	g_assert_cmpstr(p.n->power_state, ==, "power on");
	unhold(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_PAUSE);
	pass_deadline(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_OFF);
	play_step(&p);
	assert_state(&p, STATE_MANAGEABLE);
	assert_at_rest(&p);
	g_assert_cmpint(p.n->boot_epoch, ==, 0);
	g_assert_cmpuint(json_object_size(p.n->clean_step), ==, 0);
	play_done(&p);
}

static void test_bare_leaves_the_power(void)
{
	struct play p = play_new(STATE_MANAGEABLE);

	g_assert_true(begin_bare(&p, "[" OWN("power_on") "]", NULL));
	play_taken(&p);
	play_step(&p);
	assert_state(&p, STATE_MANAGEABLE);
	g_assert_cmpstr(p.n->power_state, ==, "power on");
	play_done(&p);

	p = play_new(STATE_MANAGEABLE);
	g_assert_true(begin_bare(&p, "[" OWN("power_on") "]", NULL));
	play_taken(&p);
	struct event ev = failure(&p, false);

	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEAN_FAILED);
	g_assert_cmpstr(
		p.n->last_error, ==,
		"Failed to switch the machine on, as the clean step says: the cable is out");
	g_assert_true(p.n->maintenance);
	assert_at_rest(&p);
	play_done(&p);
}

static void test_bare_ends_a_kept_agent(void)
{
	struct play p = begin(STATE_EVENT_CLEAN, "[" STEP("burn") "]");

	p.fast_track = true;
	to_steps(&p, "1");
	carry_out(&p, "burn");
	play_until(&p, PHASE_IDLE_WAIT);
	g_assert_true(begin_bare(&p, "[" OWN("hold") "]", NULL));
	g_assert_null(p.n->agent_token);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_CLEAR);
	play_step(&p);
	g_assert_null(p.n->agent_address);
	unhold(&p);
	assert_state(&p, STATE_MANAGEABLE);
	assert_at_rest(&p);
	play_done(&p);
}

static void test_bare_refusals(void)
{
	static const char *const bad[][2] = {
		{"[" OWN("reboot") "," STEP("burn") "]", "deploy.burn needs the ramdisk"},
		{"[" OWN("wait") "]", "'wait' needs args.seconds"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct play p = play_new(STATE_MANAGEABLE);
		g_autoptr(GError) error = NULL;

		g_assert_false(begin_bare(&p, bad[i][0], &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_nonnull(strstr(error->message, bad[i][1]));
		assert_state(&p, STATE_MANAGEABLE);
		play_done(&p);
	}
}

#define CASE(name, fn) g_test_add_func("/flow steps/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("a step that asks for a reboot is followed by a new boot", test_reboot);
	CASE("a deployment's step is, too", test_reboot_in_a_deployment);
	CASE("so is the last one, and its agent may stay", test_reboot_after_the_last);
	CASE("an agent that was kept makes room for the new boot", test_reboot_of_a_kept_agent);
	CASE("an abort that waits for the step goes before its reboot",
	     test_abort_goes_before_the_reboot);
	CASE("after a change of the agent its list begins anew, the operator's goes on",
	     test_versions_change);
	CASE("an agent that changes again and again fails the cleaning",
	     test_versions_change_without_end);
	CASE("a step that is refused for its versions was not carried out", test_versions_refused);
	CASE("held cleaning stays so until it is let go on", test_hold);
	CASE("held cleaning can be aborted, and its power is not to be switched",
	     test_hold_is_aborted);
	CASE("a wait ends in time, or with the next contact", test_wait);
	CASE("a wait is not longer because its agent comes and goes", test_wait_of_fickle_agent);
	CASE("power steps end a boot or begin one", test_power_steps);
	CASE("an agent's steps of such names are never run", test_agents_own_names);
	CASE("without a ramdisk the conductor's steps are all there is", test_bare);
	CASE("without a ramdisk the power stays as the steps leave it", test_bare_leaves_the_power);
	CASE("without a ramdisk an agent that was kept is not needed any more",
	     test_bare_ends_a_kept_agent);
	CASE("without a ramdisk steps of agents are refused at once", test_bare_refusals);
	return g_test_run();
}
