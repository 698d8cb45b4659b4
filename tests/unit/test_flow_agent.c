/* Agents: lost answers, restarts, silence. */
#include "flow_fixture.h"

static struct play sent_step(void)
{
	struct play p = at_phase(PHASE_DEPLOY_STEP_SEND);

	play_step(&p);
	return p;
}

static void test_lost_answer_found(void)
{
	struct play p = sent_step();
	struct event lost = play_event(&p, EVENT_AGENT_REPLY);

	lost.ok = false;
	lost.unclear = true;
	lost.reason = "connection reset";
	g_assert_true(play_fold(&p, &lost, NULL));
	struct flow f = play_flow(&p);

	g_assert_true(f.sending);
	flow_clear(&f);
	g_autoptr(json_t) list = json_pack("[{s:s,s:s,s:s},{s:s,s:s,s:s}]", "id", "a", "name",
					   "get_hardware_info", "status", "SUCCEEDED", "id", "b",
					   "name", "execute_deploy_step", "status", "RUNNING");
	struct event found = play_event(&p, EVENT_AGENT_LIST);

	found.outcome = list;
	g_assert_true(play_fold(&p, &found, NULL));
	f = play_flow(&p);
	g_assert_cmpint(f.phase, ==, PHASE_DEPLOY_STEP_WAIT);
	g_assert_cmpstr(f.command, ==, "b");
	flow_clear(&f);
	play_done(&p);
}

static void test_lost_answer_not_found(void)
{
	struct play p = sent_step();
	struct event lost = play_event(&p, EVENT_AGENT_REPLY);

	lost.ok = false;
	lost.unclear = true;
	g_assert_true(play_fold(&p, &lost, NULL));
	g_autoptr(json_t) list = json_array();
	struct event none = play_event(&p, EVENT_AGENT_LIST);

	none.outcome = list;
	g_assert_true(play_fold(&p, &none, NULL));
	struct flow f = play_flow(&p);

	g_assert_cmpint(f.phase, ==, PHASE_DEPLOY_STEP_SEND);
	g_assert_false(f.sending);
	flow_clear(&f);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ACTIVE);
	play_done(&p);
}

/* The list of an agent that was started anew holds nothing of the step. */
static void show_empty_list(struct play *p)
{
	g_autoptr(json_t) list = json_array();

	play_until(p, PHASE_DEPLOY_STEP_SEND);
	struct event none = play_event(p, EVENT_AGENT_LIST);

	none.outcome = list;
	g_assert_true(play_fold(p, &none, NULL));
}

static void test_agent_restarts(void)
{
	struct play p = at_phase(PHASE_DEPLOY_STEP_WAIT);

	restart_agent(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_IDENTIFY);
	show_empty_list(&p);
	play_until(&p, PHASE_DEPLOY_STEP_WAIT);
	restart_agent(&p);
	assert_state(&p, STATE_DEPLOY_FAILED);
	g_assert_nonnull(strstr(p.n->last_error, "restarted while it ran deploy step "
						 "deploy.write_image, again"));
	play_done(&p);
	p = at_phase(PHASE_DEPLOY_STEP_WAIT);
	restart_agent(&p);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ACTIVE);
	play_done(&p);
}

static void test_silent_but_alive(void)
{
	struct play p = at_phase(PHASE_DEPLOY_STEP_WAIT);

	for (unsigned i = 0; i < 3; i++) {
		struct event ev = seconds_later(&p, EVENT_DEADLINE, 1801);

		fold_ok(&p, &ev);
		g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_STEP_WAIT);
	}
	play_done(&p);
}

#define CASE(name, fn) g_test_add_func("/flow agent/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("a command whose answer was lost is found in the list", test_lost_answer_found);
	CASE("a command that never arrived is sent again", test_lost_answer_not_found);
	CASE("an image is written again after one restart of the agent", test_agent_restarts);
	CASE("a long step of a living agent has no deadline", test_silent_but_alive);
	return g_test_run();
}
