/* Active nodes: what look-up and heartbeat are checked with, and what they do to a flow. */
#include "agent_words.h"
#include "certificate.h"
#include "deployment.h"
#include "errors.h"
#include "fold_driver.h"
#include "tls.h"
#include "verifier.h"

#define PIN "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define URL "https://10.77.2.9:9999"

/* ---- the parsers */

static void test_verifier(void)
{
	g_autofree char *one = verifier_new("secret"), *other = verifier_new("secret");
	static const char *const damaged[] = {"", "v1:", "v2:", "v1:00:00", "secret"};

	g_assert_cmpstr(one, !=, other);
	g_assert_null(strstr(one, "secret"));
	g_assert_true(verifier_matches(one, "secret"));
	g_assert_true(verifier_matches(other, "secret"));
	g_assert_false(verifier_matches(one, "secreT"));
	g_assert_false(verifier_matches(one, ""));
	g_assert_false(verifier_matches(one, one));
	g_assert_false(verifier_matches(NULL, "secret"));
	g_assert_false(verifier_matches(one, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(damaged); i++)
		g_assert_false(verifier_matches(damaged[i], "secret"));
	one[10] = one[10] == '0' ? '1' : '0';
	g_assert_false(verifier_matches(one, "secret"));
}

static void test_certificate(void)
{
	g_autofree char *pem = NULL, *key = NULL;
	char pin[CERTIFICATE_PIN_TEXT], again[CERTIFICATE_PIN_TEXT];

	g_assert_true(tls_make_certificate("node", "127.0.0.1", &pem, &key, NULL));
	g_assert_true(certificate_pin(pem, pin, NULL));
	g_assert_cmpuint(strspn(pin, "0123456789abcdef"), ==, 64);
	g_autofree char *blanks = g_strdup_printf("\n  %s \r\n", pem);

	g_assert_true(certificate_pin(blanks, again, NULL));
	g_assert_cmpstr(pin, ==, again);

	g_autofree char *two = g_strconcat(pem, pem, NULL), *with_key = g_strconcat(pem, key, NULL);
	g_autofree char *before = g_strconcat("text\n", pem, NULL);
	g_autofree char *cut = g_strndup(pem, strlen(pem) / 2);
	const char *refused[] = {
		two,
		with_key,
		before,
		cut,
		key,
		"",
		"-----BEGIN CERTIFICATE-----",
		"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"
		"QUJD\n-----END CERTIFICATE-----\n"};

	for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(certificate_pin(refused[i], pin, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

static void test_callback(void)
{
	static const struct {
		const char *text, *shown;
	} taken[] = {{"https://10.0.0.1:9999", "https://10.0.0.1:9999"},
		     {"http://10.0.0.1:80/", "http://10.0.0.1:80"},
		     {"https://[fd00::0001]:9999", "https://[fd00::1]:9999"},
		     {"https://[::ffff:10.0.0.1]:9999", "https://10.0.0.1:9999"}};
	static const char *const refused[] = {"",
					      "10.0.0.1:9999",
					      "ftp://10.0.0.1:9999",
					      "HTTPS://10.0.0.1:9999",
					      "https://",
					      "https:///",
					      "https://10.0.0.1",
					      "https://10.0.0.1:",
					      "https://10.0.0.1:0",
					      "https://10.0.0.1:65536",
					      "https://10.0.0.1:9999//",
					      "https://10.0.0.1:9999/v1",
					      "https://10.0.0.1:9999?x",
					      "https://user@10.0.0.1:9999",
					      "https://10.0.0.1:9999@127.0.0.1:22",
					      "https://machine:9999",
					      "https://0x7f000001:9999",
					      "https://127.1:9999",
					      "https://fd00::1:9999",
					      "https://[10.0.0.1]:9999",
					      "https://[fe80::1%eth0]:9999",
					      "https://10.0.0.1:9999 ",
					      "https://10.0.0.1:+99"};

	for (size_t i = 0; i < G_N_ELEMENTS(taken); i++) {
		struct callback c;

		g_assert_true(callback_parse(taken[i].text, &c, NULL));
		g_autofree char *shown = callback_print(&c);

		g_assert_cmpstr(shown, ==, taken[i].shown);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GError) error = NULL;
		struct callback c;

		g_assert_false(callback_parse(refused[i], &c, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

/* ---- the mode */

static void test_mode(void)
{
	static const struct {
		const char *info;
		bool active, by_lookup;
	} cases[] = {
		{"{}", true, false},
		{"{\"agent_poll_only\": true}", false, false},
		{"{\"agent_poll_only\": \"Yes\"}", false, false},
		{"{\"agent_poll_only\": \"0\"}", true, false},
		{"{\"agent_delivery\": \"lookup\"}", true, true},
		{"{\"agent_delivery\": \"lookup\", \"agent_poll_only\": true}", false, false},
	};
	static const char *const refused[] = {"{\"agent_poll_only\": 1}",
					      "{\"agent_poll_only\": \"maybe\"}",
					      "{\"agent_delivery\": \"post\"}"};
	struct agent_defaults defaults = {.active = true, .api_url = "http://api"};
	struct deployment_mode mode;

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct play p = play_new(STATE_AVAILABLE);

		json_decref(p.n->driver_info);
		p.n->driver_info = json_loads(cases[i].info, 0, NULL);
		g_assert_true(deployment_mode(p.n, &defaults, &mode, NULL));
		g_assert_cmpint(mode.active, ==, cases[i].active);
		g_assert_cmpint(mode.by_lookup, ==, cases[i].by_lookup);
		play_done(&p);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
		struct play p = play_new(STATE_AVAILABLE);
		g_autoptr(GError) error = NULL;

		json_decref(p.n->driver_info);
		p.n->driver_info = json_loads(refused[i], 0, NULL);
		g_assert_false(deployment_mode(p.n, &defaults, &mode, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_nonnull(strstr(error->message, "driver_info.agent_"));
		play_done(&p);
	}
}

static void test_contact_rules(void)
{
	static const struct {
		const char *info;
		bool active, allowed;
		const char *refusal; /* NULL: taken */
	} cases[] = {
		{"{\"agent_delivery\": \"contact\"}", false, true, NULL},
		{"{\"agent_delivery\": \"contact\", \"agent_transport\": \"http\"}", false, true,
		 NULL},
		{"{\"agent_delivery\": \"contact\", \"agent_poll_only\": true}", true, true, NULL},
		{"{\"agent_delivery\": \"contact\"}", false, false, "[agent]allow_first_contact"},
		{"{\"agent_delivery\": \"contact\"}", true, true, "active mode"},
		{"{\"agent_delivery\": \"contact\", \"agent_transport\": \"pinned\"}", false, true,
		 "the transport is pinned"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct agent_defaults defaults = {.active = cases[i].active,
						  .allow_contact = cases[i].allowed,
						  .transport = "psk",
						  .api_url = "http://api"};
		struct play p = play_new(STATE_AVAILABLE);
		struct deployment_mode mode;
		g_autoptr(GError) error = NULL;

		json_decref(p.n->driver_info);
		p.n->driver_info = json_loads(cases[i].info, 0, NULL);
		bool taken = deployment_mode(p.n, &defaults, &mode, &error);

		g_assert_cmpint(taken, ==, !cases[i].refusal);
		g_assert_true(taken ? mode.by_contact
				    : strstr(error->message, cases[i].refusal) != NULL);
		/* As the configuration's default, and what the node says before it. */
		json_object_del(p.n->driver_info, "agent_delivery");
		defaults.by_contact = true;
		g_assert_cmpint(deployment_mode(p.n, &defaults, &mode, NULL), ==, taken);
		json_object_set_new(p.n->driver_info, "agent_delivery", json_string("boot"));
		g_assert_true(deployment_mode(p.n, &defaults, &mode, NULL) && !mode.by_contact);
		play_done(&p);
	}
}

static bool deploy(struct play *p, const struct agent_defaults *agents, GError **error)
{
	struct event ev = play_event(p, EVENT_VERB);

	ev.verb = STATE_EVENT_DEPLOY;
	ev.agents = *agents;
	ev.limits = (struct flow_limits){0};
	return play_fold(p, &ev, error);
}

static void test_active_needs_a_url(void)
{
	const struct agent_defaults no_url = {.active = true};
	const struct agent_defaults closed = {
		.active = true, .closed = true, .api_url = "http://a"};
	struct play p = play_new(STATE_AVAILABLE);
	g_autoptr(GError) error = NULL;

	g_assert_false(deploy(&p, &no_url, &error));
	g_assert_nonnull(strstr(error->message, "[service_catalog]endpoint_override"));
	g_clear_error(&error);
	g_assert_false(deploy(&p, &closed, &error));
	g_assert_nonnull(strstr(error->message, "[api]disable_agent_api"));
	g_assert_cmpint(p.n->provision_state, ==, STATE_AVAILABLE);
	json_object_set_new(p.n->driver_info, "agent_poll_only", json_true());
	g_assert_true(deploy(&p, &no_url, NULL));
	play_done(&p);
}

/* ---- the flow */

/* A node whose boot has begun, at `phase`. */
static struct play play_active(enum phase phase, bool by_lookup)
{
	const struct agent_defaults agents = {.active = true, .api_url = "http://api"};
	struct play p = play_new(STATE_AVAILABLE);

	g_assert_true(deploy(&p, &agents, NULL));
	while (play_phase(&p) != PHASE_DEPLOY_PUBLISH) {
		g_autoptr(json_t) outcome = NULL;
		struct event ev = play_success(&p, &outcome);

		ev.active = true;
		ev.by_lookup = by_lookup;
		g_assert_true(play_fold(&p, &ev, NULL));
	}
	play_until(&p, phase);
	return p;
}

static struct event heartbeat(const struct play *p)
{
	struct event ev = play_event(p, EVENT_AGENT_HEARTBEAT);

	ev.agent_url = URL;
	ev.pin = PIN;
	ev.version = "1.0";
	return ev;
}

static void test_heartbeat(void)
{
	struct play p = play_active(PHASE_DEPLOY_CONTACT, false);
	struct event ev = heartbeat(&p);
	struct flow_boot boot;

	g_assert_cmpstr(p.n->agent_verifier, ==, "v1:verifier");
	g_autofree char *before = node_why(p.n, p.now);

	g_assert_nonnull(strstr(before, "first heartbeat"));
	p.now.us += 600 * (int64_t)1000000;
	ev.now = p.now;
	g_assert_true(play_fold(&p, &ev, NULL));
	struct flow f = play_flow(&p);

	/* It is dialled from here; the dialer's answer is what advances the flow. */
	g_assert_cmpuint(f.phase, ==, PHASE_DEPLOY_CONTACT);
	g_assert_true(f.called);
	g_assert_cmpint(f.until.us, ==, p.now.us + 1800 * (int64_t)1000000);
	flow_clear(&f);
	flow_peek_boot(p.n, &boot);
	g_assert_true(boot.begun && boot.active && boot.powered && !boot.by_lookup);
	g_assert_cmpstr(boot.pin, ==, PIN);
	g_assert_cmpstr(json_peek_string(p.n->driver_internal_info, "agent_url"), ==, URL);
	g_assert_cmpstr(json_peek_string(p.n->driver_internal_info, "agent_version"), ==, "1.0");
	g_autofree char *after = node_why(p.n, p.now);

	g_assert_null(strstr(after, "first heartbeat"));
	/* A second one writes nothing, and later ones do not put the deadline off. */
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_false(p.changed[0] || p.changed[1]);
	p.now.us += 600 * (int64_t)1000000;
	ev.now = p.now;
	g_assert_true(play_fold(&p, &ev, NULL));
	f = play_flow(&p);
	g_assert_cmpint(f.until.us, ==, p.now.us + 1200 * (int64_t)1000000);
	flow_clear(&f);
	play_until(&p, PHASE_NONE);
	g_assert_cmpint(p.n->provision_state, ==, STATE_ACTIVE);
	g_assert_null(p.n->agent_verifier);
	g_assert_cmpstr(p.n->agent_verifier_before, ==, "v1:verifier");
	play_done(&p);
}

static void test_early_heartbeat(void)
{
	struct play p = play_active(PHASE_DEPLOY_ON, false);
	struct event ev = heartbeat(&p);

	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpuint(play_phase(&p), ==, PHASE_DEPLOY_ON);
	play_step(&p);
	struct flow f = play_flow(&p);

	g_assert_cmpuint(f.phase, ==, PHASE_DEPLOY_CONTACT);
	g_assert_true(f.called);
	flow_clear(&f);
	play_done(&p);
}

static void test_foreign_heartbeats(void)
{
	struct play p = play_active(PHASE_DEPLOY_CONTACT, false);
	struct play passive = play_new(STATE_AVAILABLE);
	struct event ev = heartbeat(&p);

	ev.epoch--;
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_false(p.changed[0] || p.changed[1]);
	g_assert_true(play_verb(&passive, STATE_EVENT_DEPLOY, NULL));
	play_until(&passive, PHASE_DEPLOY_CONTACT);
	ev = heartbeat(&passive);
	g_assert_true(play_fold(&passive, &ev, NULL));
	g_assert_false(passive.changed[0] || passive.changed[1]);
	play_done(&p);
	play_done(&passive);
}

static void test_lookup(void)
{
	struct play p = play_active(PHASE_DEPLOY_ON, true);
	struct event ev = play_event(&p, EVENT_AGENT_LOOKUP);

	g_assert_null(p.n->agent_token);
	g_assert_null(p.n->agent_verifier);
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpstr(p.n->agent_token, ==, "sealed:v1:token");
	g_assert_cmpstr(p.n->agent_verifier, ==, "v1:verifier");
	/* The token of a boot is made once, and never when it has ended. */
	ev.fresh_token = "sealed:v1:another";
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpstr(p.n->agent_token, ==, "sealed:v1:token");
	play_until(&p, PHASE_DEPLOY_INSTANCE_ON);
	ev = play_event(&p, EVENT_AGENT_LOOKUP);
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_null(p.n->agent_token);
	play_done(&p);

	/* ... and not at all where the boot data have it. */
	p = play_active(PHASE_DEPLOY_ON, false);
	ev = play_event(&p, EVENT_AGENT_LOOKUP);
	ev.fresh_token = "sealed:v1:another";
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpstr(p.n->agent_token, ==, "sealed:v1:token");
	play_done(&p);
}

static void test_old_token(void)
{
	struct play p = play_active(PHASE_DEPLOY_CONTACT, false);
	struct event ev = play_event(&p, EVENT_AGENT_OLD_TOKEN);

	g_assert_true(play_fold(&p, &ev, NULL));
	g_autofree char *why = node_why(p.n, p.now);

	g_assert_nonnull(strstr(why, "token of an earlier boot"));
	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_false(p.changed[0] || p.changed[1]);
	play_done(&p);
}

static void test_no_heartbeat(void)
{
	struct play p = play_active(PHASE_DEPLOY_CONTACT, false);

	p.now.us += 1801 * (int64_t)1000000;
	struct event ev = play_event(&p, EVENT_DEADLINE);

	g_assert_true(play_fold(&p, &ev, NULL));
	g_assert_cmpint(p.n->provision_state, ==, STATE_DEPLOY_FAILED);
	g_assert_nonnull(strstr(p.n->last_error, "no heartbeat from 10.77.2.9"));
	play_done(&p);
}

#define CASE(name, fn) g_test_add_func("/active node/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("a check value fits its token only", test_verifier);
	CASE("one certificate is taken, and nothing beside it", test_certificate);
	CASE("a callback URL is a scheme, a numeric address and a port", test_callback);
	CASE("driver_info decides the mode before the configuration", test_mode);
	CASE("a token by contact needs the passive mode and a permission", test_contact_rules);
	CASE("an active node without a URL for its agent is not deployed", test_active_needs_a_url);
	CASE("the first heartbeat says where the agent is", test_heartbeat);
	CASE("a heartbeat may come before the BMC says on", test_early_heartbeat);
	CASE("heartbeats of other boots and of passive nodes do nothing", test_foreign_heartbeats);
	CASE("a boot has one token, however often it is looked up", test_lookup);
	CASE("the token of an earlier boot is told to people, once", test_old_token);
	CASE("an agent that never calls fails by name", test_no_heartbeat);
	return g_test_run();
}
