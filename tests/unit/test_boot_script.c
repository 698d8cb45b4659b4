#include <string.h>

#include "boot_fixture.h"
#include "errors.h"
#include "plain.h"

static struct script_boot boot_with(const char *arguments)
{
	return (struct script_boot){&boot_node, 7, TRANSPORT_PSK, arguments, "", PATH};
}

static void test_script(void)
{
	struct script_boot boot = boot_with("{\"quiet\": \"\", \"console\": \"ttyS0,115200n8\"}");
	g_autofree char *arguments = script_arguments(&boot, NULL);
	struct mac mac;

	g_assert_cmpstr(arguments, ==,
			"inox-node=" NODE
			" inox-epoch=7 inox-transport=psk quiet console=ttyS0,115200n8");
	g_assert_true(mac_parse(MAC, &mac, NULL));
	g_autofree char *script = script_print(&boot_site, &boot, arguments, mac);

	g_assert_cmpstr(script, ==,
			"#!ipxe\n"
			"# node " NODE ", boot 7\n"
			"kernel --name vmlinuz http://10.77.1.2/ramdisk/vmlinuz initrd=token.img "
			"initrd=initrd inox-node=" NODE " inox-epoch=7 inox-transport=psk quiet "
			"console=ttyS0,115200n8 BOOTIF=01-52-54-00-77-02-10 || goto again\n"
			"initrd --name token.img http://10.77.1.2/once/" PATH
			"/token.img || goto again\n"
			"initrd --name initrd http://10.77.1.2/ramdisk/initrd || goto again\n"
			"boot || goto again\n"
			":again\n"
			"imgfree\n"
			"sleep 3\n"
			"chain --replace http://10.77.1.2/boot.ipxe || goto again\n");
}

static void test_script_of_active_mode(void)
{
	struct script_boot boot = boot_with("");
	g_autofree char *passive = script_arguments(&boot, NULL);

	g_assert_null(strstr(passive, "ipa-api-url"));
	boot.api_url = "https://10.0.0.1:6385";
	g_autofree char *active = script_arguments(&boot, NULL);

	g_assert_nonnull(strstr(active, " ipa-api-url=https://10.0.0.1:6385"));
}

static void test_hostile_arguments(void)
{
	static const char *const bad[] = {
		"[]",
		"{\"a\": 1}",
		"{\"a\": null}",
		"{\"\": \"x\"}",
		"{\"a b\": \"x\"}",
		"{\"A\": \"x\"}",
		"{\"a\\n\": \"x\"}",
		"{\"a=b\": \"x\"}",
		"{\"a\": \"x y\"}",
		"{\"a\": \"x\\ny\"}",
		"{\"a\": \"x\\ty\"}",
		"{\"a\": \"${net0/mac}\"}",
		"{\"a\": \"$x\"}",
		"{\"a\": \"x\\\"y\"}",
		"{\"a\": \"x'y\"}",
		"{\"a\": \"x\\\\y\"}",
		"{\"a\": \"x;y\"}",
		"{\"a\": \"x||y\"}",
		"{\"a\": \"x&&y\"}",
		"{\"a\": \"x#y\"}",
		"{\"a\": \"\\u00e9\"}",
		"{\"inox-node\": \"x\"}",
		"{\"inox-epoch\": \"9\"}",
		"{\"inox-token\": \"contact\"}",
		"{\"inox-transport\": \"http\"}",
		"{\"ipa-api-url\": \"http://192.0.2.1\"}",
		"{\"initrd\": \"x\"}",
		"{\"a\": \"x\", \"a\": \"y\"}",
		"{\"a\": \"x\"} ",
		"{\"a\": \"x\"}{",
		"",
	};

	for (unsigned i = 0; *bad[i]; i++) {
		struct script_boot boot = boot_with(bad[i]);
		g_autoptr(GError) error = NULL;
		g_autofree char *arguments = script_arguments(&boot, &error);

		/* blanks behind the value are no danger */
		if (g_str_has_suffix(bad[i], " ")) {
			g_assert_nonnull(arguments);
			continue;
		}
		g_assert_null(arguments);
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

static void test_long_arguments(void)
{
	for (unsigned length = 1800; length < 2200; length += 20) {
		g_autofree char *value = g_strnfill(length, 'x');
		g_autofree char *json = g_strdup_printf("{\"a\": \"%s\"}", value);
		struct script_boot boot = boot_with(json);
		g_autoptr(GError) error = NULL;
		g_autofree char *arguments = script_arguments(&boot, &error);
		struct mac mac = {{0}};

		if (!arguments) {
			g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
			g_assert_cmpuint(length, >, 1860);
			continue;
		}
		g_autofree char *script = script_print(&boot_site, &boot, arguments, mac);
		const char *first = strstr(script, " initrd=token.img"),
			   *end = strstr(script, " ||");

		g_assert_cmpuint((size_t)(end - first), <, SCRIPT_ARGUMENTS_MAX);
	}
}

static void test_hostile_urls(void)
{
	static const char *const bad[] = {"",           "ftp://192.0.2.1", "http://",
					  "http:///x",  "http://a b",      "http://a/${mac}",
					  "http://a\n", "http://u@a",      "http://a?x",
					  "http://a||b"};
	static const char *const bad_paths[] = {"",     "/a",    "a/",  "a//b",
						"../a", "a/./b", "a b", "a/.."};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(plain_is_url(bad[i]));
	for (unsigned i = 0; i < G_N_ELEMENTS(bad_paths); i++)
		g_assert_false(plain_is_path(bad_paths[i]));
	g_assert_true(plain_is_url("http://[fd77::1]:8080/boot"));
	g_assert_true(plain_is_path("ramdisk/vmlinuz-6.1"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/script/template, arguments and interface make the script", test_script);
	g_test_add_func("/script/an API URL is there in active mode only",
			test_script_of_active_mode);
	g_test_add_func("/script/arguments outside the grammar are refused",
			test_hostile_arguments);
	g_test_add_func("/script/a line the kernel would cut is refused", test_long_arguments);
	g_test_add_func("/script/URLs and paths that iPXE could misread are refused",
			test_hostile_urls);
	return g_test_run();
}
