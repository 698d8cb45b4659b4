/* Rescue and unrescue as flows, and the hash that goes to the agent. */
#include <crypt.h>

#include "flow_fixture.h"
#include "rescue_call.h"

#define ADDRESS "10.77.2.9"

static const char *password_of(const struct play *p)
{
	return json_peek_string(p->n->instance_info, "rescue_password");
}

static void run_through(struct play *p, const enum phase *order, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		g_assert_cmpstr(phase_info[play_phase(p)].text, ==, phase_info[order[i]].text);
		assert_state(p, phase_info[order[i]].state);
		g_assert_true(!p->n->reservation == (p->n->provision_state == STATE_RESCUE_WAIT));
		play_step(p);
	}
	g_assert_cmpint(play_phase(p), ==, PHASE_NONE);
}

static struct play rescued(void)
{
	struct play p = play_new(STATE_ACTIVE);

	g_assert_true(play_verb(&p, STATE_EVENT_RESCUE, NULL));
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_RESCUE);
	return p;
}

static struct play finalizing(void)
{
	struct play p = play_new(STATE_ACTIVE);

	g_assert_true(play_verb(&p, STATE_EVENT_RESCUE, NULL));
	play_until(&p, PHASE_RESCUE_FINALIZE);
	return p;
}

static void test_rescue(void)
{
	static const enum phase order[] = {
		PHASE_RESCUE_OFF,      PHASE_RESCUE_PUBLISH, PHASE_RESCUE_BOOT_DEVICE,
		PHASE_RESCUE_ON,       PHASE_RESCUE_CONTACT, PHASE_RESCUE_TOKEN,
		PHASE_RESCUE_IDENTIFY, PHASE_RESCUE_CLAIM,   PHASE_RESCUE_FINALIZE,
		PHASE_RESCUE_FINALIZE, /* about to send, then sent */
		PHASE_RESCUE_WITHDRAW,
	};
	struct play p = play_new(STATE_ACTIVE);

	p.n->last_error = g_strdup("an old one");
	g_assert_true(play_verb(&p, STATE_EVENT_RESCUE, NULL));
	g_assert_null(p.n->last_error);
	g_assert_cmpstr(password_of(&p), ==, "sealed:v1:password");
	run_through(&p, order, G_N_ELEMENTS(order));
	assert_state(&p, STATE_RESCUE);
	assert_at_rest(&p);
	g_assert_cmpint(p.n->boot_epoch, ==, 1);
	g_assert_cmpstr(p.n->power_state, ==, "power on");
	/* The machine runs, so nobody else gets its address. */
	g_assert_cmpstr(p.n->agent_address, ==, ADDRESS);
	g_assert_cmpstr(json_peek_string(p.n->driver_internal_info, "rescue_address"), ==, ADDRESS);
	g_assert_null(json_object_get(p.n->driver_internal_info, "agent_url"));
	g_assert_nonnull(json_object_get(p.n->instance_info, "image_source"));
	play_done(&p);
}

static void test_media(void)
{
	static const enum phase order[] = {
		PHASE_RESCUE_OFF,        PHASE_RESCUE_PUBLISH,  PHASE_RESCUE_INSERT,
		PHASE_RESCUE_BOOT_MEDIA, PHASE_RESCUE_ON,       PHASE_RESCUE_CONTACT,
		PHASE_RESCUE_EJECT,      PHASE_RESCUE_TOKEN,    PHASE_RESCUE_IDENTIFY,
		PHASE_RESCUE_CLAIM,      PHASE_RESCUE_FINALIZE, PHASE_RESCUE_FINALIZE,
		PHASE_RESCUE_WITHDRAW,
	};
	struct play p = play_new(STATE_ACTIVE);

	p.n->boot_interface = g_strdup("redfish-virtual-media");
	g_assert_true(play_verb(&p, STATE_EVENT_RESCUE, NULL));
	run_through(&p, order, G_N_ELEMENTS(order));
	assert_state(&p, STATE_RESCUE);
	play_done(&p);
}

static void test_unrescue(void)
{
	static const enum phase order[] = {PHASE_UNRESCUE_OFF, PHASE_UNRESCUE_WITHDRAW,
					   PHASE_UNRESCUE_BOOT_DISK, PHASE_UNRESCUE_ON};
	struct play p = rescued();

	g_assert_true(play_verb(&p, STATE_EVENT_UNRESCUE, NULL));
	run_through(&p, order, G_N_ELEMENTS(order));
	assert_state(&p, STATE_ACTIVE);
	assert_at_rest(&p);
	g_assert_cmpstr(p.n->power_state, ==, "power on");
	g_assert_null(p.n->agent_address);
	g_assert_null(json_object_get(p.n->driver_internal_info, "rescue_address"));
	play_done(&p);
}

static void test_again(void)
{
	struct play p = rescued();

	g_assert_true(play_verb(&p, STATE_EVENT_RESCUE, NULL));
	play_until(&p, PHASE_RESCUE_CLEAR);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_RESCUE);
	g_assert_cmpint(p.n->boot_epoch, ==, 2);
	assert_at_rest(&p);
	play_done(&p);
}

static void lose_bmc(struct play *p)
{
	struct event ev = play_event(p, EVENT_BMC);

	ev.ok = false;
	ev.reason = "the cable is out";
	g_assert_true(play_fold(p, &ev, NULL));
}

static void test_delete(void)
{
	struct play p = rescued();

	g_assert_true(play_verb(&p, STATE_EVENT_DELETE, NULL));
	play_until(&p, PHASE_UNDEPLOY_WITHDRAW);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	g_assert_null(p.n->agent_address);
	g_assert_null(json_object_get(p.n->driver_internal_info, "rescue_address"));
	assert_at_rest(&p);
	play_done(&p);
}

/* The address is kept while the machine may use it, and a row that knows of it is not deleted.  A machine
 * that is given up has its address taken back even when its BMC is dead. */
static void test_address_of_a_dead_machine(void)
{
	struct play p = rescued();

	g_assert_true(flow_keeps_address(p.n));
	g_assert_true(play_verb(&p, STATE_EVENT_UNRESCUE, NULL));
	g_assert_true(flow_has_boot_data(p.n));
	lose_bmc(&p);
	assert_state(&p, STATE_UNRESCUE_FAILED);
	assert_at_rest(&p);
	g_assert_true(flow_keeps_address(p.n));
	g_assert_true(play_verb(&p, STATE_EVENT_DELETE, NULL));
	lose_bmc(&p);
	assert_state(&p, STATE_ERROR);
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_UP_WITHDRAW);
	g_assert_true(flow_has_boot_data(p.n));
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ERROR);
	g_assert_nonnull(strstr(p.n->last_error, "the cable is out"));
	g_assert_null(p.n->agent_address);
	g_assert_false(flow_keeps_address(p.n) || flow_has_boot_data(p.n));
	play_done(&p);
}

static void test_delete_while_waiting(void)
{
	struct play p = play_new(STATE_ACTIVE);

	g_assert_true(play_verb(&p, STATE_EVENT_RESCUE, NULL));
	play_until(&p, PHASE_RESCUE_CONTACT);
	g_assert_true(play_verb(&p, STATE_EVENT_DELETE, NULL));
	g_assert_null(password_of(&p));
	g_assert_null(p.n->agent_token);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_AVAILABLE);
	play_done(&p);
}

/* A machine that is switched off and on boots its own disk; the node stays where it is. */
static void test_power_of_a_rescued_machine(void)
{
	for (unsigned target = TARGET_POWER_ON; target <= TARGET_SOFT_REBOOT; target++) {
		struct play p = rescued();
		struct event ev = play_event(&p, EVENT_POWER_REQUEST);

		ev.power_target = target;
		g_assert_true(play_fold(&p, &ev, NULL));
		play_until(&p, PHASE_NONE);
		assert_state(&p, STATE_RESCUE);
		assert_at_rest(&p);
		g_assert_cmpstr(p.n->agent_address, ==, ADDRESS);
		g_assert_true(play_verb(&p, STATE_EVENT_UNRESCUE, NULL));
		play_until(&p, PHASE_NONE);
		assert_state(&p, STATE_ACTIVE);
		play_done(&p);
	}
}

static void test_abort(void)
{
	struct play p = play_new(STATE_ACTIVE);

	g_assert_true(play_verb(&p, STATE_EVENT_RESCUE, NULL));
	play_until(&p, PHASE_RESCUE_CONTACT);
	g_assert_true(play_verb(&p, STATE_EVENT_ABORT, NULL));
	assert_state(&p, STATE_RESCUE_FAILED);
	g_assert_cmpstr(p.n->last_error, ==, "By request, the rescue operation was aborted.");
	g_assert_null(password_of(&p));
	g_assert_null(p.n->agent_token);
	g_assert_false(p.n->maintenance);
	play_until(&p, PHASE_NONE);
	g_assert_cmpstr(p.n->power_state, ==, "power off");
	assert_at_rest(&p);
	g_assert_true(play_verb(&p, STATE_EVENT_UNRESCUE, NULL));
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ACTIVE);
	play_done(&p);
}

static void test_unrescue_fails(void)
{
	struct play p = rescued();

	g_assert_true(play_verb(&p, STATE_EVENT_UNRESCUE, NULL));
	lose_bmc(&p);
	assert_state(&p, STATE_UNRESCUE_FAILED);
	assert_at_rest(&p);
	g_assert_true(play_verb(&p, STATE_EVENT_UNRESCUE, NULL));
	play_until(&p, PHASE_UNRESCUE_WITHDRAW);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_ACTIVE);
	play_done(&p);
}

static void test_refusals(void)
{
	static const char *const id = "11111111-2222-4333-8444-555555555555";
	struct play p = play_new(STATE_ACTIVE);
	struct event ev = play_event(&p, EVENT_VERB);
	g_autoptr(GError) error = NULL;

	ev.verb = STATE_EVENT_RESCUE;
	g_assert_false(play_fold(&p, &ev, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	g_assert_nonnull(strstr(error->message, "A non-empty \"rescue_password\""));
	g_clear_error(&error);
	p.n->rescue_interface = g_strdup("no-rescue");
	uuid_parse(id, &p.n->instance_uuid, NULL);
	g_assert_false(play_verb(&p, STATE_EVENT_RESCUE, &error));
	g_autofree char *sentence = g_strdup_printf(
		"Failed to rescue instance %s for node %s: Validation failed. Error: Driver "
		"fake-hardware does not support rescue (disabled or not implemented).",
		id, p.n->uuid.s);

	g_assert_cmpstr(error->message, ==, sentence);
	g_clear_error(&error);
	g_clear_pointer(&p.n->rescue_interface, g_free);
	p.n->maintenance = true;
	g_assert_false(play_verb(&p, STATE_EVENT_RESCUE, &error));
	g_assert_nonnull(strstr(error->message, "The rescuing operation can't be performed"));
	g_assert_nonnull(strstr(error->message, "maintenance mode"));
	g_assert_null(password_of(&p));
	assert_state(&p, STATE_ACTIVE);
	play_done(&p);
}

/* ---- the last command, whose success closes the agent's port */

static void announce(struct play *p)
{
	struct event ev = play_event(p, EVENT_SENDING);
	struct flow before = play_flow(p), after;

	g_assert_true(play_fold(p, &ev, NULL));
	after = play_flow(p);
	g_assert_cmpint(after.runs, ==, before.runs + 1);
	g_assert_cmpint(after.turn, >, before.turn);
	flow_clear(&before);
	flow_clear(&after);
}

/* Announces an attempt and lets it fail. */
static void attempt(struct play *p, bool unclear, bool refused)
{
	announce(p);
	struct event ev = play_event(p, EVENT_AGENT_REPLY);

	ev.ok = false;
	ev.retry = true;
	ev.unclear = unclear;
	ev.refused = refused;
	ev.reason = refused ? "refused the connection" : "closed the connection";
	g_assert_true(play_fold(p, &ev, NULL));
	p->now.us += 5 * (int64_t)1000000;
}

static void test_lost_answer(void)
{
	struct play p = finalizing();

	attempt(&p, true, false);
	for (unsigned i = 0; i < 2; i++) {
		attempt(&p, false, true);
		g_assert_cmpint(play_phase(&p), ==, PHASE_RESCUE_FINALIZE);
	}
	attempt(&p, false, true);
	g_assert_cmpint(play_phase(&p), ==, PHASE_RESCUE_WITHDRAW);
	play_until(&p, PHASE_NONE);
	assert_state(&p, STATE_RESCUE);
	play_done(&p);
}

/* The conductor was killed behind "about to send": nobody knows whether it was. */
static void test_killed_while_sending(void)
{
	struct play p = finalizing();

	announce(&p);
	for (unsigned i = 0; i < 4; i++)
		attempt(&p, false, true);
	g_assert_cmpint(play_phase(&p), ==, PHASE_RESCUE_WITHDRAW);
	play_done(&p);
}

/* A closed port alone proves nothing: no attempt can have been carried out. */
static void test_port_closed_from_the_start(void)
{
	struct play p = finalizing();

	for (unsigned i = 0; i < phase_info[PHASE_RESCUE_FINALIZE].attempts; i++) {
		g_assert_cmpint(play_phase(&p), ==, PHASE_RESCUE_FINALIZE);
		attempt(&p, false, true);
	}
	assert_state(&p, STATE_RESCUE_FAILED);
	g_assert_nonnull(strstr(p.n->last_error, "Failed to set the rescue password"));
	play_until(&p, PHASE_NONE);
	assert_at_rest(&p);
	play_done(&p);
}

static void test_silence_is_no_success(void)
{
	struct play p = finalizing();

	for (unsigned i = 0; i < 6; i++)
		attempt(&p, true, false);
	for (unsigned i = 0; i < 6; i++)
		attempt(&p, false, false);
	g_assert_cmpint(play_phase(&p), ==, PHASE_RESCUE_FINALIZE);
	play_done(&p);
}

static void test_restart_forgets_attempts(void)
{
	struct play p = finalizing();

	attempt(&p, true, false);
	struct event ev = play_event(&p, EVENT_AGENT_ALIVE);

	ev.restarted = ev.own_agent = true;
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpint(play_phase(&p), ==, PHASE_RESCUE_IDENTIFY);
	play_until(&p, PHASE_RESCUE_FINALIZE);
	struct flow f = play_flow(&p);

	g_assert_cmpint(f.runs, ==, 0);
	flow_clear(&f);
	play_done(&p);
}

/* ---- time limits of the operations */

static void test_patience(void)
{
	static const struct {
		enum provision_state from;
		enum state_event verb;
		enum phase phase;
		unsigned seconds;
	} rows[] = {
		{STATE_AVAILABLE, STATE_EVENT_DEPLOY, PHASE_DEPLOY_CONTACT, 11},
		{STATE_MANAGEABLE, STATE_EVENT_PROVIDE, PHASE_CLEAN_CONTACT, 22},
		{STATE_ACTIVE, STATE_EVENT_RESCUE, PHASE_RESCUE_CONTACT, 33},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct play p = play_new(rows[i].from);

		p.n->automated_clean = 1;
		g_assert_true(play_verb(&p, rows[i].verb, NULL));
		play_until(&p, (enum phase)(rows[i].phase - 1));
		struct event ev = play_event(&p, EVENT_BMC);

		ev.power = POWER_ON;
		ev.limits = (struct flow_limits){.callback_s = 11,
						 .clean_callback_s = 22,
						 .rescue_callback_s = 33,
						 .power_s = 60};
		g_assert_true(play_fold(&p, &ev, NULL));
		struct flow f = play_flow(&p);

		g_assert_cmpint(f.phase, ==, rows[i].phase);
		g_assert_cmpint(f.until.us - f.since.us, ==, (int64_t)rows[i].seconds * 1000000);
		flow_clear(&f);
		play_done(&p);
	}
}

static void test_for_ever(void)
{
	struct play p = play_new(STATE_MANAGEABLE);

	p.n->automated_clean = 1;
	g_assert_true(play_verb(&p, STATE_EVENT_PROVIDE, NULL));
	play_until(&p, PHASE_CLEAN_ON);
	struct event ev = play_event(&p, EVENT_BMC);

	ev.power = POWER_ON;
	ev.limits.clean_callback_s = FLOW_FOREVER;
	g_assert_true(play_fold(&p, &ev, NULL));
	p.now.us += 400 * 86400 * (int64_t)1000000;
	ev = play_event(&p, EVENT_DEADLINE);
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpint(play_phase(&p), ==, PHASE_CLEAN_CONTACT);
	g_autofree char *why = node_why(p.n, p.now);
	g_autoptr(json_t) view = node_flow_view(p.n, p.now);

	g_assert_nonnull(strstr(why, "there is no deadline"));
	g_assert_true(json_is_null(json_object_get(view, "until")));
	play_done(&p);
}

/* ---- the hash */

static void test_hash(void)
{
	static const struct {
		bool sha512;
		const char *prefix;
	} rows[] = {{false, "$5$"}, {true, "$6$"}};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *one = rescue_hash("let me in", rows[i].sha512, NULL);
		g_autofree char *two = rescue_hash("let me in", rows[i].sha512, NULL);

		g_assert_true(g_str_has_prefix(one, rows[i].prefix));
		g_assert_cmpstr(one, !=, two);
		g_assert_cmpstr(crypt("let me in", one), ==, one);
		g_assert_cmpstr(crypt("let me out", one), !=, one);
	}
	g_autofree char *most = g_strnfill(511, 'x');
	g_autofree char *more = g_strnfill(512, 'x');
	g_autofree char *fits = rescue_hash(most, false, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_nonnull(fits);
	g_assert_null(rescue_hash(more, false, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
}

static void test_call(void)
{
	g_autoptr(config) conf = config_new_defaults();
	g_autofree char *folder = g_dir_make_tmp("rescue-XXXXXX", NULL);
	g_autofree char *file = g_build_filename(folder, "key", NULL);
	g_autoptr(seal_key) key = seal_key_load_or_create(file, NULL);
	g_autoptr(node) n = node_new();
	g_autoptr(GError) error = NULL;

	n->uuid = uuid_new();
	g_assert_null(rescue_call_params(conf, key, n, &error));
	g_assert_cmpstr(error->message, ==, "the node has no rescue password");
	g_clear_error(&error);
	g_autofree char *sealed = seal_text(key, n->uuid.s, "let me in");

	json_object_set_new(n->instance_info, "rescue_password", json_string(sealed));
	g_autoptr(json_t) params = rescue_call_params(conf, key, n, &error);

	g_assert_no_error(error);
	g_assert_true(json_is_true(json_object_get(params, "hashed")));
	const char *hash = json_peek_string(params, "rescue_password");

	g_assert_cmpstr(crypt("let me in", hash), ==, hash);
	/* A sealed text that was copied from another node does not open. */
	n->uuid = uuid_new();
	g_assert_null(rescue_call_params(conf, key, n, &error));
	g_assert_nonnull(strstr(error->message, "instance_info.rescue_password"));
	unlink(file);
	rmdir(folder);
}

#define CASE(name, fn) g_test_add_func("/rescue flow/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("a machine is rescued, and stays up with its address", test_rescue);
	CASE("a boot from virtual media inserts and ejects", test_media);
	CASE("unrescuing boots the instance", test_unrescue);
	CASE("a rescued machine is rescued again with a boot of its own", test_again);
	CASE("a rescued machine is undeployed", test_delete);
	CASE("the address of a dead machine is taken back when it is given up",
	     test_address_of_a_dead_machine);
	CASE("a rescue that waits is undeployed", test_delete_while_waiting);
	CASE("power requests leave a rescued node where it is", test_power_of_a_rescued_machine);
	CASE("a rescue that waits is aborted", test_abort);
	CASE("an unrescue that failed is tried again", test_unrescue_fails);
	CASE("what cannot be rescued is refused, and says why", test_refusals);
	CASE("a lost answer and a port that stays closed are success", test_lost_answer);
	CASE("so are an attempt that was cut off by a kill and a closed port",
	     test_killed_while_sending);
	CASE("a port that was closed from the start is a failure", test_port_closed_from_the_start);
	CASE("silence is no success", test_silence_is_no_success);
	CASE("an agent that restarts starts from nothing", test_restart_forgets_attempts);
	CASE("each operation has its own patience", test_patience);
	CASE("without a time limit nothing is failed for silence", test_for_ever);
	CASE("passwords are hashed with a salt of their own", test_hash);
	CASE("the agent is sent the hash and nothing else", test_call);
	return g_test_run();
}
