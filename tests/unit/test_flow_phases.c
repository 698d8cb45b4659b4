/* What holds in every phase of every operation, and for events in any order. */
#include "flow_fixture.h"

static void hard_failure(struct play *p, enum phase phase)
{
	const struct phase_info *info = &phase_info[phase];
	struct event ev = failure(p, false);

	if (info->action == ACTION_CONTACT || (info->action == ACTION_STEP_SEND))
		return; /* answered by an event that knows no failure; tested by name */
	g_assert_true(play_fold(p, &ev, NULL));
	if (info->flags & P_SKIP) {
		g_assert_cmpint(play_phase(p), ==, flow_phase_after(phase));
		return;
	}
	g_assert_nonnull(strstr(p->n->last_error, "the cable is out"));
	assert_usable(p);
	play_until(p, PHASE_NONE);
	assert_usable(p);
	assert_at_rest(p);
}

static void test_hard_failure(void)
{
	for_each_phase(hard_failure);
}

static void passing_failure(struct play *p, enum phase phase)
{
	enum action action = phase_info[phase].action;
	unsigned attempts = phase_info[phase].attempts;

	if (action == ACTION_CONTACT || action == ACTION_STEP_WAIT || action == ACTION_STEP_SEND)
		return;
	for (unsigned i = 1; i < attempts; i++) {
		struct event ev = failure(p, true);
		struct flow f;

		g_assert_true(play_fold(p, &ev, NULL));
		g_assert_cmpint(play_phase(p), ==, phase);
		f = play_flow(p);
		g_assert_cmpint(f.attempt, ==, i);
		g_assert_cmpint(f.retry_at.us, >, p->now.us);
		g_assert_cmpstr(f.reason, ==, "the cable is out");
		flow_clear(&f);
		/* The same answer once more belongs to an older turn. */
		g_assert_true(play_fold(p, &ev, NULL));
		g_assert_cmpuint(p->changed[0] | p->changed[1], ==, 0);
	}
	struct event ev = failure(p, true);

	g_assert_true(play_fold(p, &ev, NULL));
	g_assert_cmpint(play_phase(p), !=, phase);
}

static void test_passing_failure(void)
{
	for_each_phase(passing_failure);
}

static void past_deadline(struct play *p, enum phase phase)
{
	for (unsigned guard = 0; play_phase(p) == phase; guard++) {
		struct event gone = play_event(p, EVENT_AGENT_GONE);

		g_assert_cmpuint(guard, <, 100);
		gone.reason = "connection refused";
		g_assert_true(play_fold(p, &gone, NULL));
		struct event early = play_event(p, EVENT_DEADLINE);
		int64_t turn = (int64_t)early.turn;

		early.now.us += 1000000;
		g_assert_true(play_fold(p, &early, NULL));
		struct flow f = play_flow(p);

		g_assert_cmpint(f.turn, ==, turn);
		g_assert_cmpint(f.until.us, >, 0);
		p->now = f.until;
		flow_clear(&f);
		struct event ev = play_event(p, EVENT_DEADLINE);

		g_assert_true(play_fold(p, &ev, NULL));
	}
	if (!(phase_info[phase].flags & P_SKIP)) {
		g_assert_nonnull(p->n->last_error);
		assert_usable(p);
	}
}

static void test_deadlines(void)
{
	for_each_phase(past_deadline);
}

/* Only a callback's deadline is counted from the last contact. */
static void fickle_agent(struct play *p, enum phase phase)
{
	struct flow before = play_flow(p);

	if (action_info[phase_info[phase].action].watch != WATCH_OFF &&
	    phase_info[phase].limit != LIMIT_CALLBACK) {
		struct event ev = seconds_later(p, EVENT_AGENT_GONE, 1);

		fold_ok(p, &ev);
		ev = seconds_later(p, EVENT_AGENT_ALIVE, 1);
		fold_ok(p, &ev);
		struct flow f = play_flow(p);

		g_assert_cmpint(f.phase, ==, phase);
		g_assert_cmpint(f.until.us, ==, before.until.us);
		flow_clear(&f);
	}
	flow_clear(&before);
}

static void test_fickle_agent(void)
{
	for_each_phase(fickle_agent);
}

static void stale_and_repeated(struct play *p, enum phase phase)
{
	g_autoptr(json_t) outcome = NULL;
	struct event ev = play_success(p, &outcome);
	struct event stale = ev;

	(void)phase;
	stale.turn = ev.turn - 1;
	stale.epoch = ev.epoch - 1;
	g_assert_true(play_fold(p, &stale, NULL));
	g_assert_cmpuint(p->changed[0] | p->changed[1], ==, 0);
	g_assert_true(play_fold(p, &ev, NULL));
	enum phase after = play_phase(p);

	/* The same answer twice does not move the node twice. */
	g_assert_true(play_fold(p, &ev, NULL));
	g_assert_cmpint(play_phase(p), ==, after);
}

static void test_stale_and_repeated(void)
{
	for_each_phase(stale_and_repeated);
}

/* What a conductor that was killed finds: the row, and nothing else. */
static void from_the_row(struct play *p, enum phase phase)
{
	g_autofree char *text = json_print_compact(p->n->flow);

	json_decref(p->n->flow);
	p->n->flow = json_parse_limited(text, strlen(text), 65536, "flow", NULL);
	if (phase_info[phase].flags & P_STAY) {
		play_until(p, PHASE_IDLE_WAIT);
		p->n->maintenance = true;
		struct event late = seconds_later(p, EVENT_DEADLINE, 301);

		fold_ok(p, &late);
	}
	play_until(p, PHASE_NONE);
	assert_at_rest(p);
	g_assert_null(p->n->last_error);
}

static void test_from_the_row(void)
{
	for_each_phase(from_the_row);
}

static void explains(struct play *p, enum phase phase)
{
	g_autofree char *why = node_why(p->n, p->now);
	g_autoptr(json_t) view = node_flow_view(p->n, p->now);

	g_assert_nonnull(strstr(why, phase_info[phase].what));
	g_assert_cmpstr(json_peek_string(view, "phase"), ==, phase_info[phase].text);
	g_assert_nonnull(json_peek_string(view, "until"));
}

static void test_why(void)
{
	for_each_phase(explains);
}

static struct event random_event(const struct play *p, GRand *rand, json_t **ret_outcome)
{
	struct event ev = play_success(p, ret_outcome);

	if (g_rand_int_range(rand, 0, 3) == 0)
		ev.kind = (enum event_kind)g_rand_int_range(rand, 0, EVENT_COUNT);
	ev.verb = (enum state_event)g_rand_int_range(rand, 0, STATE_EVENT_SERVICE + 1);
	ev.power_target = (enum power_target)g_rand_int_range(rand, 0, TARGET_SOFT_REBOOT + 1);
	ev.ok = g_rand_int_range(rand, 0, 4) != 0;
	ev.retry = g_rand_boolean(rand);
	ev.unclear = g_rand_boolean(rand);
	ev.restarted = g_rand_int_range(rand, 0, 4) == 0;
	if (g_rand_int_range(rand, 0, 4) == 0)
		ev.status = (enum command_status)g_rand_int_range(rand, 0,
								  COMMAND_VERSION_MISMATCH + 1);
	if (g_rand_int_range(rand, 0, 6) == 0)
		ev.turn -= 1;
	if (g_rand_int_range(rand, 0, 6) == 0)
		ev.power = POWER_ON;
	ev.silent_s = (unsigned)g_rand_int_range(rand, 0, 2000);
	ev.done = (uint64_t)g_rand_int_range(rand, 0, 100);
	ev.reason = g_rand_boolean(rand) ? "some reason" : NULL;
	ev.active = g_rand_boolean(rand);
	ev.by_lookup = ev.active && g_rand_boolean(rand);
	ev.by_contact = !ev.active && g_rand_boolean(rand);
	ev.pin = g_rand_boolean(rand) ? "pin" : NULL;
	ev.automated_clean = g_rand_boolean(rand);
	ev.fast_track = g_rand_boolean(rand);
	return ev;
}

static void assert_invariants(const struct play *p)
{
	unsigned flags = provision_state_flags((enum provision_state)p->n->provision_state);
	struct flow f = play_flow(p);

	if (flags & (S_WORKING | S_WAITING))
		g_assert_cmpint(f.phase, !=, PHASE_NONE);
	if (flags & S_WORKING)
		g_assert_cmpstr(p->n->reservation, ==, PLAY_HOST);
	if (f.phase == PHASE_NONE)
		assert_at_rest(p);
	else
		g_assert_cmpint(f.turn, >, 0);
	flow_clear(&f);
}

static void test_anything(void)
{
	guint32 seed = g_test_rand_int() & 0x7fffffff;
	GRand *rand = g_rand_new_with_seed(seed);

	g_test_message("seed %u", seed);
	for (unsigned game = 0; game < 300; game++) {
		struct play p = play_new(game % 2 ? STATE_AVAILABLE : STATE_ENROLL);

		for (unsigned turn = 0; turn < 120; turn++) {
			g_autoptr(json_t) outcome = NULL;
			struct event ev = random_event(&p, rand, &outcome);

			p.now.us += g_rand_int_range(rand, 0, 30) * 100000;
			ev.now = p.now;
			if (!play_fold(&p, &ev, NULL))
				g_assert_true(ev.kind == EVENT_VERB ||
					      ev.kind == EVENT_POWER_REQUEST);
			assert_invariants(&p);
		}
		for (unsigned guard = 0; play_phase(&p) != PHASE_NONE; guard++) {
			g_assert_cmpuint(guard, <, 3000);
			play_taken(&p);
			struct event gone = seconds_later(&p, EVENT_AGENT_GONE, 90000);

			fold_ok(&p, &gone);
			struct event ev = play_event(&p, EVENT_DEADLINE);

			g_assert_true(play_fold(&p, &ev, NULL));
			ev = seconds_later(&p, EVENT_DEADLINE, 90000);
			fold_ok(&p, &ev);
		}
		assert_usable(&p);
		play_done(&p);
	}
	g_rand_free(rand);
}

#define CASE(name, fn) g_test_add_func("/flow phases/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("in every phase a hard failure ends in a usable node", test_hard_failure);
	CASE("in every phase a failure that may pass is tried again, with bounds",
	     test_passing_failure);
	CASE("in every phase a passed deadline ends in a usable node", test_deadlines);
	CASE("in no phase an agent that comes and goes moves a deadline that is not its own",
	     test_fickle_agent);
	CASE("in every phase stale and repeated answers do nothing", test_stale_and_repeated);
	CASE("in every phase the row alone is enough to go on", test_from_the_row);
	CASE("in every phase the node says what it waits for", test_why);
	CASE("no sequence of events strands a node", test_anything);
	return g_test_run();
}
