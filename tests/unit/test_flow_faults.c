/* Faults that the simulation (tests/sim) had found: each once, at its smallest. */
#include "flow_fixture.h"

static struct play deploying_until(enum phase phase)
{
	struct play p = play_new(STATE_AVAILABLE);

	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	play_taken(&p);
	play_until(&p, phase);
	return p;
}

static bool is_gone(const struct play *p)
{
	g_auto(flow) f = play_flow(p);

	return f.gone;
}

/* After the withdrawal comes the power off; the path stays known, and a later phase tries on. */
static void test_refused_withdrawal(void)
{
	struct play p = deploying_until(PHASE_DEPLOY_CONTACT);
	struct event late = seconds_later(&p, EVENT_DEADLINE, 1900);

	fold_ok(&p, &late);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_UP_WITHDRAW);
	struct event refused = seconds_later(&p, EVENT_BOOT, 1);

	refused.ok = refused.retry = false;
	refused.reason = "the boot host refuses this";
	fold_ok(&p, &refused);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_UP_OFF);
	play_until(&p, PHASE_CLEAN_UP_WITHDRAW_LATE);
	g_assert_true(flow_has_boot_data(p.n));
	for (unsigned i = 0; i < 100; i++) {
		refused.turn = seconds_later(&p, EVENT_BOOT, 30).turn;
		refused.now = p.now;
		fold_ok(&p, &refused);
	}
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_UP_WITHDRAW_LATE);
	play_until(&p, PHASE_NONE);
	g_assert_false(flow_has_boot_data(p.n));
	g_assert_null(p.n->agent_address);
	play_done(&p);
}

/* The usual case does without the late phase. */
static void test_withdrawn_once(void)
{
	struct play p = deploying_until(PHASE_DEPLOY_CONTACT);
	struct event late = seconds_later(&p, EVENT_DEADLINE, 1900);

	fold_ok(&p, &late);
	play_until(&p, PHASE_CLEAN_UP_OFF);
	play_step(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_NONE);
	play_done(&p);
}

/* A dialer that was started anew never had the agent, so it does not say that it lost it. */
static void test_never_heard_again(void)
{
	struct play p = deploying_until(PHASE_DEPLOY_STEP_WAIT);
	struct event milestone = seconds_later(&p, EVENT_AGENT_MILESTONE, 20);

	milestone.reason = "no answer";
	milestone.milestone = MILESTONE_POWER;
	fold_ok(&p, &milestone);
	g_assert_true(is_gone(&p));
	struct event late = seconds_later(&p, EVENT_DEADLINE, 1900);

	fold_ok(&p, &late);
	g_assert_cmpint(p.n->provision_state, ==, STATE_DEPLOY_FAILED);
	g_assert_nonnull(strstr(p.n->last_error, "no answer"));
	play_done(&p);
}

static void test_heard_again(void)
{
	struct play p = deploying_until(PHASE_DEPLOY_STEP_WAIT);
	struct event milestone = seconds_later(&p, EVENT_AGENT_MILESTONE, 20);
	struct event alive;

	milestone.reason = "no answer";
	fold_ok(&p, &milestone);
	alive = seconds_later(&p, EVENT_AGENT_ALIVE, 20);
	alive.own_agent = true;
	alive.started_ms = 1000;
	fold_ok(&p, &alive);
	g_assert_false(is_gone(&p));
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_STEP_WAIT);
	play_done(&p);
}

/* The answer to the step comes, and nothing after it: the dialer has said "gone" and does not repeat it. */
static void test_answer_of_the_gone(void)
{
	struct play p = deploying_until(PHASE_DEPLOY_STEP_SEND);
	struct event sending = seconds_later(&p, EVENT_SENDING, 1), gone, reply, late;

	fold_ok(&p, &sending);
	gone = seconds_later(&p, EVENT_AGENT_GONE, 11);
	gone.reason = "no answer";
	gone.silent_s = 11;
	fold_ok(&p, &gone);
	g_assert_true(is_gone(&p));
	reply = seconds_later(&p, EVENT_AGENT_REPLY, 5);
	reply.command = "11111111-2222-4333-8444-555555555555";
	reply.status = COMMAND_RUNNING;
	fold_ok(&p, &reply);
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_STEP_WAIT);
	g_assert_true(is_gone(&p));
	late = seconds_later(&p, EVENT_DEADLINE, 1900);
	fold_ok(&p, &late);
	g_assert_cmpint(p.n->provision_state, ==, STATE_DEPLOY_FAILED);
	play_done(&p);
}

/* The new agent had been sent the step when it was noticed that it is a new one: it is asked for its list
 * before the step goes out again. */
static void test_late_restart(void)
{
	struct play p = deploying_until(PHASE_DEPLOY_STEP_SEND);
	struct event sending = seconds_later(&p, EVENT_SENDING, 1), alive, list;
	g_autoptr(json_t) commands =
		json_pack("[{s:s, s:s, s:s}]", "id", "22222222-2222-4333-8444-555555555555", "name",
			  "execute_deploy_step", "status", "RUNNING");

	fold_ok(&p, &sending);
	alive = seconds_later(&p, EVENT_AGENT_ALIVE, 1);
	alive.restarted = alive.own_agent = true;
	alive.started_ms = 2000;
	fold_ok(&p, &alive);
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_IDENTIFY);
	play_until(&p, PHASE_DEPLOY_STEP_SEND);
	g_auto(flow) f = play_flow(&p);

	g_assert_true(f.sending);
	list = seconds_later(&p, EVENT_AGENT_LIST, 1);
	list.outcome = commands;
	fold_ok(&p, &list);
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_STEP_WAIT);
	g_auto(flow) after = play_flow(&p);

	g_assert_cmpstr(after.command, ==, "22222222-2222-4333-8444-555555555555");
	play_done(&p);
}

/* The answer to the step was lost, and so was the agent's memory: its list does not hold the command that had
 * been answered before, so that nobody knows what became of the step. */
static struct play lost_with_memory(const char *step, const json_t *list)
{
	struct play p = play_new(STATE_MANAGEABLE);
	g_autoptr(json_t) wanted = json_pack("[{s:s, s:s}]", "interface", "deploy", "step", step);
	g_autoptr(json_t) offered = play_clean_steps();
	struct event ev = play_event(&p, EVENT_VERB);

	ev.verb = STATE_EVENT_CLEAN;
	ev.steps = wanted;
	ev.limits = (struct flow_limits){0};
	fold_ok(&p, &ev);
	play_taken(&p);
	play_until(&p, PHASE_CLEAN_LOAD_STEPS);
	ev = seconds_later(&p, EVENT_AGENT_REPLY, 1);
	ev.command = "33333333-2222-4333-8444-555555555555";
	ev.outcome = offered;
	fold_ok(&p, &ev);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_SEND);
	ev = seconds_later(&p, EVENT_SENDING, 1);
	fold_ok(&p, &ev);
	ev = seconds_later(&p, EVENT_AGENT_REPLY, 60);
	ev.ok = false;
	ev.unclear = true;
	fold_ok(&p, &ev);
	ev = seconds_later(&p, EVENT_AGENT_LIST, 60);
	ev.outcome = list;
	fold_ok(&p, &ev);
	return p;
}

static void test_forgotten(void)
{
	g_autoptr(json_t) empty = json_array();
	g_autoptr(json_t) known =
		json_pack("[{s:s, s:s, s:s}]", "id", "33333333-2222-4333-8444-555555555555", "name",
			  "get_clean_steps", "status", "SUCCEEDED");
	struct play p = lost_with_memory("burn", empty);

	g_assert_cmpint(p.n->provision_state, ==, STATE_CLEAN_FAILED);
	g_assert_cmpstr(p.n->last_error, ==,
			"The agent restarted while it ran clean step deploy.burn");
	play_done(&p);
	p = lost_with_memory("erase_devices_metadata", empty);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_IDENTIFY);
	play_done(&p);
	p = lost_with_memory("burn", known);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_STEP_SEND);
	play_done(&p);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(
		"/flow faults/boot data that a boot host refuses to take back are not forgotten",
		test_refused_withdrawal);
	g_test_add_func("/flow faults/boot data are taken back once where that works",
			test_withdrawn_once);
	g_test_add_func("/flow faults/a step of an agent that a new dialer never reaches ends",
			test_never_heard_again);
	g_test_add_func("/flow faults/an agent that a new dialer reaches later goes on",
			test_heard_again);
	g_test_add_func("/flow faults/an answer does not hide that the agent is gone",
			test_answer_of_the_gone);
	g_test_add_func(
		"/flow faults/a step is not sent twice to an agent whose restart is seen late",
		test_late_restart);
	g_test_add_func(
		"/flow faults/a step is not sent again when the agent that may have run it forgot it",
		test_forgotten);
	return g_test_run();
}
