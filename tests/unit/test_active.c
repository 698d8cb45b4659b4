/* The parts of the active mode that need neither a socket nor a clock. */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "active_adopt.h"
#include "active_timing.h"
#include "api_text.h"
#include "errors.h"
#include "kept.h"

#define TOKEN "0123456789abcdefghijABCDEFGHIJ0123456789abc"
#define OTHER "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkj"
#define NODE  "6d85703a-565d-469a-96ce-30b6de53079d"

/* ---- waits */

static void assert_ms(struct span s, int64_t ms)
{
	g_assert_cmpint(s.us / 1000, ==, ms);
}

static void test_lookup_waits(void)
{
	static const int64_t most_ms[] = {2000, 4000, 8000, 16000, 32000, 60000, 60000};
	struct lookup_pace shortest = {.least_s = 1}, longest = {.least_s = 1};

	for (size_t i = 0; i < G_N_ELEMENTS(most_ms); i++) {
		assert_ms(lookup_pace_next(&shortest, false, 0), 1000);
		assert_ms(lookup_pace_next(&longest, false, 1), most_ms[i]);
	}
	for (unsigned i = 0; i < 100; i++)
		assert_ms(lookup_pace_next(&longest, false, 0.5), 30500);
}

static void test_lookup_conflicts(void)
{
	struct lookup_pace p = {.least_s = 1};

	assert_ms(lookup_pace_next(&p, true, 0), 6000);
	assert_ms(lookup_pace_next(&p, false, 0), 1000);
	assert_ms(lookup_pace_next(&p, true, 0), 11000);
	assert_ms(lookup_pace_next(&p, true, 0), 31000);
	assert_ms(lookup_pace_next(&p, true, 0), 31000);
}

static void test_lookup_long_interval(void)
{
	struct lookup_pace p = {.least_s = 3600};

	assert_ms(lookup_pace_next(&p, false, 0), 3600000);
	assert_ms(lookup_pace_next(&p, false, 1), 3600000);
}

static void test_heartbeat_pauses(void)
{
	assert_ms(heartbeat_pause(300, true, 0), 90000);
	assert_ms(heartbeat_pause(300, true, 1), 180000);
	assert_ms(heartbeat_pause(300, false, 0), 5000);
	assert_ms(heartbeat_pause(300, false, 1), 10000);
}

/* ---- answers */

static bool parse(const char *text, struct lookup_answer *a, GError **error)
{
	return lookup_answer_parse(text, strlen(text), a, error);
}

static void test_lookup_answer(void)
{
	g_auto(lookup_answer) a = {.node_json = NULL};

	g_assert_true(parse("{\"node\": {\"uuid\": \"" NODE "\", \"x\": 1}, \"config\": "
			    "{\"heartbeat_timeout\": 300, \"agent_token\": \"" TOKEN "\"}}",
			    &a, NULL));
	g_assert_cmpstr(a.node.s, ==, NODE);
	g_assert_cmpuint(json_object_size(a.node_json), ==, 2);
	g_assert_true(secret_equal(a.token, TOKEN, strlen(TOKEN)));
	g_assert_false(a.token_masked);
	g_assert_cmpuint(a.heartbeat_timeout_s, ==, 300);
}

static void test_lookup_tokens(void)
{
	static const struct {
		const char *token;
		bool masked;
	} cases[] = {
		{"null", false},
		{"7", false},
		{"\"short\"", false},
		{"\"0123456789012345678901234567890\"", false}, /* 31 */
		{"\"01234567890123456789 01234567890123456789\"", false},
		{"\"******\"", true},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(lookup_answer) a = {.node_json = NULL};
		g_autofree char *text =
			g_strdup_printf("{\"node\": {\"uuid\": \"" NODE "\"}, \"config\": "
					"{\"heartbeat_timeout\": 1, \"agent_token\": %s}}",
					cases[i].token);

		g_assert_true(parse(text, &a, NULL));
		g_assert_null(a.token);
		g_assert_cmpint(a.token_masked, ==, cases[i].masked);
	}
}

static void test_lookup_refusals(void)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"node\": {}, \"config\": {\"heartbeat_timeout\": 300}}",
		"{\"node\": {\"uuid\": \"x\"}, \"config\": {\"heartbeat_timeout\": 300}}",
		"{\"node\": {\"uuid\": \"" NODE "\"}, \"config\": {}}",
		"{\"node\": {\"uuid\": \"" NODE "\"}, \"config\": {\"heartbeat_timeout\": 0}}",
		"{\"node\": {\"uuid\": \"" NODE "\"}, \"config\": {\"heartbeat_timeout\": 86401}}",
		"{\"node\": {\"uuid\": \"" NODE
		"\"}, \"config\": {\"heartbeat_timeout\": \"300\", \"agent_token\": \"" TOKEN
		"\"}}",
		"{\"config\": {\"agent_token\": \"" TOKEN "\", \"agent_token\": \"" TOKEN "\"}}",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct lookup_answer a = {.node_json = NULL};
		g_autoptr(GError) error = NULL;

		g_assert_false(parse(bad[i], &a, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_null(strstr(error->message, TOKEN));
		g_assert_null(a.node_json);
	}
}

static void test_old_lookup_answer(void)
{
	g_auto(lookup_answer) a = {.node_json = NULL};

	g_assert_true(
		parse("{\"node\": {\"uuid\": \"" NODE "\"}, \"heartbeat_timeout\": 30}", &a, NULL));
	g_assert_cmpuint(a.heartbeat_timeout_s, ==, 30);
	g_assert_null(a.token);
}

static void test_minor(void)
{
	static const struct {
		const char *text;
		unsigned minor;
	} cases[] = {
		{"{\"default_version\": {\"version\": \"1.82\"}}", 82},
		{"{\"default_version\": {\"version\": \"2.1\"}}", API_MINOR_UNKNOWN},
		{"{\"default_version\": {\"version\": \"1.82x\"}}", API_MINOR_UNKNOWN},
		{"{\"default_version\": \"1.82\"}", API_MINOR_UNKNOWN},
		{"nonsense", API_MINOR_UNKNOWN},
		{"", API_MINOR_UNKNOWN},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpuint(api_text_minor(cases[i].text, strlen(cases[i].text)), ==,
				 cases[i].minor);
}

static void assert_fault(const char *body, const char *expected)
{
	g_autofree char *text = api_text_fault(body, strlen(body));

	g_assert_cmpstr(text, ==, expected);
}

static void test_faults(void)
{
	assert_fault("{\"error_message\": \"{\\\"faultstring\\\": \\\"no such node\\\"}\"}",
		     "no such node");
	assert_fault("{\"error_message\": {\"faultstring\": \"locked\"}}", "locked");
	assert_fault("{\"title\": \"gone\\nforged\"}", "gone?forged");
	assert_fault("{\"error_message\": \"plain\"}", NULL);
	assert_fault("<html>", NULL);
}

/* ---- adopting */

static char *make_root(void)
{
	return g_dir_make_tmp("inox-active-XXXXXX", NULL);
}

static void remove_root(char *root)
{
	static const char *const names[] = {"run/inox/" KEPT_TOKEN, "run/inox/" KEPT_CERTIFICATE,
					    "run/inox", "run", ""};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(root, names[i], NULL);

		g_remove(path);
	}
	g_free(root);
}

static void setup_agent(struct agent *a, const char *boot_token)
{
	*a = (struct agent){.options = {.root = make_root(), .transport = TRANSPORT_HTTP}};
	a->options.token = secret_new(boot_token);
	g_assert_true(endpoint_parse("0.0.0.0", 9999, &a->options.listen, NULL));
	agent_set_token(a, a->options.token);
}

static void clear_agent(struct agent *a)
{
	remove_root(g_steal_pointer(&a->options.root));
	json_decref(a->node);
	secret_free(a->token);
	agent_options_clear(&a->options);
}

/* Adopts an answer with this token; what is adopted goes to *ret. */
static bool adopt(struct agent *a, const char *token, const char *own, struct adopted *ret,
		  GError **error)
{
	g_autofree char *text = g_strdup_printf("{\"node\": {\"uuid\": \"" NODE "\"}, \"config\": "
						"{\"heartbeat_timeout\": 60, \"agent_token\": "
						"\"%s\"}}",
						token);
	struct finding f = {.own_address = own};

	g_assert_true(parse(text, &f.answer, NULL));
	bool good = active_adopt(a, &f, ret, error);

	lookup_answer_clear(&f.answer);
	return good;
}

static void test_adopt_token(void)
{
	struct agent a, again;
	struct adopted found = {.callback_url = NULL};

	setup_agent(&a, NULL);
	g_assert_true(adopt(&a, TOKEN, "192.0.2.7", &found, NULL));
	g_assert_true(agent_is_authorized(&a, TOKEN, NULL));
	g_assert_cmpstr(found.callback_url, ==, "http://192.0.2.7:9999");
	g_assert_cmpstr(found.node.s, ==, NODE);
	g_assert_cmpuint(found.heartbeat_timeout_s, ==, 60);
	/* A masked one changes nothing, a new one everything. */
	g_assert_true(adopt(&a, "******", "2001:db8::7", &found, NULL));
	g_assert_cmpstr(found.callback_url, ==, "http://[2001:db8::7]:9999");
	g_assert_true(agent_is_authorized(&a, TOKEN, NULL));
	g_assert_true(adopt(&a, OTHER, "192.0.2.7", &found, NULL));
	g_assert_true(agent_is_authorized(&a, OTHER, NULL));
	g_assert_false(agent_is_authorized(&a, TOKEN, NULL));
	/* The next start of the program knows it. */
	setup_agent(&again, NULL);
	remove_root(again.options.root);
	again.options.root = g_strdup(a.options.root);
	active_restore(&again);
	g_assert_true(agent_is_authorized(&again, OTHER, NULL));
	g_free(g_steal_pointer(&again.options.root));
	again.options.root = make_root();
	clear_agent(&again);
	clear_agent(&a);
	adopted_clear(&found);
}

static void test_adopt_boot_token(void)
{
	struct agent a;
	struct adopted found = {.callback_url = NULL};
	char *kept;

	setup_agent(&a, TOKEN);
	g_assert_true(adopt(&a, OTHER, "192.0.2.7", &found, NULL));
	g_assert_true(agent_is_authorized(&a, TOKEN, NULL));
	g_assert_false(agent_is_authorized(&a, OTHER, NULL));
	kept = kept_read(a.options.root, KEPT_TOKEN);
	g_assert_null(kept);
	clear_agent(&a);
	adopted_clear(&found);
}

static void test_adopt_nothing(void)
{
	static const char *const own[] = {"", "fe80::1", "fe80::1%eth0"};
	struct agent a;
	struct adopted found = {.callback_url = NULL};

	setup_agent(&a, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(own); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(adopt(&a, TOKEN, own[i], &found, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_null(a.token);
	}
	g_autoptr(GError) error = NULL;

	g_assert_false(adopt(&a, "******", "192.0.2.7", &found, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_DENIED);
	g_assert_null(found.callback_url);
	g_assert_null(a.node);
	a.options.active.advertise_host = g_strdup("node-7.example");
	a.options.active.advertise_port = 443;
	a.options.active.advertise_protocol = g_strdup("https");
	g_assert_true(adopt(&a, TOKEN, "", &found, NULL));
	g_assert_cmpstr(found.callback_url, ==, "https://node-7.example:443");
	clear_agent(&a);
	adopted_clear(&found);
}

/* ---- kept files */

static void test_kept(void)
{
	char *root = make_root();
	g_autofree char *path = g_build_filename(root, "run/inox", KEPT_TOKEN, NULL);
	struct stat st;
	char *text = kept_read(root, KEPT_TOKEN);

	g_assert_null(text);
	kept_write(root, KEPT_TOKEN, "one");
	kept_write(root, KEPT_TOKEN, "two");
	text = kept_read(root, KEPT_TOKEN);
	g_assert_cmpstr(text, ==, "two");
	secret_wipe_text(text);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 0777, ==, 0600);
	/* One that others could have written or read is nobody's. */
	g_assert_cmpint(chmod(path, 0644), ==, 0);
	g_assert_null(kept_read(root, KEPT_TOKEN));
	remove_root(root);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/active/waits/look-ups slow down to a minute", test_lookup_waits);
	g_test_add_func("/active/waits/a locked node is left alone for longer",
			test_lookup_conflicts);
	g_test_add_func("/active/waits/a long interval is kept", test_lookup_long_interval);
	g_test_add_func("/active/waits/heartbeats come in time, and soon after a failure",
			test_heartbeat_pauses);
	g_test_add_func("/active/answers/a look-up is read", test_lookup_answer);
	g_test_add_func("/active/answers/only what can be a token is one", test_lookup_tokens);
	g_test_add_func("/active/answers/what is wrong is refused without its values",
			test_lookup_refusals);
	g_test_add_func("/active/answers/a very old look-up is read", test_old_lookup_answer);
	g_test_add_func("/active/answers/an API without a version is an old one", test_minor);
	g_test_add_func("/active/answers/each form of a fault has its sentence", test_faults);
	g_test_add_func("/active/adopt/the token of the look-up is taken and kept",
			test_adopt_token);
	g_test_add_func("/active/adopt/the token of the boot stays", test_adopt_boot_token);
	g_test_add_func("/active/adopt/without token or address nothing is taken",
			test_adopt_nothing);
	g_test_add_func("/active/kept/files are ours alone", test_kept);
	return g_test_run();
}
