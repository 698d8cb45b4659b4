/* What flows there are, where they lead, and what operators may ask for. */
#include "flow_fixture.h"

static void test_tables(void)
{
	for (unsigned op = OPERATION_NONE + 1; op < OPERATION_COUNT; op++)
		g_assert_cmpuint(phase_info[operation_info[op].first].operation, ==, op);
	for (unsigned p = PHASE_NONE + 1; p < PHASE_COUNT; p++) {
		enum phase next = flow_phase_after(p);
		enum provision_state from = phase_info[p].state, to;
		bool moved = false;

		g_assert_cmpuint(phase_info[p].attempts, >, 0);
		/* Those that are entered by name come from elsewhere. */
		if (next == PHASE_NONE || phase_info[next].state == from ||
		    (phase_info[p].flags | phase_info[next].flags) & P_JUMP)
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

static void end_media(struct play *p)
{
	struct event ev = play_event(p, EVENT_MEDIA_OVER);

	fold_ok(p, &ev);
}

/* While the conductor was away the time of the ISO has passed: another boot, of the same operation. */
static void test_media_over(void)
{
	static const enum phase phases[] = {PHASE_DEPLOY_INSERT, PHASE_DEPLOY_BOOT_MEDIA,
					    PHASE_RESCUE_INSERT, PHASE_CLEAN_BOOT_MEDIA};

	for (size_t i = 0; i < G_N_ELEMENTS(phases); i++) {
		struct play p = at_phase(phases[i]);
		int64_t epoch = p.n->boot_epoch;
		enum operation op = phase_info[phases[i]].operation;

		end_media(&p);
		g_assert_cmpint(play_phase(&p), ==, operation_info[op].first);
		g_assert_null(p.n->agent_token);
		play_step(&p);
		g_assert_cmpint(phase_info[play_phase(&p)].action, ==, ACTION_WITHDRAW);
		play_until(&p, phases[i]);
		g_assert_cmpint(p.n->boot_epoch, ==, epoch + 1);
		g_assert_nonnull(p.n->agent_token);
		/* An old one changes nothing, and neither does one behind it. */
		struct event ev = play_event(&p, EVENT_MEDIA_OVER);

		ev.turn--;
		fold_ok(&p, &ev);
		g_assert_cmpint(play_phase(&p), ==, phases[i]);
		play_until(&p, op == OPERATION_RESCUE ? PHASE_RESCUE_CONTACT : PHASE_NONE);
		play_done(&p);
	}
	struct play p = at_phase(PHASE_DEPLOY_CONTACT);

	end_media(&p);
	g_assert_cmpint(play_phase(&p), ==, PHASE_DEPLOY_CONTACT);
	play_done(&p);
}

static void test_media_over_again(void)
{
	struct play p = at_phase(PHASE_DEPLOY_INSERT);

	for (unsigned i = 0; i < 3; i++) {
		end_media(&p);
		assert_state(&p, STATE_DEPLOYING);
		play_until(&p, PHASE_DEPLOY_INSERT);
	}
	end_media(&p);
	assert_state(&p, STATE_DEPLOY_FAILED);
	g_assert_nonnull(strstr(p.n->last_error, "was over again and again"));
	play_until(&p, PHASE_NONE);
	assert_at_rest(&p);
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

#define CASE(name, fn) g_test_add_func("/flow/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("the tables fit together", test_tables);
	CASE("a node is verified", test_verify);
	CASE("a deployment goes through its phases", test_deploy);
	CASE("a boot from virtual media inserts, boots the drive, and ejects", test_media);
	CASE("a boot whose ISO is over before it is read begins again", test_media_over);
	CASE("a boot whose ISO is over again and again fails", test_media_over_again);
	CASE("a stock agent is not claimed", test_stock_agent);
	CASE("undeploying clears the instance", test_undeploy);
	CASE("every verb in every state is taken or refused as the edges say", test_every_verb);
	CASE("refusals say why", test_refusals);
	CASE("a failed step fails the node, which can be deployed at once", test_step_fails);
	CASE("a waiting deployment can be aborted", test_abort);
	return g_test_run();
}
