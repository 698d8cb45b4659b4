#include "errors.h"
#include "fold_driver.h"

static void assert_state(const struct play *p, enum provision_state s)
{
	g_assert_cmpstr(provision_state_text((unsigned)p->n->provision_state), ==,
			provision_state_text(s));
	g_assert_cmpint(p->n->target_provision_state, ==, (int)provision_state_target(s));
}

static void assert_at_rest(const struct play *p)
{
	g_assert_cmpuint(json_object_size(p->n->flow), ==, 0);
	g_assert_null(p->n->reservation);
	g_assert_null(p->n->agent_token);
	g_assert_null(json_object_get(p->n->instance_info, "rescue_password"));
}

static void test_tables(void)
{
	for (unsigned op = OPERATION_NONE + 1; op < OPERATION_COUNT; op++)
		g_assert_cmpuint(phase_info[operation_info[op].first].operation, ==, op);
	for (unsigned p = PHASE_NONE + 1; p < PHASE_COUNT; p++) {
		enum phase next = flow_phase_after(p);
		enum provision_state from = phase_info[p].state, to;
		bool moved = false;

		g_assert_cmpuint(phase_info[p].attempts, >, 0);
		if (next == PHASE_NONE || phase_info[next].state == from)
			continue;
		for (unsigned e = STATE_EVENT_WAIT; e <= STATE_EVENT_RESUME; e++)
			moved |= provision_state_next(from, e, &to) && to == phase_info[next].state;
		g_assert_true(moved);
	}
}

static void test_verify(void)
{
	struct play p = play_new(STATE_ENROLL);

	g_assert_true(play_verb(&p, STATE_EVENT_MANAGE, NULL));
	assert_state(&p, STATE_VERIFYING);
	g_assert_cmpstr(p.n->reservation, ==, PLAY_HOST);
	play_step(&p);
	assert_state(&p, STATE_MANAGEABLE);
	g_assert_cmpstr(p.n->power_state, ==, "power off");
	assert_at_rest(&p);
	play_done(&p);
}

static void test_deploy(void)
{
	static const enum phase order[] = {
		PHASE_DEPLOY_OFF,         PHASE_DEPLOY_PUBLISH,     PHASE_DEPLOY_BOOT_DEVICE,
		PHASE_DEPLOY_ON,          PHASE_DEPLOY_CONTACT,     PHASE_DEPLOY_TOKEN,
		PHASE_DEPLOY_IDENTIFY,    PHASE_DEPLOY_CLAIM,       PHASE_DEPLOY_LOAD_STEPS,
		PHASE_DEPLOY_STEP_SEND,   PHASE_DEPLOY_STEP_SEND, /* about to send, then sent */
		PHASE_DEPLOY_STEP_WAIT,   PHASE_DEPLOY_BOOT_DISK,   PHASE_DEPLOY_SYNC,
		PHASE_DEPLOY_AGENT_OFF,   PHASE_DEPLOY_CONFIRM_OFF, PHASE_DEPLOY_WITHDRAW,
		PHASE_DEPLOY_INSTANCE_ON,
	};
	struct play p = play_new(STATE_AVAILABLE);

	p.n->last_error = g_strdup("an old one");
	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	g_assert_null(p.n->last_error);
	for (size_t i = 0; i < G_N_ELEMENTS(order); i++) {
		g_assert_cmpstr(phase_info[play_phase(&p)].text, ==, phase_info[order[i]].text);
		assert_state(&p, phase_info[order[i]].state);
		g_assert_true(!p.n->reservation == (p.n->provision_state == STATE_DEPLOY_WAIT));
		play_step(&p);
	}
	assert_state(&p, STATE_ACTIVE);
	assert_at_rest(&p);
	g_assert_cmpint(p.n->boot_epoch, ==, 1);
	g_assert_cmpstr(p.n->power_state, ==, "power on");
	g_assert_null(p.n->agent_address);
	g_assert_cmpuint(json_object_size(p.n->deploy_step), ==, 0);
	g_assert_cmpstr(json_peek_string(p.n->driver_internal_info, "agent_version"), ==, "0.1.0");
	play_done(&p);
}

static void test_stock_agent(void)
{
	struct play p = play_new(STATE_AVAILABLE);

	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	play_until(&p, PHASE_DEPLOY_CONTACT);
	struct event ev = play_event(&p, EVENT_AGENT_ALIVE);

	g_assert_true(play_fold(&p, &ev, NULL));
	play_until(&p, PHASE_DEPLOY_IDENTIFY);
	play_step(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_LOAD_STEPS);
	play_done(&p);
}

static void test_undeploy(void)
{
	struct play p = play_new(STATE_ACTIVE);

	p.n->instance_uuid = uuid_new();
	p.n->instance_name = g_strdup("web1");
	g_assert_true(play_verb(&p, STATE_EVENT_DELETE, NULL));
	assert_state(&p, STATE_DELETING);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	assert_at_rest(&p);
	g_assert_cmpuint(json_object_size(p.n->instance_info), ==, 0);
	g_assert_false(uuid_is_set(&p.n->instance_uuid));
	g_assert_null(p.n->instance_name);
	play_done(&p);
}

/* For each state and verb: either the table takes it, or the answer is INVALID (or BUSY when locked), and
 * then nothing has changed. */
static void test_every_verb(void)
{
	for (unsigned s = STATE_NONE + 1; s < STATE_COUNT; s++)
		for (unsigned verb = 0; verb <= STATE_EVENT_SERVICE; verb++) {
			struct play p = play_new(s);
			g_autoptr(GError) error = NULL;
			enum provision_state to;
			bool locked = provision_state_flags(s) & S_WORKING;
			bool fits = provision_state_next(s, verb, &to);

			if (locked)
				p.n->reservation = g_strdup("other");
			struct node *before = node_dup(p.n);
			bool taken = play_verb(&p, verb, &error);

			g_assert_true(taken == !error);
			g_assert_false(taken && (!fits || locked));
			if (!taken) {
				g_assert_true(g_error_matches(error, INOX_ERROR,
							      locked ? INOX_ERROR_BUSY
								     : INOX_ERROR_INVALID));
				g_assert_true(json_equal(before->flow, p.n->flow));
				g_assert_cmpint(before->provision_state, ==, p.n->provision_state);
				g_assert_cmpuint(p.changed[0] | p.changed[1], ==, 0);
			}
			node_free(before);
			play_done(&p);
		}
}

static void test_refusals(void)
{
	g_autoptr(GError) error = NULL;
	struct play p = play_new(STATE_ACTIVE);

	p.n->protected = true;
	g_assert_false(play_verb(&p, STATE_EVENT_DELETE, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_DENIED);
	g_clear_error(&error);
	p.n->protected = false;
	p.n->provision_state = STATE_AVAILABLE;
	p.n->maintenance = true;
	g_assert_false(play_verb(&p, STATE_EVENT_DEPLOY, &error));
	g_assert_nonnull(strstr(error->message, "maintenance mode"));
	g_clear_error(&error);
	p.n->maintenance = false;
	json_object_clear(p.n->instance_info);
	g_assert_false(play_verb(&p, STATE_EVENT_DEPLOY, &error));
	g_assert_nonnull(strstr(error->message, "['instance_info.image_source']"));
	g_clear_error(&error);
	p.n->provision_state = STATE_MANAGEABLE;
	g_assert_false(play_verb(&p, STATE_EVENT_INSPECT, &error));
	g_assert_nonnull(strstr(error->message, "not supported by this release"));
	g_clear_error(&error);
	p.n->provision_state = STATE_ENROLL;
	g_assert_false(play_verb(&p, STATE_EVENT_INSPECT, &error));
	g_assert_nonnull(strstr(error->message, "while it is in state \"enroll\""));
	play_done(&p);
}

/* ---- every phase of a deployment, and of the others */

static struct play at_phase(enum phase phase)
{
	static const struct {
		enum operation operation;
		enum provision_state state;
		enum state_event verb;
	} starts[] = {
		{OPERATION_VERIFY, STATE_ENROLL, STATE_EVENT_MANAGE},
		{OPERATION_DEPLOY, STATE_AVAILABLE, STATE_EVENT_DEPLOY},
		{OPERATION_UNDEPLOY, STATE_ACTIVE, STATE_EVENT_DELETE},
		{OPERATION_CLEAN, STATE_MANAGEABLE, STATE_EVENT_PROVIDE},
		{OPERATION_RESCUE, STATE_ACTIVE, STATE_EVENT_RESCUE},
		{OPERATION_UNRESCUE, STATE_RESCUE, STATE_EVENT_UNRESCUE},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(starts); i++) {
		if (starts[i].operation != phase_info[phase].operation)
			continue;
		struct play p = play_new(starts[i].state);

		p.n->automated_clean = starts[i].operation == OPERATION_CLEAN;
		if (phase_info[phase].flags & P_MEDIA)
			p.n->boot_interface = g_strdup("redfish-virtual-media");
		/* Boot data of an older flow, so that no phase is passed over. */
		json_object_set_new(p.n->flow, "phase", json_string("clean up/withdraw"));
		json_object_set_new(p.n->flow, "path", json_string("older"));
		g_assert_true(play_verb(&p, starts[i].verb, NULL));
		play_taken(&p);
		play_until(&p, phase);
		return p;
	}
	g_assert_not_reached();
}

static bool is_tested(enum phase phase)
{
	enum operation op = phase_info[phase].operation;

	return op == OPERATION_VERIFY || op == OPERATION_DEPLOY || op == OPERATION_UNDEPLOY ||
	       op == OPERATION_CLEAN || op == OPERATION_RESCUE || op == OPERATION_UNRESCUE;
}

static void for_each_phase(void (*fn)(struct play *p, enum phase phase))
{
	for (unsigned phase = PHASE_NONE + 1; phase < PHASE_COUNT; phase++) {
		if (!is_tested(phase))
			continue;
		struct play p = at_phase(phase);

		fn(&p, phase);
		play_done(&p);
	}
}

static struct event failure(const struct play *p, bool retry)
{
	g_autoptr(json_t) outcome = NULL;
	struct event ev = play_success(p, &outcome);

	if (ev.kind == EVENT_SENDING && phase_info[play_phase(p)].action == ACTION_FINALIZE)
		ev.kind = EVENT_AGENT_REPLY;
	ev.outcome = NULL;
	ev.ok = false;
	ev.retry = retry;
	ev.status = COMMAND_FAILED;
	ev.reason = "the cable is out";
	return ev;
}

static void test_media(void)
{
	static const enum phase order[] = {
		PHASE_DEPLOY_OFF,        PHASE_DEPLOY_PUBLISH, PHASE_DEPLOY_INSERT,
		PHASE_DEPLOY_BOOT_MEDIA, PHASE_DEPLOY_ON,      PHASE_DEPLOY_CONTACT,
		PHASE_DEPLOY_EJECT,      PHASE_DEPLOY_TOKEN,   PHASE_DEPLOY_IDENTIFY,
	};
	struct play p = play_new(STATE_AVAILABLE);

	p.n->boot_interface = g_strdup("redfish-virtual-media");
	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(order); i++) {
		g_assert_cmpstr(phase_info[play_phase(&p)].text, ==, phase_info[order[i]].text);
		play_step(&p);
	}
	/* A failure leaves nothing in the drive. */
	struct event ev = failure(&p, false);

	g_assert_true(play_fold(&p, &ev, NULL));
	assert_state(&p, STATE_DEPLOY_FAILED);
	play_until(&p, PHASE_CLEAN_UP_EJECT);
	play_until(&p, PHASE_NONE);
	assert_at_rest(&p);
	play_done(&p);
}

static void assert_usable(const struct play *p)
{
	bool verb = false;

	for (unsigned v = 0; v <= STATE_EVENT_SERVICE; v++) {
		struct play q = {.n = node_dup(p->n), .now = p->now};

		verb |= play_verb(&q, v, NULL);
		play_done(&q);
	}
	g_assert_true(verb);
	g_assert_null(p->n->reservation);
	g_assert_null(p->n->agent_token);
}

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

	(void)phase;
	json_decref(p->n->flow);
	p->n->flow = json_parse_limited(text, strlen(text), 65536, "flow", NULL);
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

/* ---- steps and lost answers */

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

static void restart_agent(struct play *p)
{
	struct event ev = play_event(p, EVENT_AGENT_ALIVE);

	p->now.us += 1000000;
	ev.now = p->now;
	ev.own_agent = true;
	ev.restarted = true;
	g_assert_true(play_fold(p, &ev, NULL));
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

static void test_step_fails(void)
{
	struct play p = at_phase(PHASE_DEPLOY_STEP_WAIT);
	struct event ev = failure(&p, false);

	g_assert_true(play_fold(&p, &ev, NULL));
	assert_state(&p, STATE_DEPLOY_FAILED);
	g_assert_cmpstr(p.n->last_error, ==,
			"Deploy step deploy.write_image failed: the cable is out");
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_UP_WITHDRAW);
	/* At once again, before the clean-up is done; the old boot data are taken back first. */
	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	play_until(&p, PHASE_DEPLOY_CLEAR);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ACTIVE);
	g_assert_cmpint(p.n->boot_epoch, ==, 2);
	play_done(&p);
}

static void test_abort(void)
{
	struct play p = at_phase(PHASE_DEPLOY_CONTACT);

	g_assert_true(play_verb(&p, STATE_EVENT_ABORT, NULL));
	assert_state(&p, STATE_DEPLOY_FAILED);
	g_assert_null(p.n->agent_token);
	play_until(&p, PHASE_NONE);
	g_assert_cmpstr(p.n->power_state, ==, "power off");
	assert_at_rest(&p);
	play_done(&p);
}

/* ---- cleaning */

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
		{"[{\"interface\": \"power\", \"step\": \"reboot\"}]", "'reboot' is not supported"},
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

static void test_silent_but_alive(void)
{
	struct play p = at_phase(PHASE_DEPLOY_STEP_WAIT);

	for (unsigned i = 0; i < 3; i++) {
		p.now.us += 1801 * (int64_t)1000000;
		struct event ev = play_event(&p, EVENT_DEADLINE);

		g_assert_true(play_fold(&p, &ev, NULL));
		g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_STEP_WAIT);
	}
	play_done(&p);
}

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

/* ---- anything in any order */

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
	ev.pin = g_rand_boolean(rand) ? "pin" : NULL;
	ev.automated_clean = g_rand_boolean(rand);
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
			p.now.us += 90000 * (int64_t)1000000;
			struct event gone = play_event(&p, EVENT_AGENT_GONE);

			g_assert_true(play_fold(&p, &gone, NULL));
			struct event ev = play_event(&p, EVENT_DEADLINE);

			g_assert_true(play_fold(&p, &ev, NULL));
			p.now.us += 90000 * (int64_t)1000000;
			ev = play_event(&p, EVENT_DEADLINE);
			g_assert_true(play_fold(&p, &ev, NULL));
		}
		assert_usable(&p);
		play_done(&p);
	}
	g_rand_free(rand);
}

#define CASE(name, fn) g_test_add_func("/flow/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("the tables fit together", test_tables);
	CASE("a node is verified", test_verify);
	CASE("a deployment goes through its phases", test_deploy);
	CASE("a boot from virtual media inserts, boots the drive, and ejects", test_media);
	CASE("a stock agent is not claimed", test_stock_agent);
	CASE("undeploying clears the instance", test_undeploy);
	CASE("every verb in every state is taken or refused as the edges say", test_every_verb);
	CASE("refusals say why", test_refusals);
	CASE("in every phase a hard failure ends in a usable node", test_hard_failure);
	CASE("in every phase a failure that may pass is tried again, with bounds",
	     test_passing_failure);
	CASE("in every phase a passed deadline ends in a usable node", test_deadlines);
	CASE("in every phase stale and repeated answers do nothing", test_stale_and_repeated);
	CASE("in every phase the row alone is enough to go on", test_from_the_row);
	CASE("in every phase the node says what it waits for", test_why);
	CASE("a command whose answer was lost is found in the list", test_lost_answer_found);
	CASE("a command that never arrived is sent again", test_lost_answer_not_found);
	CASE("an image is written again after one restart of the agent", test_agent_restarts);
	CASE("a failed step fails the node, which can be deployed at once", test_step_fails);
	CASE("a waiting deployment can be aborted", test_abort);
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
	CASE("a long step of a living agent has no deadline", test_silent_but_alive);
	CASE("a machine that does not go off is switched off", test_stuck_power);
	CASE("power requests reach their target", test_power_requests);
	CASE("a failed power request says so", test_power_fails);
	CASE("no sequence of events strands a node", test_anything);
	return g_test_run();
}
