#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "port.h"
#include "seal.h"

static json_t *parse(const char *text)
{
	g_autoptr(GError) error = NULL;
	json_t *value = json_parse_limited(text, strlen(text), LIMIT_API_BODY, "test", &error);

	g_assert_no_error(error);
	return value;
}

static bool set(struct node *n, unsigned attr, const char *text, GError **error)
{
	g_autoptr(json_t) value = parse(text);

	return attr_from_json(&node_attrs, n, attr, value, error);
}

static void assert_set(struct node *n, unsigned attr, const char *text, const char *expected)
{
	g_autoptr(GError) error = NULL;

	set(n, attr, text, &error);
	g_assert_no_error(error);
	g_autoptr(json_t) value = attr_to_json(&node_attrs, n, attr);
	g_autofree char *printed = json_print_compact(value);

	g_assert_cmpstr(printed, ==, expected);
}

/* Refused with exactly this sentence, and the value is the one from before. */
static void assert_refused(struct node *n, unsigned attr, const char *text, const char *sentence)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(node) before = node_dup(n);

	g_assert_false(set(n, attr, text, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	g_assert_cmpstr(error->message, ==, sentence);
	g_assert_true(attr_is_equal(&node_attrs, before, n, attr));
}

static void test_defaults(void)
{
	g_autoptr(node) n = node_new();
	g_autoptr(port) p = port_new();
	g_autoptr(json_t) shown = attrs_to_json(&node_attrs, n, A_READ, 95, NULL);
	g_autofree char *printed = json_print_compact(shown);

	g_assert_nonnull(strstr(printed, "\"provision_state\":\"enroll\""));
	g_assert_nonnull(strstr(printed, "\"target_provision_state\":null"));
	g_assert_nonnull(strstr(printed, "\"conductor_group\":\"\""));
	g_assert_nonnull(strstr(printed, "\"automated_clean\":null"));
	g_assert_nonnull(strstr(printed, "\"secure_boot\":null"));
	g_assert_nonnull(strstr(printed, "\"driver_info\":{}"));
	g_assert_nonnull(strstr(printed, "\"traits\":[]"));
	g_assert_nonnull(strstr(printed, "\"instance_uuid\":null"));
	g_assert_nonnull(strstr(printed, "\"maintenance\":false"));
	g_assert_true(p->pxe_enabled);
	g_assert_false(uuid_is_set(&n->uuid));
}

static void test_text(void)
{
	g_autoptr(node) n = node_new();
	g_autofree char *longest = g_strnfill(255, 'a');
	g_autofree char *fits = g_strdup_printf("\"%s\"", longest);
	g_autofree char *over = g_strdup_printf("\"%sb\"", longest);

	assert_set(n, NODE_ATTR_name, "\"rack1-u07\"", "\"rack1-u07\"");
	assert_set(n, NODE_ATTR_name, "\"n\\u00e4me\"", "\"n\xc3\xa4me\"");
	assert_set(n, NODE_ATTR_name, "null", "null");
	assert_set(n, NODE_ATTR_conductor_group, "\"west\"", "\"west\"");
	assert_set(n, NODE_ATTR_conductor_group, "null", "\"\"");
	assert_set(n, NODE_ATTR_name, fits, fits);
	assert_refused(n, NODE_ATTR_name, over,
		       "Schema error for node: name is longer than 255 bytes");
	assert_refused(n, NODE_ATTR_name, "5",
		       "Schema error for node: 5 is not of type 'string', 'null'");
	assert_refused(n, NODE_ATTR_name, "[1, true, null, {\"a\": \"it's\"}]",
		       "Schema error for node: [1, True, None, {'a': \"it's\"}] is not of type "
		       "'string', 'null'");
	assert_refused(n, NODE_ATTR_driver, "5",
		       "Schema error for node: 5 is not of type 'string'");
	assert_refused(n, NODE_ATTR_driver, "null",
		       "Schema error for node: None is not of type 'string'");
}

static void test_booleans(void)
{
	g_autoptr(node) n = node_new();

	assert_set(n, NODE_ATTR_maintenance, "true", "true");
	assert_set(n, NODE_ATTR_maintenance, "\"Off\"", "false");
	assert_set(n, NODE_ATTR_maintenance, "\"YES\"", "true");
	assert_set(n, NODE_ATTR_maintenance, "null", "false");
	assert_set(n, NODE_ATTR_automated_clean, "false", "false");
	assert_set(n, NODE_ATTR_automated_clean, "\"1\"", "true");
	assert_set(n, NODE_ATTR_automated_clean, "null", "null");
	assert_refused(n, NODE_ATTR_maintenance, "1",
		       "Schema error for node: 1 is not of type 'string', 'boolean', 'null'");
	assert_refused(n, NODE_ATTR_retired, "\"maybe\"",
		       "Invalid retired: Unrecognized value 'maybe', acceptable values are: '0', "
		       "'1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'");
	g_autoptr(port) p = port_new();
	g_autoptr(json_t) null = json_null();

	p->pxe_enabled = false;
	g_assert_true(attr_from_json(&port_attrs, p, PORT_ATTR_pxe_enabled, null, NULL));
	g_assert_true(p->pxe_enabled);
}

static void test_identifiers(void)
{
	g_autoptr(node) n = node_new();
	g_autoptr(port) p = port_new();
	g_autoptr(GError) error = NULL;

	assert_set(n, NODE_ATTR_instance_uuid, "\"6F1C0AE4-0000-4000-8000-0123456789AB\"",
		   "\"6f1c0ae4-0000-4000-8000-0123456789ab\"");
	assert_set(n, NODE_ATTR_instance_uuid, "null", "null");
	assert_refused(n, NODE_ATTR_uuid, "\"zzz\"", "Expected UUID for uuid: zzz");
	assert_refused(n, NODE_ATTR_uuid, "7",
		       "Schema error for node: 7 is not of type 'string', 'null'");
	g_autoptr(json_t) upper = json_string("AA:BB:CC:DD:EE:01");
	g_assert_true(attr_from_json(&port_attrs, p, PORT_ATTR_address, upper, NULL));
	g_autoptr(json_t) back = attr_to_json(&port_attrs, p, PORT_ATTR_address);
	g_assert_cmpstr(json_string_value(back), ==, "aa:bb:cc:dd:ee:01");
	g_autoptr(json_t) dashes = json_string("aa-bb-cc-dd-ee-01");
	g_assert_false(attr_from_json(&port_attrs, p, PORT_ATTR_address, dashes, &error));
	g_assert_cmpstr(error->message, ==,
			"Expected valid MAC address for address: aa-bb-cc-dd-ee-01");
}

static void test_times(void)
{
	g_autoptr(node) n = node_new();
	static const char *const bad[] = {
		"2026-11-21T19:55:47.438804Z",      "2026-11-21T19:55:47.438804+01:00",
		"2026-11-21 19:55:47.438804+00:00", "2026-02-30T19:55:47.438804+00:00",
		"2026-11-21T19:55:47.43880-+00:00", "1970-01-01T00:00:00.000000+00:00",
		"1969-12-31T23:59:59.999999+00:00", ""};

	assert_set(n, NODE_ATTR_created_at, "\"2026-11-21T19:55:47.438804+00:00\"",
		   "\"2026-11-21T19:55:47.438804+00:00\"");
	g_assert_cmpint(n->created_at.us, ==, INT64_C(1795290947438804));
	assert_set(n, NODE_ATTR_created_at, "\"9999-12-31T23:59:59.000001+00:00\"",
		   "\"9999-12-31T23:59:59.000001+00:00\"");
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *text = g_strdup_printf("\"%s\"", bad[i]);
		g_autofree char *sentence = g_strdup_printf(
			"Expected a time like 2026-11-21T19:55:47.438804+00:00 for created_at: %s",
			bad[i]);

		assert_refused(n, NODE_ATTR_created_at, text, sentence);
	}
	assert_set(n, NODE_ATTR_created_at, "null", "null");
}

static void test_states(void)
{
	g_autoptr(node) n = node_new();

	assert_set(n, NODE_ATTR_provision_state, "\"wait call-back\"", "\"wait call-back\"");
	g_assert_cmpint(n->provision_state, ==, STATE_DEPLOY_WAIT);
	assert_set(n, NODE_ATTR_provision_state, "null", "\"enroll\"");
	assert_set(n, NODE_ATTR_target_provision_state, "\"active\"", "\"active\"");
	assert_set(n, NODE_ATTR_target_provision_state, "null", "null");
	assert_refused(n, NODE_ATTR_provision_state, "\"bogus\"",
		       "Unknown value for provision_state: bogus");
	assert_refused(n, NODE_ATTR_provision_state, "\"\"", "Unknown value for provision_state: ");
}

static void test_json(void)
{
	g_autoptr(node) n = node_new();
	g_autoptr(GError) error = NULL;

	assert_set(n, NODE_ATTR_extra, "{\"b\": [1, 2.5], \"a\": null}",
		   "{\"b\":[1,2.5],\"a\":null}");
	assert_set(n, NODE_ATTR_extra, "null", "{}");
	assert_set(n, NODE_ATTR_traits, "[\"CUSTOM_GPU\"]", "[\"CUSTOM_GPU\"]");
	assert_refused(n, NODE_ATTR_properties, "\"x\"",
		       "Schema error for node: 'x' is not of type 'object', 'null'");
	assert_refused(n, NODE_ATTR_traits, "{}",
		       "Schema error for node: {} is not of type 'array', 'null'");
	assert_refused(n, NODE_ATTR_driver_info, "\"hunter2\"",
		       "Schema error for node: '******' is not of type 'object', 'null'");

	g_autoptr(json_t) deep = json_object();
	for (unsigned i = 1; i <= LIMIT_JSON_DEPTH; i++) {
		json_t *outer = json_object();

		g_assert_true(attr_from_json(&node_attrs, n, NODE_ATTR_extra, deep, NULL));
		json_object_set_new(outer, "x", deep);
		deep = outer;
	}
	g_assert_false(attr_from_json(&node_attrs, n, NODE_ATTR_extra, deep, &error));
	g_assert_cmpstr(error->message, ==, "extra is nested deeper than 32 levels");
	g_clear_error(&error);

	g_autofree char *long_text = g_strnfill(65536, 'x');
	g_autoptr(json_t) large = json_pack("{s:s}", "a", long_text);
	g_assert_false(attr_from_json(&node_attrs, n, NODE_ATTR_clean_step, large, &error));
	g_assert_cmpstr(error->message, ==, "clean_step is larger than 65536 bytes");
	g_assert_true(attr_from_json(&node_attrs, n, NODE_ATTR_extra, large, NULL));
}

static void test_own_copy(void)
{
	g_autoptr(node) n = node_new();
	g_autoptr(json_t) value = parse("{\"a\": {\"b\": 1}}");

	g_assert_true(attr_from_json(&node_attrs, n, NODE_ATTR_extra, value, NULL));
	json_object_set_new(json_object_get(value, "a"), "b", json_integer(2));
	g_autoptr(json_t) out = attr_to_json(&node_attrs, n, NODE_ATTR_extra);
	json_object_set_new(json_object_get(out, "a"), "b", json_integer(3));
	g_autoptr(node) copy = node_dup(n);
	json_object_set_new(json_object_get(copy->extra, "a"), "b", json_integer(4));
	g_assert_cmpint(json_integer_value(json_object_get(json_object_get(n->extra, "a"), "b")),
			==, 1);
}

static void assert_body_refused(const char *text, unsigned flag, unsigned minor,
				enum inox_error code, const char *sentence)
{
	g_autoptr(node) n = node_new();
	g_autoptr(node) fresh = node_new();
	g_autoptr(json_t) body = parse(text);
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	g_assert_false(attrs_from_json(&node_attrs, n, body, flag, minor, changed, &error));
	g_assert_error(error, INOX_ERROR, (int)code);
	g_assert_cmpstr(error->message, ==, sentence);
	g_assert_true(attr_set_is_empty(changed));
	for (unsigned i = 0; i < node_attrs.count; i++)
		g_assert_true(attr_is_equal(&node_attrs, n, fresh, i));
}

static void test_body(void)
{
	g_autoptr(node) n = node_new();
	g_autoptr(json_t) body =
		parse("{\"driver\": \"redfish\", \"name\": \"n1\", \"extra\": {\"a\": 1}}");
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	g_assert_true(attrs_from_json(&node_attrs, n, body, A_CREATE, 5, changed, &error));
	g_assert_cmpstr(n->name, ==, "n1");
	g_assert_true(attr_set_has(changed, NODE_ATTR_driver));
	g_assert_true(attr_set_has(changed, NODE_ATTR_extra));
	g_assert_false(attr_set_has(changed, NODE_ATTR_properties));
	/* A second body changes what it names and keeps the rest. */
	g_autoptr(json_t) patch = parse("{\"extra\": {}, \"name\": null}");
	g_assert_true(attrs_from_json(&node_attrs, n, patch, A_PATCH, 5, changed, &error));
	g_assert_cmpstr(n->driver, ==, "redfish");
	g_assert_null(n->name);
	g_assert_true(attr_set_has(changed, NODE_ATTR_driver));

	assert_body_refused("{\"driver\": \"d\", \"bogus\": 1}", A_CREATE, 82, INOX_ERROR_INVALID,
			    "Schema error for node: Additional properties are not allowed "
			    "('bogus' was unexpected)");
	assert_body_refused("{\"driver\": \"d\", \"a\\n\": 1, \"b\": 1}", A_CREATE, 82,
			    INOX_ERROR_INVALID,
			    "Schema error for node: Additional properties are not allowed "
			    "('a\\x0a', 'b' were unexpected)");
	/* Read-only and hidden ones are as unknown as the rest. */
	assert_body_refused("{\"driver\": \"d\", \"power_state\": null}", A_CREATE, 82,
			    INOX_ERROR_INVALID,
			    "Schema error for node: Additional properties are not allowed "
			    "('power_state' was unexpected)");
	assert_body_refused("{\"agent_token\": \"x\"}", A_PATCH, 82, INOX_ERROR_INVALID,
			    "Schema error for node: Additional properties are not allowed "
			    "('agent_token' was unexpected)");
	assert_body_refused("{\"name\": \"x\"}", A_CREATE, 82, INOX_ERROR_INVALID,
			    "Schema error for node: 'driver' is a required property");
	assert_body_refused("{\"driver\": \"d\", \"extra\": {\"a\": 1}, \"properties\": \"x\"}",
			    A_CREATE, 82, INOX_ERROR_INVALID,
			    "Schema error for node: 'x' is not of type 'object', 'null'");
	assert_body_refused("{\"driver\": \"d\", \"owner\": \"me\"}", A_CREATE, 49,
			    INOX_ERROR_UNSUPPORTED, "Request not acceptable.");
	assert_body_refused("[]", A_CREATE, 82, INOX_ERROR_INVALID,
			    "Schema error for node: [] is not of type 'object'");
}

static void test_projection(void)
{
	g_autoptr(node) n = node_new();
	static const char *const fields[] = {"name", "agent_token", "owner", NULL};
	g_autoptr(json_t) brief = attrs_to_json(&node_attrs, n, A_READ | A_BRIEF, 82, NULL);
	g_autoptr(json_t) nameless = attrs_to_json(&node_attrs, n, A_READ | A_BRIEF, 4, NULL);
	g_autoptr(json_t) some = attrs_to_json(&node_attrs, n, A_READ, 49, fields);
	g_autoptr(json_t) whole = attrs_to_json(&node_attrs, n, A_READ, 999, NULL);
	g_autofree char *printed = json_print_compact(brief);

	g_assert_cmpstr(printed, ==,
			"{\"uuid\":null,\"instance_uuid\":null,\"maintenance\":false,"
			"\"name\":null,\"power_state\":null,\"provision_state\":\"enroll\"}");
	g_assert_null(json_object_get(nameless, "name"));
	g_assert_cmpuint(json_object_size(some), ==, 1);
	g_assert_nonnull(json_object_get(whole, "disable_power_off"));
	g_assert_null(json_object_get(whole, "agent_token"));
	g_assert_null(json_object_get(whole, "flow"));
	g_assert_null(json_object_get(whole, "revision"));
}

static void test_masks(void)
{
	g_autoptr(node) n = node_new();
	static const char *const fields[] = {"driver_info", "extra", "instance_info",
					     "driver_internal_info", NULL};

	assert_set(n, NODE_ATTR_extra, "{\"password\":\"open\"}", "{\"password\":\"open\"}");
	n->instance_info = (json_decref(n->instance_info),
			    parse("{\"image_url\": \"http://u:p@h/i\", \"configdrive\": \"x\"}"));
	n->driver_internal_info = (json_decref(n->driver_internal_info),
				   parse("{\"agent_secret_token\": \"x\", \"clean_steps\": null}"));
	n->driver_info = (json_decref(n->driver_info),
			  parse("{\"redfish_Password\": \"x\", \"token_ttl\": 5,"
				" \"secrets\": [1, 2], \"address\": \"a\","
				" \"secret\": {\"x\": \"y\", \"password\": \"z\"},"
				" \"list\": [{\"password\": \"kept\"}],"
				" \"snmp_priv_key\": \"k\", \"cert\": \"sealed:v1:abc\"}"));
	g_autoptr(json_t) shown = attrs_to_json(&node_attrs, n, A_READ, 82, fields);
	g_autofree char *printed = json_print_compact(shown);

	g_assert_cmpstr(printed, ==,
			"{\"driver_info\":{\"redfish_Password\":\"******\","
			"\"token_ttl\":\"******\",\"secrets\":\"******\",\"address\":\"a\","
			"\"secret\":{\"x\":\"y\",\"password\":\"******\"},"
			"\"list\":[{\"password\":\"kept\"}],\"snmp_priv_key\":\"******\","
			"\"cert\":\"******\"},"
			"\"driver_internal_info\":{\"agent_secret_token\":\"******\","
			"\"clean_steps\":null},\"extra\":{\"password\":\"open\"},"
			"\"instance_info\":{\"image_url\":\"******\","
			"\"configdrive\":\"******\"}}");
	/* Showing changed nothing. */
	g_assert_cmpstr(json_peek_string(n->driver_info, "snmp_priv_key"), ==, "k");

	static const char *const words[] = {"adminPass",    "admin_password", "auth_token",
					    "new_pass",     "secret_uuid",    "sys_pswd",
					    "chapPassword", "private_key",    "fernetkey1",
					    "sslkey",       "passphrase"};
	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		g_assert_true(attr_key_is_secret(words[i]));
	g_assert_false(attr_key_is_secret("redfish_username"));
	g_assert_false(attr_key_is_secret("my_image_url"));
}

static void test_repr(void)
{
	g_autoptr(json_t) value = json_object();
	g_autofree char *long_text = g_strnfill(1000, 'x');

	for (unsigned i = 0; i < 1000; i++) {
		g_autofree char *key = g_strdup_printf("k%u", i);

		json_object_set_new(value, key, json_string("\xc3\xa4\xc3\xa4\xc3\xa4"));
	}
	g_autofree char *shown = attr_repr(value);
	g_assert_cmpuint(strlen(shown), <, 220);
	g_assert_true(g_str_has_suffix(shown, "..."));
	g_assert_true(g_utf8_validate(shown, -1, NULL));
	g_autoptr(json_t) text = json_string(long_text);
	g_autofree char *cut = attr_repr(text);
	g_assert_cmpuint(strlen(cut), <, 220);
}

static bool value_refused(unsigned attr, struct attr_value value, const char *sentence)
{
	g_autoptr(node) n = node_new();
	g_autoptr(GError) error = NULL;

	if (attr_from_value(&node_attrs, n, attr, &value, &error))
		return false;
	g_assert_cmpstr(error->message, ==, sentence);
	return true;
}

#define COLUMN_TEXT(s) \
	((struct attr_value){.type = ATTR_VALUE_TEXT, .text = (s), .length = strlen(s)})
#define COLUMN_INTEGER(i) ((struct attr_value){.type = ATTR_VALUE_INTEGER, .integer = (i)})
#define COLUMN_NULL       ((struct attr_value){.type = ATTR_VALUE_NULL})

static void test_bad_columns(void)
{
	g_assert_true(value_refused(NODE_ATTR_uuid, COLUMN_NULL, "uuid is NULL"));
	g_assert_true(value_refused(NODE_ATTR_extra, COLUMN_NULL, "extra is NULL"));
	g_assert_true(value_refused(NODE_ATTR_maintenance, COLUMN_INTEGER(2),
				    "maintenance is neither 0 nor 1"));
	g_assert_true(value_refused(NODE_ATTR_maintenance, COLUMN_TEXT("1"),
				    "maintenance is a text, not an integer"));
	g_assert_true(
		value_refused(NODE_ATTR_name, COLUMN_INTEGER(2), "name is an integer, not a text"));
	g_assert_true(value_refused(NODE_ATTR_created_at, COLUMN_INTEGER(-5),
				    "created_at is no time of the years 1970 to 9999"));
	g_assert_true(
		value_refused(NODE_ATTR_name, COLUMN_TEXT("\xff"), "name is not valid UTF-8"));
	g_assert_true(value_refused(NODE_ATTR_provision_state, COLUMN_TEXT("lost"),
				    "Unknown value for provision_state: lost"));
	g_assert_true(value_refused(NODE_ATTR_extra, COLUMN_TEXT("[]"),
				    "Schema error for node: [] is not of type 'object', 'null'"));
	g_assert_true(value_refused(
		NODE_ATTR_extra, COLUMN_TEXT("{"),
		"extra is not valid JSON: string or '}' expected near end of file at line 1 "
		"column 1"));
}

static void fill(struct node *n)
{
	n->uuid = uuid_new();
	n->created_at = (struct wall){INT64_C(1795290947438804)};
	n->automated_clean = 0;
	n->name = g_strdup("n\xc3\xa4me");
	n->maintenance = true;
	n->provision_state = STATE_CLEAN_WAIT;
	n->target_provision_state = STATE_AVAILABLE;
	json_object_set_new(n->extra, "a", json_real(0.1));
	json_array_append_new(n->traits, json_string("T"));
	n->boot_epoch = INT64_MAX;
}

static void test_columns_round_trip(void)
{
	g_autoptr(node) n = node_new();
	g_autoptr(node) back = node_new();

	fill(n);
	for (unsigned i = 0; i < node_attrs.count; i++) {
		struct attr_value value;
		g_autofree char *text = NULL;
		g_autoptr(GError) error = NULL;

		g_assert_true(attr_to_value(&node_attrs, n, i, &value, &text, &error));
		g_assert_true(attr_from_value(&node_attrs, back, i, &value, &error));
		g_assert_true(attr_is_equal(&node_attrs, n, back, i));
	}
	/* What could not be read again is not written. */
	struct attr_value value;
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *long_text = g_strnfill(70000, 'x');

	json_object_set_new(n->clean_step, "x", json_string(long_text));
	g_assert_false(attr_to_value(&node_attrs, n, NODE_ATTR_clean_step, &value, &text, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/attr/a new object has the API's defaults", test_defaults);
	g_test_add_func("/attr/texts are limited, and null only where it may be", test_text);
	g_test_add_func("/attr/booleans take Ironic's words and nothing else", test_booleans);
	g_test_add_func("/attr/UUIDs and MAC addresses are stored in lower case", test_identifiers);
	g_test_add_func("/attr/times have one form", test_times);
	g_test_add_func("/attr/states are words of the list", test_states);
	g_test_add_func("/attr/objects and lists are limited in size and depth", test_json);
	g_test_add_func("/attr/an object shares no JSON with its users", test_own_copy);
	g_test_add_func("/attr/a body is taken whole or not at all", test_body);
	g_test_add_func("/attr/views show what flags and microversion allow", test_projection);
	g_test_add_func("/attr/secrets are masked by the word list", test_masks);
	g_test_add_func("/attr/a value in a sentence is cut", test_repr);
	g_test_add_func("/attr/a bad column is refused with its name", test_bad_columns);
	g_test_add_func("/attr/columns read back as what was written", test_columns_round_trip);
	return g_test_run();
}
