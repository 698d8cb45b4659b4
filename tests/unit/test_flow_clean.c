/* Cleaning. */
#include "flow_fixture.h"

static void assert_cleaning(const struct play *p, enum provision_state s,
			    enum provision_state target)
{
	g_assert_cmpstr(provision_state_text((unsigned)p->n->provision_state), ==,
			provision_state_text(s));
	g_assert_cmpint(p->n->target_provision_state, ==, (int)target);
}

static void assert_clean_failed(const struct play *p)
{
	assert_cleaning(p, STATE_CLEAN_FAILED, STATE_AVAILABLE);
	g_assert_true(p->n->maintenance);
	g_assert_cmpstr(p->n->fault, ==, "clean failure");
	g_assert_cmpstr(p->n->maintenance_reason, ==, p->n->last_error);
}

static void test_automated_cleaning(void)
{
	struct play p = at_phase(PHASE_CLEAN_STEP_WAIT);

	assert_cleaning(&p, STATE_CLEAN_WAIT, STATE_AVAILABLE);
	g_assert_null(p.n->reservation);
	g_assert_cmpstr(json_peek_string(p.n->clean_step, "step"), ==, "erase_devices_metadata");
	g_assert_true(json_is_true(json_object_get(p.n->clean_step, "abortable")));
	g_assert_cmpuint(json_object_size(p.n->deploy_step), ==, 0);
	/* The other step has no priority. */
	play_step(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_SYNC);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	assert_at_rest(&p);
	g_assert_cmpuint(json_object_size(p.n->clean_step), ==, 0);
	g_assert_null(json_object_get(p.n->driver_internal_info, "clean_steps"));
	g_assert_cmpstr(p.n->power_state, ==, "power off");
	g_assert_false(p.n->maintenance);
	play_done(&p);
}

static void test_undeploy_cleans(void)
{
	struct play p = play_new(STATE_ACTIVE);

	p.n->automated_clean = 1;
	p.n->instance_uuid = uuid_new();
	g_assert_true(play_verb(&p, STATE_EVENT_DELETE, NULL));
	play_until(&p, PHASE_CLEAN_OFF);
	assert_cleaning(&p, STATE_CLEANING, STATE_AVAILABLE);
	g_assert_cmpstr(p.n->reservation, ==, PLAY_HOST);
	/* Nothing of the instance is left by then, not even for the agent. */
	g_assert_false(uuid_is_set(&p.n->instance_uuid));
	g_assert_cmpuint(json_object_size(p.n->instance_info), ==, 0);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	play_done(&p);
}

static void test_who_cleans(void)
{
	for (int own = -1; own <= 1; own++)
		for (int server = 0; server <= 1; server++) {
			struct play p = play_new(STATE_MANAGEABLE);
			struct event ev = play_event(&p, EVENT_VERB);

			p.n->automated_clean = own;
			ev.verb = STATE_EVENT_PROVIDE;
			ev.automated_clean = server;
			g_assert_true(play_fold(&p, &ev, NULL));
			bool cleans = own < 0 ? server : own;

			g_assert_cmpint(p.n->provision_state, ==,
					cleans ? STATE_CLEANING : STATE_AVAILABLE);
			play_done(&p);
		}
}

static struct play manual(const char *steps)
{
	struct play p = play_new(STATE_MANAGEABLE);
	struct event ev = play_event(&p, EVENT_VERB);
	g_autoptr(json_t) list = json_loads(steps, 0, NULL);

	g_assert_nonnull(list);
	ev.verb = STATE_EVENT_CLEAN;
	ev.steps = list;
	g_assert_true(play_fold(&p, &ev, NULL));
	return p;
}

#define STEP(name) "{\"interface\": \"deploy\", \"step\": \"" name "\"}"

static void test_manual_cleaning(void)
{
	struct play p = manual("[" STEP("burn") "," STEP("erase_devices_metadata") "]");

	assert_cleaning(&p, STATE_CLEANING, STATE_MANAGEABLE);
	play_until(&p, PHASE_CLEAN_STEP_WAIT);
	assert_cleaning(&p, STATE_CLEAN_WAIT, STATE_MANAGEABLE);
	g_assert_cmpstr(json_peek_string(p.n->clean_step, "step"), ==, "burn");
	play_step(&p);
	play_until(&p, PHASE_CLEAN_STEP_WAIT);
	g_assert_cmpstr(json_peek_string(p.n->clean_step, "step"), ==, "erase_devices_metadata");
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_MANAGEABLE);
	g_assert_null(json_object_get(p.n->driver_internal_info, "user_clean_steps"));
	assert_at_rest(&p);
	play_done(&p);
}

static void test_unknown_clean_step(void)
{
	struct play p = manual("[" STEP("polish") "]");

	play_until(&p, PHASE_CLEAN_LOAD_STEPS);
	play_step(&p);
	assert_cleaning(&p, STATE_CLEAN_FAILED, STATE_MANAGEABLE);
	g_assert_nonnull(strstr(p.n->last_error, "does not offer the clean step deploy.polish"));
	play_done(&p);
}

static void test_clean_step_fails(void)
{
	struct play p = at_phase(PHASE_CLEAN_STEP_WAIT);
	struct event ev = failure(&p, false);

	g_assert_true(play_fold(&p, &ev, NULL));
	assert_clean_failed(&p);
	g_assert_cmpstr(p.n->last_error, ==,
			"Clean step deploy.erase_devices_metadata failed: the cable is out");
	g_assert_cmpstr(json_peek_string(p.n->clean_step, "step"), ==, "erase_devices_metadata");
	play_until(&p, PHASE_NONE);
	g_assert_cmpstr(p.n->power_state, ==, "power off");
	assert_clean_failed(&p);
	assert_at_rest(&p);
	/* Only by hand, and the fault stays until somebody takes it away. */
	g_assert_false(play_verb(&p, STATE_EVENT_PROVIDE, NULL));
	g_assert_true(play_verb(&p, STATE_EVENT_MANAGE, NULL));
	assert_state(&p, STATE_MANAGEABLE);
	g_assert_cmpuint(json_object_size(p.n->clean_step), ==, 0);
	g_assert_true(p.n->maintenance);
	g_assert_nonnull(p.n->last_error);
	play_done(&p);
}

static void fails_in_maintenance(struct play *p, enum phase phase)
{
	const struct phase_info *info = &phase_info[phase];
	struct event ev = failure(p, false);

	if (info->operation != OPERATION_CLEAN || info->flags & P_SKIP ||
	    info->action == ACTION_CONTACT || info->action == ACTION_STEP_SEND)
		return;
	g_assert_true(play_fold(p, &ev, NULL));
	assert_clean_failed(p);
}

static void test_clean_failures(void)
{
	for_each_phase(fails_in_maintenance);
}

static void assert_aborted(struct play *p, const char *sentence)
{
	assert_cleaning(p, STATE_CLEAN_FAILED, STATE_AVAILABLE);
	g_assert_cmpstr(p->n->last_error, ==, sentence);
	g_assert_false(p->n->maintenance);
	g_assert_null(p->n->fault);
	play_until(p, PHASE_NONE);
	g_assert_cmpstr(p->n->power_state, ==, "power off");
	assert_at_rest(p);
	play_done(p);
}

#define ABORTED "By request, the clean operation was aborted"

static void test_abort_cleaning(void)
{
	struct play p = at_phase(PHASE_CLEAN_CONTACT);

	g_assert_true(play_verb(&p, STATE_EVENT_ABORT, NULL));
	assert_aborted(&p, ABORTED);
	p = at_phase(PHASE_CLEAN_STEP_WAIT);
	g_assert_true(play_verb(&p, STATE_EVENT_ABORT, NULL));
	assert_aborted(&p, ABORTED " during or after the completion of step "
				   "\"deploy.erase_devices_metadata\"");
}

static void test_abort_is_deferred(void)
{
	struct play p = at_phase(PHASE_CLEAN_STEP_WAIT);
	json_t *list = json_object_get(p.n->driver_internal_info, "clean_steps");

	json_object_set_new(json_array_get(list, 0), "abortable", json_false());
	for (unsigned i = 0; i < 2; i++) {
		g_assert_true(play_verb(&p, STATE_EVENT_ABORT, NULL));
		assert_cleaning(&p, STATE_CLEAN_WAIT, STATE_AVAILABLE);
	}
	play_step(&p);
	assert_aborted(&p, ABORTED " during or after the completion of step "
				   "\"deploy.erase_devices_metadata\"");
}

static void test_agent_restarts_in_cleaning(void)
{
	struct play p = at_phase(PHASE_CLEAN_STEP_WAIT);

	restart_agent(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_IDENTIFY);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	play_done(&p);
	p = manual("[" STEP("burn") "]");
	play_until(&p, PHASE_CLEAN_STEP_WAIT);
	restart_agent(&p);
	g_assert_cmpstr(p.n->last_error, ==,
			"The agent restarted while it ran clean step deploy.burn");
	play_done(&p);
}

static void test_clean_refusals(void)
{
	static const char *const bad[][2] = {
		{"[]", "\"clean_steps\" is required"},
		{"[{\"interface\": \"power\", \"step\": \"reboot\", \"args\": {\"hard\": 1}}]",
		 "'reboot' takes no args"},
		{"[{\"interface\": \"power\", \"step\": \"wait\", \"args\": {\"seconds\": 0}}]",
		 "from 1 to 86400"},
		{"[{\"interface\": \"power\", \"step\": \"wait\", \"args\": {\"minutes\": 1}}]",
		 "'wait' takes args.seconds alone"},
		{"[{\"interface\": \"deploy\", \"step\": \"a/b\"}]", "proper name"},
		{"[{\"interface\": \"deploy\", \"step\": \"a\", \"execute_on_child_nodes\": true}]",
		 "execute_on_child_nodes"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct play p = play_new(STATE_MANAGEABLE);
		struct event ev = play_event(&p, EVENT_VERB);
		g_autoptr(json_t) list = json_loads(bad[i][0], 0, NULL);
		g_autoptr(GError) error = NULL;

		ev.verb = STATE_EVENT_CLEAN;
		ev.steps = list;
		g_assert_false(play_fold(&p, &ev, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_nonnull(strstr(error->message, bad[i][1]));
		assert_state(&p, STATE_MANAGEABLE);
		play_done(&p);
	}
}

#define CASE(name, fn) g_test_add_func("/flow clean/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("automated cleaning runs the steps with a priority", test_automated_cleaning);
	CASE("undeploying cleans when it is asked for", test_undeploy_cleans);
	CASE("the node's wish to be cleaned goes before the server's", test_who_cleans);
	CASE("manual cleaning runs its steps in order and ends manageable", test_manual_cleaning);
	CASE("a clean step that is not offered fails the cleaning", test_unknown_clean_step);
	CASE("a failed clean step is a fault, and manage leads out", test_clean_step_fails);
	CASE("in every phase a failure of cleaning is a fault", test_clean_failures);
	CASE("waiting cleaning can be aborted, without a fault", test_abort_cleaning);
	CASE("a step that must not be cut off ends before the abort", test_abort_is_deferred);
	CASE("erasing runs again after a restart of the agent, other steps do not",
	     test_agent_restarts_in_cleaning);
	CASE("clean steps that cannot be are refused at once", test_clean_refusals);
	return g_test_run();
}
