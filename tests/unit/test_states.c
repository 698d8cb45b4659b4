#include <glib.h>
#include <string.h>

#include "states.h"

static void test_texts(void)
{
	g_assert_null(provision_state_text(STATE_NONE));
	g_assert_null(provision_state_text(STATE_COUNT));
	g_assert_cmpstr(provision_state_text(STATE_DEPLOY_WAIT), ==, "wait call-back");
	g_assert_cmpint(provision_state_parse("deploy wait"), ==, -1);
	for (unsigned s = STATE_NONE + 1; s < STATE_COUNT; s++)
		g_assert_cmpint(provision_state_parse(provision_state_text(s)), ==, (int)s);
}

/* A state with a reservation or a wait is left by itself: by success or failure. */
static void test_ways_out(void)
{
	for (unsigned s = STATE_NONE + 1; s < STATE_COUNT; s++) {
		enum provision_state to;
		bool out = false;

		for (unsigned e = 0; e < STATE_EVENT_COUNT; e++)
			out |= provision_state_next(s, e, &to);
		g_assert_true(out);
		if (provision_state_flags(s) & S_WORKING)
			g_assert_true(provision_state_next(s, STATE_EVENT_FAIL, &to));
		if (provision_state_flags(s) & S_STABLE)
			g_assert_cmpint(provision_state_target(s), ==, STATE_NONE);
		else
			g_assert_cmpint(provision_state_target(s), !=, STATE_NONE);
	}
}

static void test_reachable(void)
{
	bool seen[STATE_COUNT] = {[STATE_ENROLL] = true};
	bool more = true;

	while (more) {
		more = false;
		for (unsigned s = STATE_NONE + 1; s < STATE_COUNT; s++)
			for (unsigned e = 0; seen[s] && e < STATE_EVENT_COUNT; e++) {
				enum provision_state to;

				if (provision_state_next(s, e, &to) && !seen[to])
					seen[to] = more = true;
			}
	}
	for (unsigned s = STATE_NONE + 1; s < STATE_COUNT; s++)
		g_assert_true(seen[s]);
}

static void test_verbs(void)
{
	enum state_event event;
	bool known;

	g_assert_true(provision_verb_parse("active", 1, &event, &known));
	g_assert_cmpint(event, ==, STATE_EVENT_DEPLOY);
	g_assert_true(provision_verb_parse("undeploy", 73, &event, &known));
	g_assert_cmpint(event, ==, STATE_EVENT_DELETE);
	g_assert_false(provision_verb_parse("undeploy", 72, &event, &known));
	g_assert_true(known);
	g_assert_false(provision_verb_parse("done", 109, &event, &known));
	g_assert_false(known);
}

static void test_edges(void)
{
	enum provision_state to;

	g_assert_true(provision_state_next(STATE_DEPLOY_WAIT, STATE_EVENT_DELETE, &to));
	g_assert_cmpint(to, ==, STATE_DELETING);
	g_assert_true(provision_state_next(STATE_SERVICE_FAILED, STATE_EVENT_ABORT, &to));
	g_assert_cmpint(to, ==, STATE_ACTIVE);
	g_assert_false(provision_state_next(STATE_ENROLL, STATE_EVENT_DEPLOY, &to));
	g_assert_false(provision_state_next(STATE_DEPLOYING, STATE_EVENT_DELETE, &to));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/states/each state's text reads back as the state", test_texts);
	g_test_add_func("/states/no state is a dead end and working states can fail",
			test_ways_out);
	g_test_add_func("/states/every state can be reached from enroll", test_reachable);
	g_test_add_func("/states/verbs have aliases and microversions", test_verbs);
	g_test_add_func("/states/edges are those of the API", test_edges);
	return g_test_run();
}
