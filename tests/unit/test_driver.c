#include <string.h>

#include "driver.h"
#include "errors.h"
#include "jsons.h"
#include "redfish_client.h"
#include "redfish_parse.h"
#include "redfish_session.h"
#include "redfish_slot.h"

static const char system_text[] =
	"{\"@odata.id\": \"/redfish/v1/Systems/1\", \"@odata.etag\": \"W/\\\"7\\\"\","
	" \"PowerState\": \"PoweringOn\", \"Manufacturer\": \"Super Micro Supermicro\","
	" \"Boot\": {\"BootSourceOverrideEnabled\": \"Once\", \"BootSourceOverrideMode\": \"UEFI\","
	"  \"BootSourceOverrideTarget@Redfish.AllowableValues\": [\"None\", \"Pxe\", \"Hdd\"]},"
	" \"Actions\": {\"#ComputerSystem.Reset\": {\"target\": \"/redfish/v1/Systems/1/r\","
	"  \"ResetType@Redfish.AllowableValues\": [\"On\", \"ForceOff\", \"PowerCycle\", \"Nmi\"]}}}";

static void test_system(void)
{
	g_auto(redfish_system) s = {0};

	g_assert_true(redfish_parse_system(system_text, strlen(system_text), &s, NULL));
	g_assert_cmpint(s.power, ==, POWER_ON);
	g_assert_cmpint(s.mode, ==, BOOT_MODE_UEFI);
	g_assert_cmpint(s.enabled, ==, OVERRIDE_ONCE);
	g_assert_cmpstr(s.etag, ==, "W/\"7\"");
	g_assert_cmpstr(s.reset_target, ==, "/redfish/v1/Systems/1/r");
	g_assert_cmpuint(s.quirks, ==, QUIRK_ALWAYS_ENABLED | QUIRK_USB_CD);
	g_assert_cmpuint(s.resets.mask, ==,
			 1u << RESET_ON | 1u << RESET_FORCE_OFF | 1u << RESET_POWER_CYCLE);
	g_assert_cmpstr(s.resets.text, ==, "On, ForceOff, PowerCycle, Nmi");
}

static void test_other_resources(void)
{
	static const struct {
		const char *text;
		enum inox_error code;
	} bad[] = {
		{"", INOX_ERROR_PEER},
		{"<html>", INOX_ERROR_PEER},
		{"[]", INOX_ERROR_PEER},
		{"{\"a\": 1, \"a\": 2}", INOX_ERROR_PEER},
		{"{}", INOX_ERROR_PEER},
		{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", INOX_ERROR_LIMIT},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		struct redfish_system s;

		g_assert_false(redfish_parse_system(bad[i].text, strlen(bad[i].text), &s, &error));
		g_assert_error(error, INOX_ERROR, (int)bad[i].code);
	}
	/* null is a power state that the BMC cannot tell at the moment. */
	g_auto(redfish_system) s = {0};

	g_assert_true(redfish_parse_system("{\"PowerState\": null}", 20, &s, NULL));
	g_assert_cmpint(s.power, ==, POWER_UNKNOWN);
}

static void test_root_and_collection(void)
{
	static const char root_text[] =
		"{\"Systems\": {\"@odata.id\": \"http://10.0.0.9/redfish\"},"
		" \"Links\": {\"Sessions\": {\"@odata.id\": \"/redfish/v1/Sessions\"}}}";
	static const char list_text[] =
		"{\"Members@odata.count\": 3, \"Members\": [{\"@odata.id\": \"/redfish/v1/Systems/a\"}]}";
	g_auto(redfish_root) root = {0};
	g_auto(redfish_collection) list = {0};

	g_assert_true(redfish_parse_root(root_text, strlen(root_text), &root, NULL));
	g_assert_null(root.systems); /* leads to another machine */
	g_assert_cmpstr(root.sessions, ==, "/redfish/v1/Sessions");
	g_assert_true(redfish_parse_collection(list_text, strlen(list_text), &list, NULL));
	g_assert_cmpuint(list.count, ==, 3);
	g_assert_cmpstr(list.first, ==, "/redfish/v1/Systems/a");
	struct redfish_collection none;
	g_assert_false(redfish_parse_collection("{}", 2, &none, NULL));
}

static void test_links(void)
{
	static const char *const good[] = {"/", "/redfish/v1/", "/redfish/v1/Systems/1%201",
					   "/a..b/c"};
	static const char *const bad[] = {"",        "redfish",    "//10.0.0.9/x", "http://a/",
					  "/a/../b", "/a/..",      "/a b",         "/a?b",
					  "/a#b",    "/a\r\nX: y", "/a\\b",        "/./a"};

	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++)
		g_assert_true(redfish_link_is_valid(good[i]));
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(redfish_link_is_valid(bad[i]));
	g_assert_false(redfish_link_is_valid(NULL));
}

static void test_reset_table(void)
{
	static const unsigned all = (1u << RESET_TYPE_COUNT) - 1;
	static const struct {
		enum power_state power;
		enum power_target target;
		unsigned offered;
		enum reset_type type;
	} rows[] = {
		{POWER_OFF, TARGET_POWER_ON, all, RESET_ON},
		{POWER_OFF, TARGET_POWER_ON, 1u << RESET_FORCE_ON, RESET_FORCE_ON},
		{POWER_ON, TARGET_POWER_ON, all, RESET_NOTHING},
		{POWER_UNKNOWN, TARGET_POWER_ON, all, RESET_ON},
		{POWER_ON, TARGET_POWER_OFF, all, RESET_FORCE_OFF},
		{POWER_OFF, TARGET_POWER_OFF, 0, RESET_NOTHING},
		{POWER_UNKNOWN, TARGET_POWER_OFF, all, RESET_FORCE_OFF},
		{POWER_ON, TARGET_REBOOT, all, RESET_FORCE_RESTART},
		{POWER_ON, TARGET_REBOOT, 1u << RESET_POWER_CYCLE, RESET_POWER_CYCLE},
		{POWER_OFF, TARGET_REBOOT, all, RESET_ON},
		{POWER_ON, TARGET_SOFT_POWER_OFF, all, RESET_GRACEFUL_SHUTDOWN},
		{POWER_OFF, TARGET_SOFT_POWER_OFF, all, RESET_NOTHING},
		{POWER_ON, TARGET_SOFT_REBOOT, all, RESET_GRACEFUL_RESTART},
		{POWER_OFF, TARGET_SOFT_REBOOT, all, RESET_ON},
		{POWER_ON, TARGET_NONE, all, RESET_NOTHING},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		char link[] = "/r";
		struct redfish_system s = {.power = rows[i].power,
					   .reset_target = link,
					   .resets = {.known = true, .mask = rows[i].offered}};
		enum reset_type type = RESET_TYPE_COUNT;

		g_assert_true(redfish_choose_reset(&s, rows[i].target, &type, NULL));
		g_assert_cmpint(type, ==, rows[i].type);
	}
}

static void test_reset_refused(void)
{
	g_autoptr(GError) error = NULL, no_action = NULL;
	char link[] = "/r", list[] = "Nmi, PushPowerButton";
	struct redfish_system s = {
		.power = POWER_ON, .reset_target = link, .resets = {.known = true, .text = list}};
	enum reset_type type;

	g_assert_false(redfish_choose_reset(&s, TARGET_POWER_OFF, &type, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_UNSUPPORTED);
	g_assert_nonnull(strstr(error->message, "ForceOff"));
	g_assert_nonnull(strstr(error->message, "Nmi, PushPowerButton"));
	s.reset_target = NULL;
	g_assert_false(redfish_choose_reset(&s, TARGET_POWER_OFF, &type, &no_action));
	g_assert_error(no_action, INOX_ERROR, INOX_ERROR_UNSUPPORTED);
}

static void check_override(const struct redfish_system *s, enum boot_device device, bool persistent,
			   enum boot_mode mode, const char *expected)
{
	g_autoptr(json_t) body = redfish_make_override(s, device, persistent, mode, NULL);
	g_autofree char *text = json_print_compact(body);

	g_assert_cmpstr(text, ==, expected);
}

static void test_override(void)
{
	struct redfish_system s = {
		.enabled = OVERRIDE_DISABLED, .has_mode = true, .mode = BOOT_MODE_BIOS};

	check_override(
		&s, BOOT_DEVICE_PXE, false, BOOT_MODE_UEFI,
		"{\"Boot\":{\"BootSourceOverrideTarget\":\"Pxe\","
		"\"BootSourceOverrideEnabled\":\"Once\",\"BootSourceOverrideMode\":\"UEFI\"}}");
	check_override(&s, BOOT_DEVICE_DISK, true, BOOT_MODE_BIOS,
		       "{\"Boot\":{\"BootSourceOverrideTarget\":\"Hdd\","
		       "\"BootSourceOverrideEnabled\":\"Continuous\"}}");
	s.enabled = OVERRIDE_ONCE;
	check_override(&s, BOOT_DEVICE_CDROM, false, BOOT_MODE_UNKNOWN,
		       "{\"Boot\":{\"BootSourceOverrideTarget\":\"Cd\"}}");
	check_override(&s, BOOT_DEVICE_NONE, false, BOOT_MODE_UNKNOWN,
		       "{\"Boot\":{\"BootSourceOverrideTarget\":\"None\","
		       "\"BootSourceOverrideEnabled\":\"Disabled\"}}");
	s.modes = (struct allowed){.known = true, .mask = 1u << OVERRIDE_LEGACY};
	check_override(&s, BOOT_DEVICE_PXE, false, BOOT_MODE_UEFI,
		       "{\"Boot\":{\"BootSourceOverrideTarget\":\"Pxe\"}}");
	s.enableds = (struct allowed){.known = true, .mask = 1u << OVERRIDE_ONCE};
	check_override(&s, BOOT_DEVICE_PXE, true, BOOT_MODE_UNKNOWN,
		       "{\"Boot\":{\"BootSourceOverrideTarget\":\"Pxe\"}}");
	s.quirks = QUIRK_ALWAYS_ENABLED | QUIRK_ALWAYS_MODE;
	check_override(
		&s, BOOT_DEVICE_PXE, false, BOOT_MODE_BIOS,
		"{\"Boot\":{\"BootSourceOverrideTarget\":\"Pxe\","
		"\"BootSourceOverrideEnabled\":\"Once\",\"BootSourceOverrideMode\":\"Legacy\"}}");
}

static void test_override_refused(void)
{
	g_autoptr(GError) error = NULL;
	char list[] = "None, Hdd";
	struct redfish_system s = {
		.targets = {.known = true, .mask = 1u << OVERRIDE_HDD, .text = list}};

	g_assert_null(redfish_make_override(&s, BOOT_DEVICE_PXE, false, BOOT_MODE_BIOS, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_UNSUPPORTED);
	g_assert_nonnull(strstr(error->message, "only: None, Hdd"));
	g_assert_null(redfish_make_override(&s, (enum boot_device)77, false, BOOT_MODE_BIOS, NULL));
}

static void check_refusal(const char *text, const char *expected, bool busy)
{
	g_auto(redfish_refusal) r = {0};

	redfish_parse_refusal(text, strlen(text), &r);
	g_assert_cmpstr(r.text, ==, expected);
	g_assert_true(r.busy == busy);
}

static void test_refusal(void)
{
	check_refusal(
		"{\"error\": {\"message\": \"See extended\", \"@Message.ExtendedInfo\": ["
		"{\"MessageId\": \"Base.1.8.PropertyValueNotInList\", \"Message\": \"bad\\nvalue\"},"
		"{\"Message\": \"second\"}]}}",
		"bad?value second", false);
	check_refusal("{\"error\": {\"@Message.ExtendedInfo\": {\"MessageId\":"
		      " \"IDRAC.2.8.UnableToModifyDuringSystemPOST\", \"Message\": \"later\"}}}",
		      "later", true);
	check_refusal("{\"error\": {\"message\": \"short\"}}", "short", false);
	check_refusal("{\"error\": {\"@Message.ExtendedInfo\": 7}}", NULL, false);
	check_refusal("<html>busy</html>", NULL, false);
}

static void test_action_info(void)
{
	static const char text[] =
		"{\"Parameters\": [7, {\"Name\": \"Other\"}, {\"Name\": \"ResetType\","
		" \"AllowableValues\": [\"ForceOff\", 1]}]}";
	struct allowed a;

	g_assert_true(redfish_parse_action_info(text, strlen(text), &a, NULL));
	g_assert_true(a.known);
	g_assert_cmpuint(a.mask, ==, 1u << RESET_FORCE_OFF);
	redfish_allowed_clear(&a);
	g_assert_false(redfish_parse_action_info("{\"Parameters\": []}", 18, &a, NULL));
}

static void test_address(void)
{
	static const struct {
		const char *text, *base, *root;
	} good[] = {
		{"10.0.0.5", "https://10.0.0.5:443", "/redfish/v1/"},
		{"https://10.0.0.5/", "https://10.0.0.5:443", "/redfish/v1/"},
		{"http://10.0.0.5:8000/bmc/v1/", "http://10.0.0.5:8000", "/bmc/v1/"},
		{"https://[fd77::5]", "https://[fd77::5]:443", "/redfish/v1/"},
		{"https://[fd77::5]:8443", "https://[fd77::5]:8443", "/redfish/v1/"},
		{"https://[::ffff:127.0.0.1]", "https://127.0.0.1:443", "/redfish/v1/"},
	};
	static const char *const bad[] = {
		"",          "bmc.example.org",      "https://a@10.0.0.5", "ftp://10.0.0.5",
		"10.0.0",    "10.0.0.5:0",           "10.0.0.5:70000",     "https://[fd77::5",
		"0x7f.1",    "https://10.0.0.5/a?b", "10.0.0.5/..",        "https://[fd77::5]x",
		"127.0.0.1 "};

	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autofree char *base = NULL, *root = NULL;
		struct endpoint e;

		g_assert_true(redfish_address_parse(good[i].text, &e, &base, &root, NULL));
		g_assert_cmpstr(base, ==, good[i].base);
		g_assert_cmpstr(root, ==, good[i].root);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		char *base, *root;
		struct endpoint e;

		g_assert_false(redfish_address_parse(bad[i], &e, &base, &root, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

static void test_allowed(void)
{
	g_autoptr(GError) error = NULL;
	struct network n;
	struct bmc_target t = {.address = "http://127.0.0.1:1",
			       .system = "",
			       .username = "",
			       .allowed = &n,
			       .allowed_count = 1,
			       .timeout_s = 5};
	enum power_state power;
	enum boot_mode mode;

	g_assert_true(network_parse("0.0.0.0/0", &n, NULL));
	g_assert_false(driver_find("redfish")->get_power(&t, &power, &mode, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_DENIED);
	g_assert_false(driver_error_is_transient(error));
	g_clear_error(&error);
	g_assert_true(network_parse("127.0.0.0/8", &n, NULL));
	g_assert_false(driver_find("redfish")->get_power(&t, &power, &mode, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_UNAVAILABLE); /* refused: it did connect */
	g_assert_true(driver_error_is_transient(error));
}

static struct redfish_session *make_session(const char *password)
{
	struct redfish_session *s = g_new0(struct redfish_session, 1);

	s->token = secret_new("t");
	s->password = secret_new(password);
	return s;
}

static void test_sessions(void)
{
	g_autoptr(secret) right = secret_new("right"), wrong = secret_new("wrong");
	struct redfish_session *first = make_session("right"), *second = make_session("right");

	g_assert_true(redfish_session_keep("bmc", first));
	g_assert_false(redfish_session_keep("bmc", second));
	g_assert_true(redfish_session_take("bmc", right) == first);
	g_assert_null(redfish_session_take("bmc", right));
	g_assert_true(redfish_session_keep("bmc", second));
	g_assert_null(redfish_session_take("bmc", wrong)); /* and it is gone */
	g_assert_null(redfish_session_take("bmc", right));
	redfish_session_free(first);
}

static void test_fake(void)
{
	const struct driver *d = driver_find("fake-hardware");
	struct bmc_target t = {.node = "8f5b4b5e-2f0a-4d4e-9f6c-000000000001"};
	enum power_state power;
	enum boot_mode mode;

	g_assert_true(d->get_power(&t, &power, &mode, NULL));
	g_assert_cmpint(power, ==, POWER_OFF);
	g_assert_true(d->set_power(&t, TARGET_REBOOT, NULL));
	g_assert_true(d->get_power(&t, &power, &mode, NULL));
	g_assert_cmpint(power, ==, POWER_ON);
	g_assert_true(d->set_boot(&t, BOOT_DEVICE_PXE, true, BOOT_MODE_UEFI, NULL));
	g_assert_true(d->set_power(&t, TARGET_SOFT_POWER_OFF, NULL));
	g_assert_true(d->get_power(&t, &power, &mode, NULL));
	g_assert_cmpint(power, ==, POWER_OFF);
	g_assert_null(driver_find("ipmi"));
}

static bool parse_slot(const char *text, struct redfish_slot *ret, GError **error)
{
	return redfish_parse_slot(text, strlen(text), ret, error);
}

static void test_slot(void)
{
	static const char text[] =
		"{\"MediaTypes\": [\"USBStick\", \"DVD\"], \"Inserted\": true, \"Image\": \"http://a/b\","
		" \"Actions\": {\"#VirtualMedia.InsertMedia\": {\"target\": \"/x/insert\"},"
		" \"#VirtualMedia.EjectMedia\": {\"target\": \"http://elsewhere/eject\"}}}";
	g_auto(redfish_slot) slot = {0}, floppy = {0}, none = {0};
	g_autoptr(GError) error = NULL;

	g_assert_true(parse_slot(text, &slot, NULL));
	g_assert_true(slot.optical && slot.inserted);
	g_assert_cmpstr(slot.insert, ==, "/x/insert");
	g_assert_null(slot.eject); /* leads to another machine */
	g_assert_true(redfish_slot_holds(&slot, "http://a/b"));
	g_assert_false(redfish_slot_holds(&slot, "http://a/c"));
	g_assert_true(
		parse_slot("{\"MediaTypes\": [\"Floppy\", 7], \"Image\": \"\"}", &floppy, NULL));
	g_assert_false(floppy.optical || floppy.inserted || floppy.image);
	g_assert_false(redfish_slot_holds(&floppy, "http://a/b"));
	g_assert_false(parse_slot("{}", &none, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_PEER);
}

static void test_hidden_url(void)
{
	static const char url[] = "http://10.0.0.1:80/once/0123456789abcdef/boot.iso";
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{"no such host", "no such host"},
		{"cannot read http://10.0.0.1:80/once/0123456789abcdef/boot.iso today",
		 "cannot read (URL) today"},
		{"cannot read http://10.0.0.1:80/once/01234", "cannot read (URL)"},
		{"GET /once/0123456789abcdef/boot.iso: 404, /once/01", "GET (URL) 404, (URL)"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *shown = redfish_hide_url(cases[i].text, url);

		g_assert_cmpstr(shown, ==, cases[i].shown);
	}
}

static void test_drive_of_usb(void)
{
	static const struct {
		const char *manufacturer, *targets, *wanted;
	} cases[] = {
		{"Dell", "\"Cd\", \"UsbCd\"", "Cd"},
		{"Supermicro", "\"Cd\", \"UsbCd\"", "UsbCd"},
		{"Supermicro", "\"Cd\"", "Cd"},
		{"Other", "\"UsbCd\"", "UsbCd"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *system = g_strdup_printf(
			"{\"PowerState\": \"On\", \"Manufacturer\": \"%s\", \"Boot\": {"
			"\"BootSourceOverrideTarget@Redfish.AllowableValues\": [%s]}}",
			cases[i].manufacturer, cases[i].targets);
		g_auto(redfish_system) s = {0};

		g_assert_true(redfish_parse_system(system, strlen(system), &s, NULL));
		g_autoptr(json_t) body = redfish_make_override(&s, BOOT_DEVICE_CDROM, false,
							       BOOT_MODE_UNKNOWN, NULL);

		g_assert_cmpstr(json_peek_string(json_peek_object(body, "Boot"),
						 "BootSourceOverrideTarget"),
				==, cases[i].wanted);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/redfish/a system is read with its lists and quirks", test_system);
	g_test_add_func("/redfish/what is no system is an error", test_other_resources);
	g_test_add_func("/redfish/root and collection", test_root_and_collection);
	g_test_add_func("/redfish/only links of the same BMC are followed", test_links);
	g_test_add_func("/redfish/every power target has its reset type", test_reset_table);
	g_test_add_func("/redfish/a reset that is not offered names what is", test_reset_refused);
	g_test_add_func("/redfish/the boot override holds what has to change", test_override);
	g_test_add_func("/redfish/a boot device that is not offered names what is",
			test_override_refused);
	g_test_add_func("/redfish/a refusal becomes one clean sentence", test_refusal);
	g_test_add_func("/redfish/reset types can be listed in an action info", test_action_info);
	g_test_add_func("/redfish/addresses are numeric", test_address);
	g_test_add_func("/redfish/only allowed ranges are dialled", test_allowed);
	g_test_add_func("/redfish/a session has one owner and one password", test_sessions);
	g_test_add_func("/redfish/a slot for media is read", test_slot);
	g_test_add_func("/redfish/no error repeats a medium's URL", test_hidden_url);
	g_test_add_func("/redfish/the virtual drive may be a USB drive", test_drive_of_usb);
	g_test_add_func("/fake/power is remembered and starts as off", test_fake);
	return g_test_run();
}
