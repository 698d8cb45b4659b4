#include <glib/gstdio.h>
#include <string.h>

#include "answer.h"
#include "attributes.h"
#include "config.h"
#include "errors.h"
#include "hardware.h"
#include "jsons.h"
#include "patch.h"
#include "request.h"
#include "steps_schema.h"
#include "version.h"

/* ---- version */

static unsigned negotiate(const char *header, const char *newer)
{
	unsigned minor = 0;

	g_assert_true(version_negotiate(header, newer, &minor, NULL));
	return minor;
}

static void test_version_taken(void)
{
	g_assert_cmpuint(negotiate(NULL, NULL), ==, 1);
	g_assert_cmpuint(negotiate("1.61", NULL), ==, 61);
	g_assert_cmpuint(negotiate(" 1.61 ", NULL), ==, 61);
	g_assert_cmpuint(negotiate("latest", NULL), ==, API_MINOR_MAX);
	g_assert_cmpuint(negotiate("1.5", "baremetal 1.7"), ==, 7);
	g_assert_cmpuint(negotiate("1.5", "compute 2.90"), ==, 5);
	g_assert_cmpuint(negotiate(NULL, "baremetal 1.7, compute 2.1, baremetal 1.8"), ==, 8);
	g_assert_cmpuint(negotiate(NULL, "baremetals 1.7"), ==, 1);
	g_assert_cmpuint(negotiate(NULL, "baremetal latest"), ==, API_MINOR_MAX);
}

static void test_version_refused(void)
{
	static const struct {
		const char *header, *sentence;
	} cases[] = {
		{"", "*Invalid value for X-OpenStack-Ironic-API-Version*"},
		{"1", "*Invalid value*"},
		{"1.", "*Invalid value*"},
		{"1.x", "*Invalid value*"},
		{"abc", "*Invalid value*"},
		{"-1.5", "*Invalid value*"},
		{"1.5.6", "*Invalid value*"},
		{"1.99999999999999999999", "*Invalid value*"},
		{"1.999", "Version 1.999 was requested but the minor version is not supported*"},
		{"1.0", "Version 1.0 was requested*"},
		{"2.0", "Mutually exclusive versions requested. Version 2.0 requested*"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		unsigned minor = 77;

		g_assert_false(version_negotiate(cases[i].header, NULL, &minor, &error));
		g_assert_error(error, API_ERROR, API_ERROR_VERSION);
		g_assert_true(g_pattern_match_simple(cases[i].sentence, error->message));
		g_assert_cmpuint(minor, ==, 77);
	}
}

/* ---- patch */

static char *apply(const char *document, const char *operations, GError **error)
{
	g_autoptr(json_t) object = json_loads(document, 0, NULL);
	g_autoptr(json_t) body = json_loads(operations, JSON_DECODE_ANY, NULL);

	g_assert_nonnull(object);
	g_assert_nonnull(body);
	g_autoptr(patch) p = patch_parse(body, API_MINOR_MAX, error);

	return p && patch_apply(p, object, error) ? json_print_compact(object) : NULL;
}

static void test_patch_applied(void)
{
	static const struct {
		const char *document, *operations, *result;
	} cases[] = {
		{"{\"a\":1}", "[]", "{\"a\":1}"},
		{"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":null}]",
		 "{\"a\":1,\"b\":null}"},
		{"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":[2]}]",
		 "{\"a\":[2]}"},
		{"{\"a\":{\"b\":1,\"c\":2}}", "[{\"op\":\"remove\",\"path\":\"/a/b\"}]",
		 "{\"a\":{\"c\":2}}"},
		{"{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":3}]",
		 "{\"a\":[1,2,3]}"},
		{"{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/0\",\"value\":3}]",
		 "{\"a\":[3,1,2]}"},
		{"{\"a\":[1,2]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", "{\"a\":[1]}"},
		{"{\"a\":[1,{\"b\":2}]}", "[{\"op\":\"replace\",\"path\":\"/a/1/b\",\"value\":5}]",
		 "{\"a\":[1,{\"b\":5}]}"},
		{"{}",
		 "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{}},"
		 "{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]",
		 "{\"a\":{\"b\":1}}"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *result = apply(cases[i].document, cases[i].operations, &error);

		g_assert_no_error(error);
		g_assert_cmpstr(result, ==, cases[i].result);
	}
}

static void test_patch_escapes(void)
{
	g_autoptr(json_t) body =
		json_loads("[{\"op\":\"add\",\"path\":\"/a/b~1c~0d~01\",\"value\":1}]", 0, NULL);
	g_autoptr(json_t) object = json_loads("{\"a\":{}}", 0, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_null(patch_parse(body, 97, &error));
	g_assert_cmpstr(error->message, ==,
			"Schema error for patch: '/a/b~1c~0d~01' does not match '^(/[\\\\w-]+)+$'");
	g_clear_error(&error);
	g_autoptr(patch) p = patch_parse(body, 98, &error);

	g_assert_no_error(error);
	g_assert_true(patch_apply(p, object, &error));
	g_autofree char *result = json_print_compact(object);

	g_assert_cmpstr(result, ==, "{\"a\":{\"b/c~d~1\":1}}");
}

static void test_patch_refused(void)
{
	static const struct {
		const char *operations, *sentence;
	} cases[] = {
		{"{}", "*not of type 'array'"},
		{"[5]", "*not an object"},
		{"[{\"path\":\"/a\"}]", "*'op' is a required property"},
		{"[{\"op\":\"add\",\"value\":1}]", "*'path' is a required property"},
		{"[{\"op\":5,\"path\":\"/a\"}]", "*'op' is not of type 'string'"},
		{"[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]",
		 "*'test' is not one of ['add', 'replace', 'remove']"},
		{"[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"from\":\"/b\"}]",
		 "*('from' was unexpected)"},
		{"[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", "*'a' does not match*"},
		{"[{\"op\":\"add\",\"path\":\"/\",\"value\":1}]", "*does not match*"},
		{"[{\"op\":\"add\",\"path\":\"/a/\",\"value\":1}]", "*does not match*"},
		{"[{\"op\":\"add\",\"path\":\"/a//b\",\"value\":1}]", "*does not match*"},
		{"[{\"op\":\"add\",\"path\":\"/a.b\",\"value\":1}]", "*does not match*"},
		{"[{\"op\":\"add\",\"path\":\"/a~2b\",\"value\":1}]", "*does not match*"},
		{"[{\"op\":\"add\",\"path\":\"/a~\",\"value\":1}]", "*does not match*"},
		{"[{\"op\":\"add\",\"path\":\"/a\"}]", "*does not contain a 'value' member"},
		{"[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]",
		 "*can't replace a non-existent object 'b'"},
		{"[{\"op\":\"remove\",\"path\":\"/b\"}]",
		 "*can't remove a non-existent object 'b'"},
		{"[{\"op\":\"add\",\"path\":\"/l/9\",\"value\":1}]", "*no list index '9'"},
		{"[{\"op\":\"remove\",\"path\":\"/l/-\"}]", "*no list index '-'"},
		{"[{\"op\":\"remove\",\"path\":\"/l/18446744073709551616\"}]", "*no list index*"},
		{"[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", "*neither object nor list*"},
		{"[{\"op\":\"add\",\"path\":\"/x/y\",\"value\":1}]", "*there is no object 'x'"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *result = apply("{\"a\":1,\"l\":[1]}", cases[i].operations, &error);

		g_assert_null(result);
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_test_message("%s", error->message);
		g_assert_true(g_pattern_match_simple(cases[i].sentence, error->message));
	}
}

static void test_patch_keeps_passwords_to_itself(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(apply("{\"a\":{}}",
			    "[{\"op\":\"replace\",\"path\":\"/a/password\",\"value\":\"hunter2\"}]",
			    &error));
	g_assert_null(strstr(error->message, "hunter2"));
}

static bool patch_node(struct node *n, const char *operations, attr_set changed, GError **error)
{
	g_autoptr(json_t) body = json_loads(operations, 0, NULL);
	g_autoptr(patch) p = patch_parse(body, API_MINOR_MAX, error);
	attr_set removed = {0};

	return p && attributes_check_patch(p, &node_attrs, API_MINOR_MAX, error) &&
	       attributes_patch(p, &node_attrs, n, changed, removed, error);
}

static void test_patch_of_a_node(void)
{
	g_autoptr(node) n = node_new();
	attr_set changed = {0};

	g_assert_true(patch_node(n,
				 "[{\"op\":\"replace\",\"path\":\"/description\",\"value\":\"x\"},"
				 "{\"op\":\"add\",\"path\":\"/extra/a\",\"value\":1},"
				 "{\"op\":\"add\",\"path\":\"/maintenance\",\"value\":\"false\"}]",
				 changed, NULL));
	g_assert_cmpstr(n->description, ==, "x");
	g_assert_true(attr_set_has(changed, NODE_ATTR_description));
	g_assert_true(attr_set_has(changed, NODE_ATTR_extra));
	/* It was false before. */
	g_assert_false(attr_set_has(changed, NODE_ATTR_maintenance));
	g_assert_true(patch_node(n, "[{\"op\":\"remove\",\"path\":\"/extra\"}]", changed, NULL));
	g_assert_cmpuint(json_object_size(n->extra), ==, 0);
}

static void test_patch_of_what_is_not_to_be_patched(void)
{
	static const char *const bad[] = {
		"[{\"op\":\"add\",\"path\":\"/uuid\",\"value\":\"x\"}]",
		"[{\"op\":\"add\",\"path\":\"/agent_token\",\"value\":\"x\"}]",
		"[{\"op\":\"add\",\"path\":\"/flow/phase\",\"value\":\"x\"}]",
		"[{\"op\":\"add\",\"path\":\"/nothing\",\"value\":\"x\"}]",
		"[{\"op\":\"remove\",\"path\":\"/driver\"}]",
		"[{\"op\":\"replace\",\"path\":\"/driver\",\"value\":null}]",
		"[{\"op\":\"replace\",\"path\":\"/extra\",\"value\":5}]",
		"[{\"op\":\"replace\",\"path\":\"/maintenance\",\"value\":\"maybe\"}]",
		"[{\"op\":\"replace\",\"path\":\"/instance_uuid\",\"value\":\"zzz\"}]",
		"[{\"op\":\"add\",\"path\":\"/driver_info/a\",\"value\":\"sealed:v1:AAAA\"}]",
		("[{\"op\":\"add\",\"path\":\"/driver_info/a\",\"value\":[{\"b\":"
		 "\"sealed:v1:AAAA\"}]}]"),
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(node) n = node_new();
		g_autoptr(GError) error = NULL;
		attr_set changed = {0};

		g_assert_false(patch_node(n, bad[i], changed, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

static void test_patch_cannot_nest_without_end(void)
{
	g_autoptr(node) n = node_new();
	g_autoptr(GString) path = g_string_new("/extra");
	attr_set changed = {0};
	unsigned depth = 0;
	bool taken = true;

	while (taken && depth++ < 100) {
		g_string_append(path, "/a");
		g_autofree char *operation = g_strdup_printf(
			"[{\"op\":\"add\",\"path\":\"%s\",\"value\":{}}]", path->str);

		taken = patch_node(n, operation, changed, NULL);
	}
	g_assert_cmpuint(depth, >, 10);
	g_assert_cmpuint(depth, <, 40);
}

/* ---- sealing */

static void test_secrets_are_sealed(void)
{
	g_autofree char *path = g_build_filename(g_get_tmp_dir(), "inox-test-api-key", NULL);
	g_autoptr(seal_key) whole = seal_key_load_or_create(path, NULL);
	g_autoptr(json_t) object =
		json_pack("{s:s, s:s, s:{s:s, s:s}, s:i}", "redfish_password", "hunter2", "address",
			  "10.0.0.1", "deeper", "token", "abc", "plain", "def", "password_age", 5);
	g_autoptr(json_t) sealed = attributes_seal(whole, "node", object);
	g_autoptr(json_t) again = attributes_seal(whole, "node", sealed);
	const char *text = json_peek_string(sealed, "redfish_password");

	g_assert_true(seal_is_sealed(text));
	g_autoptr(secret) opened = seal_open(whole, "node", text, NULL);

	g_assert_cmpstr(secret_peek(opened), ==, "hunter2");
	g_assert_cmpstr(json_peek_string(sealed, "address"), ==, "10.0.0.1");
	g_assert_true(seal_is_sealed(json_peek_string(json_object_get(sealed, "deeper"), "token")));
	g_assert_cmpstr(json_peek_string(json_object_get(sealed, "deeper"), "plain"), ==, "def");
	g_assert_true(json_equal(sealed, again));
	g_assert_true(attributes_hold_sealed(sealed));
	g_assert_false(attributes_hold_sealed(object));
	g_assert_cmpint(g_remove(path), ==, 0);
}

/* ---- answers */

static void test_answers(void)
{
	static const struct {
		int code, status;
	} cases[] = {{INOX_ERROR_INVALID, 400},  {INOX_ERROR_NOT_FOUND, 404},
		     {INOX_ERROR_CONFLICT, 409}, {INOX_ERROR_BUSY, 409},
		     {INOX_ERROR_DENIED, 403},   {INOX_ERROR_UNSUPPORTED, 406}};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = g_error_new(INOX_ERROR, cases[i].code, "a \"b\"");
		struct answer answer = answer_for_error(error);

		g_assert_cmpint(answer.status, ==, cases[i].status);
		g_assert_cmpstr(answer.body, ==,
				"{\"error_message\": \"{\\\"faultcode\\\": \\\"Client\\\", "
				"\\\"faultstring\\\": \\\"a \\\\\\\"b\\\\\\\"\\\", "
				"\\\"debuginfo\\\": null}\"}");
		g_free(answer.body);
	}
}

static void test_inner_failures_stay_inside(void)
{
	g_autoptr(GError) error =
		g_error_new(INOX_ERROR, INOX_ERROR_IO, "/var/lib/inox/x: disk full");
	struct answer answer = answer_for_error(error);

	g_assert_cmpint(answer.status, ==, 500);
	g_assert_null(strstr(answer.body, "/var/lib"));
	g_assert_nonnull(strstr(answer.body, "Server"));
	g_free(answer.body);
}

/* ---- routes and words */

static void test_routes(void)
{
	static const struct {
		const char *method, *path, *found, *ident, *detail, *allowed;
	} cases[] = {
		{"GET", "/", "/", NULL, NULL, NULL},
		{"GET", "/v1/", "/v1", NULL, NULL, NULL},
		{"GET", "/v1/nodes/", "/v1/nodes", NULL, NULL, NULL},
		{"GET", "/nodes/a", "/v1/nodes/{}", "a", NULL, NULL},
		{"GET", "/v1/nodes/detail", "/v1/nodes/detail", NULL, NULL, NULL},
		{"PUT", "/v1/nodes/a/traits/B", "/v1/nodes/{}/traits/{}", "a", "B", NULL},
		{"GET", "/v1/nodes/a/bogus", "/v1/nodes/{}/{}", "a", "bogus", NULL},
		{"DELETE", "/v1/nodes", NULL, NULL, NULL, "GET, POST"},
		{"GET", "/v1/nodes/a/maintenance", NULL, NULL, NULL, "PUT, DELETE"},
		{"GET", "/v1/nodes/a/b/c/d", NULL, NULL, NULL, NULL},
		{"GET", "/v1//nodes", NULL, NULL, NULL, NULL},
		{"GET", "/v2/nodes", NULL, NULL, NULL, NULL},
		{"GET", "v1/nodes", NULL, NULL, NULL, NULL},
		{"GET", "", NULL, NULL, NULL, NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *ident = NULL, *detail = NULL, *allowed = NULL;
		const struct route *r =
			route_find(cases[i].method, cases[i].path, &ident, &detail, &allowed);

		g_assert_cmpstr(r ? r->path : NULL, ==, cases[i].found);
		g_assert_cmpstr(ident, ==, cases[i].ident);
		g_assert_cmpstr(detail, ==, cases[i].detail);
		g_assert_cmpstr(allowed, ==, cases[i].allowed);
	}
}

/* A route that a variable one hides would never be reached. */
static void test_each_route_is_reachable(void)
{
	for (unsigned i = 0; i < api_route_count; i++) {
		g_autofree char *ident = NULL, *detail = NULL, *allowed = NULL;
		g_auto(GStrv) parts = g_strsplit(api_routes[i].path, "{}", -1);
		g_autofree char *path = g_strjoinv("some", parts);

		g_assert_true(route_find(api_routes[i].method, path, &ident, &detail, &allowed) ==
			      &api_routes[i]);
	}
}

static void test_names(void)
{
	g_assert_true(request_is_name("metal3~host-0", API_MINOR_MAX));
	g_assert_false(request_is_name("metal3~host-0", 9));
	g_assert_true(request_is_name("rack1.u07", 9));
	g_assert_false(request_is_name("", API_MINOR_MAX));
	g_assert_false(request_is_name("a b", API_MINOR_MAX));
	g_assert_false(request_is_name("a/b", API_MINOR_MAX));
	g_assert_false(request_is_name("\xc3\xa4", API_MINOR_MAX));
	g_assert_false(request_is_name("6f1c0ae4-0000-4000-8000-0123456789AB", API_MINOR_MAX));
	g_assert_false(request_is_name("6f1c0ae40000400080000123456789ab", API_MINOR_MAX));
	g_autofree char *longest = g_strnfill(255, 'a'), *longer = g_strnfill(256, 'a');

	g_assert_true(request_is_name(longest, API_MINOR_MAX));
	g_assert_false(request_is_name(longer, API_MINOR_MAX));
}

static void test_word_lists(void)
{
	g_auto(GStrv) names = request_parse_names(" uuid,Name,,uuid , extra");

	g_assert_cmpuint(g_strv_length(names), ==, 3);
	g_assert_cmpstr(names[1], ==, "name");
	g_assert_true(word_in_list("a,bc,d", "bc"));
	g_assert_true(word_in_list("a,bc,d", "d"));
	g_assert_false(word_in_list("a,bc,d", "b"));
	g_assert_false(word_in_list("a,bc,d", "a,bc"));
	g_assert_false(word_in_list("a,bc,d", ""));
	g_assert_false(word_in_list(NULL, "a"));
}

/* ---- hardware */

static void test_interfaces(void)
{
	g_autoptr(config) c = config_new_defaults();
	const struct hardware_type *h = hardware_find(c, "redfish");
	g_autoptr(node) n = node_new();
	attr_set changed = {0};
	g_autoptr(GError) error = NULL;

	g_assert_null(hardware_find(c, "ilo"));
	g_assert_true(hardware_check_config(c, NULL));
	g_assert_true(hardware_settle(c, h, n, changed, NULL));
	g_assert_cmpstr(n->power_interface, ==, "redfish");
	g_assert_cmpstr(n->rescue_interface, ==, "agent");
	g_assert_true(attr_set_has(changed, NODE_ATTR_boot_interface));
	g_free(n->power_interface);
	n->power_interface = g_strdup("fake");
	g_assert_false(hardware_settle(c, h, n, changed, &error));
	g_assert_cmpstr(error->message, ==,
			"power interface implementation 'fake' is not supported by hardware type "
			"redfish.");
	g_free(n->driver);
	n->driver = g_strdup("redfish");
	g_autofree char *problem = hardware_problem(
		h, HARDWARE_POWER, n, &(const struct agent_defaults){.active = false});

	g_assert_nonnull(strstr(problem, "redfish_address"));
}

static void test_steps(void)
{
	static const char *const bad[] = {
		"{\"clean_steps\": {}}",
		"{\"clean_steps\": [1]}",
		"{\"clean_steps\": [{\"interface\": \"raid\"}]}",
		"{\"clean_steps\": [{\"interface\": \"x\", \"step\": \"a\"}]}",
		"{\"clean_steps\": [{\"interface\": \"raid\", \"step\": \"\"}]}",
		"{\"clean_steps\": [{\"interface\": \"raid\", \"step\": \"a\", \"args\": 1}]}",
		"{\"clean_steps\": [{\"interface\": \"raid\", \"step\": \"a\", \"b\": 1}]}",
		"{\"deploy_steps\": [{\"interface\": \"deploy\", \"step\": \"a\"}]}",
		("{\"deploy_steps\": [{\"interface\": \"deploy\", \"step\": \"a\", \"args\": {}, "
		 "\"priority\": -1}]}"),
	};
	g_autoptr(json_t) good = json_loads(
		"{\"clean_steps\": [{\"interface\": \"raid\", \"step\": \"a\"}], \"deploy_steps\": "
		"[{\"interface\": \"deploy\", \"step\": \"a\", \"args\": {}, \"priority\": \"80\"}]}",
		0, NULL);

	g_assert_true(steps_check(good, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(json_t) body = json_loads(bad[i], 0, NULL);
		g_autoptr(GError) error = NULL;

		g_assert_false(steps_check(body, &error));
		g_assert_true(g_str_has_prefix(error->message, "Invalid "));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/version/headers are negotiated", test_version_taken);
	g_test_add_func("/version/what is no version in range is refused", test_version_refused);
	g_test_add_func("/patch/add, replace and remove", test_patch_applied);
	g_test_add_func("/patch/~0 and ~1 stand for ~ and slash from 1.98 on", test_patch_escapes);
	g_test_add_func("/patch/each mistake has its sentence", test_patch_refused);
	g_test_add_func("/patch/a refusal does not repeat the value",
			test_patch_keeps_passwords_to_itself);
	g_test_add_func("/patch/a node changes where it was patched", test_patch_of_a_node);
	g_test_add_func("/patch/read-only, hidden and required attributes are kept",
			test_patch_of_what_is_not_to_be_patched);
	g_test_add_func("/patch/many patches cannot nest without end",
			test_patch_cannot_nest_without_end);
	g_test_add_func("/seal/secrets of driver_info are sealed, once", test_secrets_are_sealed);
	g_test_add_func("/answer/an error has its status and is encoded twice", test_answers);
	g_test_add_func("/answer/what failed inside is for the log only",
			test_inner_failures_stay_inside);
	g_test_add_func("/route/paths find their route", test_routes);
	g_test_add_func("/route/no route hides another", test_each_route_is_reachable);
	g_test_add_func("/words/names of nodes", test_names);
	g_test_add_func("/words/comma lists", test_word_lists);
	g_test_add_func("/hardware/interfaces get defaults and are checked", test_interfaces);
	g_test_add_func("/steps/the shape of steps is checked", test_steps);
	return g_test_run();
}
