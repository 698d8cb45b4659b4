/* Power requests, and machines that do not obey. */
#include "flow_fixture.h"

static void test_stuck_power(void)
{
	struct play p = at_phase(PHASE_DEPLOY_CONFIRM_OFF);
	struct event ev = play_event(&p, EVENT_BMC);
	struct flow f = play_flow(&p);

	g_assert_cmpint(f.asked_at.us, >, 0);
	flow_clear(&f);
	ev.power = POWER_ON;
	ev.now.us += 5 * 1000000;
	g_assert_true(play_fold(&p, &ev, NULL));
	f = play_flow(&p);
	g_assert_cmpint(f.asked_at.us, >, 0);
	flow_clear(&f);
	ev.now.us += 20 * 1000000;
	g_assert_true(play_fold(&p, &ev, NULL));
	f = play_flow(&p);
	g_assert_cmpint(f.asked_at.us, ==, 0);
	flow_clear(&f);
	play_done(&p);
}

static void test_power_requests(void)
{
	for (unsigned target = TARGET_POWER_ON; target <= TARGET_SOFT_REBOOT; target++) {
		struct play p = play_new(STATE_ACTIVE);
		struct event ev = play_event(&p, EVENT_POWER_REQUEST);

		ev.power_target = target;
		g_assert_true(play_fold(&p, &ev, NULL));
		g_assert_nonnull(p.n->target_power_state);
		g_assert_cmpstr(p.n->reservation, ==, PLAY_HOST);
		assert_state(&p, STATE_ACTIVE);
		g_autofree char *wanted = g_strdup(p.n->target_power_state);

		play_until(&p, PHASE_NONE);
		g_assert_cmpstr(p.n->power_state, ==, wanted);
		g_assert_null(p.n->target_power_state);
		assert_at_rest(&p);
		play_done(&p);
	}
}

static void test_power_fails(void)
{
	struct play p = play_new(STATE_ACTIVE);
	struct event ev = play_event(&p, EVENT_POWER_REQUEST);

	ev.power_target = TARGET_POWER_OFF;
	g_assert_true(play_fold(&p, &ev, NULL));
	ev = failure(&p, false);
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpstr(p.n->power_state, ==, "error");
	g_assert_null(p.n->target_power_state);
	g_assert_nonnull(strstr(p.n->last_error, "Failed to change power state to 'power off'"));
	assert_at_rest(&p);
	play_done(&p);
}

#define CASE(name, fn) g_test_add_func("/flow power/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("a machine that does not go off is switched off", test_stuck_power);
	CASE("power requests reach their target", test_power_requests);
	CASE("a failed power request says so", test_power_fails);
	return g_test_run();
}
