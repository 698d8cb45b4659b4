#include <string.h>

#include "dialer_fixture.h"
#include "fingerprint.h"

static void test_first_contact(void)
{
	struct scene s;

	scene_set_up(&s, LOCAL);
	scene_watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.milestone_count == 1);
	g_assert_cmpuint(s.last_milestone, ==, MILESTONE_ADDRESS);
	g_assert_nonnull(strstr(s.last_reason, "refused the connection"));
	scene_serve(&s);
	WAIT_FOR(&s, s.alive_count == 1);
	g_assert_cmpuint(s.alive.epoch, ==, 3);
	g_assert_cmpuint(s.alive.started_ms, ==, 1795291598500u);
	g_assert_false(s.alive.own_agent);
	g_assert_false(s.alive.restarted);
	/* The same refusal is told once. */
	g_assert_cmpuint(s.milestone_count, ==, 1);
	scene_tear_down(&s);
}

static void test_psk(void)
{
	struct scene s;
	struct http_tls_server_options o = {.psk = scene_psk, .ctx = &s};

	scene_set_up(&s, LOCAL);
	s.tls = http_tls_server_new(&o, NULL);
	s.status_body = OWN;
	scene_serve(&s);
	scene_watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_PSK, "");
	WAIT_FOR(&s, s.alive_count == 1);
	g_assert_true(s.alive.own_agent);
	/* At rest one request inside the channel proves the agent. */
	scene_watch(&s, WATCH_IDLE, TRANSPORT_PSK, "");
	s.list_code = 500;
	WAIT_FOR(&s, s.requests >= 4);
	g_assert_cmpuint(s.gone_count, ==, 0);
	scene_tear_down(&s);
}

static void test_pinned(void)
{
	struct scene s;
	g_autofree char *certificate = NULL, *key = NULL;

	g_assert_true(tls_make_certificate("agent", "127.0.0.1", &certificate, &key, NULL));
	struct http_tls_server_options o = {.certificate_pem = certificate, .private_key_pem = key};

	scene_set_up(&s, LOCAL);
	s.tls = http_tls_server_new(&o, NULL);
	s.pin = g_strnfill(64, '0');
	scene_serve(&s);
	scene_watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_PINNED, "");
	WAIT_FOR(&s, s.milestone_count == 1);
	g_assert_nonnull(strstr(s.last_reason, "is not trusted"));
	g_assert_cmpuint(s.requests, ==, 0);
	g_free(s.pin);
	s.pin = fingerprint_of(certificate);
	scene_watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_PINNED, "");
	WAIT_FOR(&s, s.alive_count == 1);
	scene_tear_down(&s);
}

static void watch_and_offer(struct scene *s, enum agent_transport transport)
{
	struct message m = scene_watch_message(s, WATCH_FIRST_CONTACT, transport, "");

	m.dialer_watch.offer = true;
	scene_give(s, &m);
}

static void check_contact(enum agent_transport transport)
{
	struct scene s;
	g_autofree char *certificate = NULL, *key = NULL;
	g_autofree char *done = scene_result("SUCCEEDED", "null");

	g_assert_true(tls_make_certificate("agent", "127.0.0.1", &certificate, &key, NULL));
	struct http_tls_server_options o = {.certificate_pem = certificate,
					    .private_key_pem = key,
					    .psk = scene_psk,
					    .ctx = &s};

	scene_set_up(&s, LOCAL);
	s.tls = transport == TRANSPORT_PSK ? http_tls_server_new(&o, NULL) : NULL;
	s.waits = true;
	s.list_code = s.post_code = 401;
	s.list_body = s.post_body = "{\"faultstring\": \"401 Unauthorized: Token invalid.\"}";
	scene_serve(&s);
	watch_and_offer(&s, transport);
	WAIT_FOR(&s, s.milestone_count == 1);
	g_assert_true(g_str_has_prefix(s.last_reason, "refuses the token: HTTP 401"));
	g_assert_cmpuint(s.last_milestone, ==, MILESTONE_PORT);
	g_assert_cmpuint(s.posts, ==, 1);
	/* The second offer is taken, and there is no third one. */
	s.post_code = 200;
	s.post_body = done;
	s.list_body = LIST;
	WAIT_FOR(&s, s.alive_count == 1);
	g_autofree char *expected = g_strconcat(
		"{\"name\": \"poll.set_node_info\", \"params\": {\"node_info\": {\"node\": "
		"{\"uuid\": \"",
		s.node.s, "\"}, \"config\": {\"agent_token\": \"" TOKEN "\"}}}}", NULL);

	g_assert_cmpstr(s.posted, ==, expected);
	g_assert_cmpuint(s.posts, ==, 2);
	scene_tear_down(&s);
}

static void test_contact(void)
{
	check_contact(TRANSPORT_PSK);
	check_contact(TRANSPORT_HTTP);
}

/* Without the word of the conductor whoever answers is given nothing. */
static void test_no_contact(void)
{
	struct scene s;
	struct message m;

	scene_set_up(&s, LOCAL);
	s.waits = true;
	s.list_code = 401;
	scene_serve(&s);
	scene_watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
	s.waits = false;
	WAIT_FOR(&s, s.requests >= 4);
	g_assert_cmpuint(s.posts, ==, 0);
	m = scene_watch_message(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	m.dialer_watch.offer = true;
	scene_give(&s, &m);
	WAIT_FOR(&s, strstr(s.last_reason, "cannot be given by contact"));
	g_assert_cmpuint(s.posts, ==, 0);
	scene_tear_down(&s);
}

static void test_forbidden_address(void)
{
	struct scene s;

	scene_set_up(&s, "[agent]\nallowed_networks = 0.0.0.0/0\n");
	scene_serve(&s);
	scene_watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.milestone_count == 1);
	g_assert_nonnull(strstr(s.last_reason, "outside [agent]allowed_networks"));
	scene_call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_cmpuint(s.requests, ==, 0);
	scene_tear_down(&s);
}

static void test_strangers(void)
{
	static const struct {
		int code;
		const char *body, *part;
	} strangers[] = {
		{302, "", "redirects"},
		{404, "<html>", "HTTP 404 without a JSON faultstring"},
		{200, "<html>", "not valid JSON"},
		{200, "{\"version\": 7}", "no version"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(strangers); i++) {
		struct scene s;

		scene_set_up(&s, LOCAL);
		s.status_code = strangers[i].code;
		s.status_body = strangers[i].body;
		scene_serve(&s);
		scene_watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
		WAIT_FOR(&s, s.milestone_count == 1);
		g_assert_cmpuint(s.last_milestone, ==, MILESTONE_PORT);
		g_assert_nonnull(strstr(s.last_reason, strangers[i].part));
		scene_tear_down(&s);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dialer/refusals are told once, and the first answer makes an agent alive",
			test_first_contact);
	g_test_add_func("/dialer/inside a PSK channel the status alone proves the agent", test_psk);
	g_test_add_func("/dialer/a certificate that is not the pinned one gets no request",
			test_pinned);
	g_test_add_func("/dialer/an agent that waits for its token is given it once", test_contact);
	g_test_add_func("/dialer/without the word for it nobody is given a token", test_no_contact);
	g_test_add_func("/dialer/an address outside the ranges is not dialled",
			test_forbidden_address);
	g_test_add_func("/dialer/whatever is no agent is named", test_strangers);
	return g_test_run();
}
