/* What a node says about the ramdisk that it boots. */
#include <glib.h>

#include "errors.h"
#include "jsons.h"
#include "ramdisk.h"

static struct node *make_node(const char *driver_info, const char *instance_info)
{
	struct node *n = node_new();

	json_decref(n->driver_info);
	n->driver_info = json_loads(driver_info, 0, NULL);
	json_decref(n->instance_info);
	n->instance_info = json_loads(instance_info, 0, NULL);
	g_assert_nonnull(n->driver_info);
	g_assert_nonnull(n->instance_info);
	return n;
}

static void test_nothing_said(void)
{
	g_autoptr(node) n = make_node("{\"deploy_kernel\": null, \"deploy_ramdisk\": \"\"}", "{}");
	struct ramdisk r;

	g_assert_true(ramdisk_read(n, RAMDISK_DEPLOY, "boot", &r, NULL));
	g_assert_cmpstr(r.kernel, ==, "");
	g_assert_cmpstr(r.initrd, ==, "");
	g_assert_cmpstr(r.iso, ==, "");
	g_assert_false(r.on_command_line);
}

static void test_paths_and_urls(void)
{
	g_autoptr(node) n =
		make_node("{\"deploy_kernel\": \"ipa/vmlinuz\", \"deploy_ramdisk\": "
			  "\"https://192.0.2.1/ipa.initramfs\", \"deploy_iso\": \"ipa/boot.iso\"}",
			  "{}");
	struct ramdisk r;

	g_assert_true(ramdisk_read(n, RAMDISK_DEPLOY, "cmdline", &r, NULL));
	g_assert_cmpstr(r.kernel, ==, "ipa/vmlinuz");
	g_assert_cmpstr(r.initrd, ==, "https://192.0.2.1/ipa.initramfs");
	g_assert_cmpstr(r.iso, ==, "ipa/boot.iso");
	g_assert_true(r.on_command_line);
}

static void test_what_is_refused(void)
{
	static const struct {
		const char *info, *named;
	} bad[] = {
		{"{\"deploy_kernel\": \"../etc/passwd\", \"deploy_ramdisk\": \"a\"}",
		 "deploy_kernel"},
		{"{\"deploy_kernel\": \"/vmlinuz\", \"deploy_ramdisk\": \"a\"}", "deploy_kernel"},
		{"{\"deploy_kernel\": \"a/../b\", \"deploy_ramdisk\": \"a\"}", "deploy_kernel"},
		{"{\"deploy_kernel\": \"a b\", \"deploy_ramdisk\": \"a\"}", "deploy_kernel"},
		{"{\"deploy_kernel\": 7, \"deploy_ramdisk\": \"a\"}", "deploy_kernel"},
		{"{\"deploy_kernel\": \"file:///srv/k\", \"deploy_ramdisk\": \"a\"}", "file: URL"},
		{"{\"deploy_kernel\": \"a\", \"deploy_ramdisk\": \"http://a/${x}\"}",
		 "deploy_ramdisk"},
		{"{\"deploy_kernel\": \"a\"}", "together"},
		{"{\"deploy_ramdisk\": \"a\"}", "together"},
		{"{\"deploy_iso\": \"http://192.0.2.1/boot.iso\"}", "deploy_iso"},
		{"{\"deploy_iso\": \"..\"}", "deploy_iso"},
	};
	g_autofree char *longest = g_strnfill(RAMDISK_PATH_MAX + 1, 'a');
	g_autofree char *too_long = g_strdup_printf("{\"deploy_iso\": \"%s\"}", longest);
	g_autoptr(node) last = make_node(too_long, "{}");
	struct ramdisk r;

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(node) n = make_node(bad[i].info, "{}");
		g_autoptr(GError) error = NULL;

		g_assert_false(ramdisk_read(n, RAMDISK_DEPLOY, "boot", &r, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_nonnull(strstr(error->message, bad[i].named));
	}
	g_assert_false(ramdisk_read(last, RAMDISK_DEPLOY, "boot", &r, NULL));
}

static void test_rescue(void)
{
	static const struct {
		const char *info;
		bool media;
		const char *kernel, *initrd, *iso; /* NULL: refused */
		const char *named;
	} rows[] = {
		{"{}", false, "", "", "", NULL},
		{"{\"deploy_kernel\": \"d/k\", \"deploy_ramdisk\": \"d/i\"}", false, "d/k", "d/i",
		 "", NULL},
		{"{\"deploy_kernel\": \"d/k\", \"deploy_ramdisk\": \"d/i\", \"deploy_iso\": "
		 "\"d/o\", \"rescue_kernel\": \"r/k\", \"rescue_ramdisk\": \"r/i\"}",
		 false, "r/k", "r/i", "", NULL},
		{"{\"deploy_iso\": \"d/o\"}", true, "", "", "d/o", NULL},
		{"{\"deploy_iso\": \"d/o\", \"rescue_iso\": \"r/o\"}", true, "", "", "r/o", NULL},
		{"{\"rescue_kernel\": \"k\"}", false, NULL, NULL, NULL,
		 "rescue_kernel and rescue_ramdisk together"},
		{"{\"rescue_ramdisk\": \"i\"}", false, NULL, NULL, NULL,
		 "rescue_kernel and rescue_ramdisk together"},
		{"{\"rescue_kernel\": \"../k\", \"rescue_ramdisk\": \"i\"}", false, NULL, NULL,
		 NULL, "driver_info.rescue_kernel must be"},
		{"{\"rescue_kernel\": \"k\", \"rescue_ramdisk\": \"i\"}", true, NULL, NULL, NULL,
		 "driver_info.rescue_iso is missing"},
		{"{\"rescue_iso\": \"o\"}", false, NULL, NULL, NULL,
		 "driver_info.rescue_kernel and rescue_ramdisk are missing"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(node) n = make_node(rows[i].info, "{}");
		g_autoptr(GError) error = NULL;
		struct ramdisk r;

		if (rows[i].media)
			n->boot_interface = g_strdup("redfish-virtual-media");
		bool good = ramdisk_read(n, RAMDISK_RESCUE, "boot", &r, &error);

		g_assert_cmpint(good, ==, rows[i].kernel != NULL);
		if (good) {
			g_assert_cmpstr(r.kernel, ==, rows[i].kernel);
			g_assert_cmpstr(r.initrd, ==, rows[i].initrd);
			g_assert_cmpstr(r.iso, ==, rows[i].iso);
		} else {
			g_assert_nonnull(strstr(error->message, rows[i].named));
		}
	}
}

static void test_arguments(void)
{
	static const struct {
		const char *driver, *instance, *expected;
	} rows[] = {
		{"{}", "{}", "{\"quiet\":\"\"}"},
		{"{\"kernel_append_params\": \"console=ttyS0  nofb\"}", "{}",
		 "{\"console\":\"ttyS0\",\"nofb\":\"\"}"},
		{"{\"kernel_append_params\": \"%default% a=b=c\"}", "{}",
		 "{\"quiet\":\"\",\"a\":\"b=c\"}"},
		{"{\"kernel_append_params\": \"x\"}", "{\"kernel_append_params\": \"y\"}",
		 "{\"y\":\"\"}"},
		{"{\"kernel_append_params\": \"\"}", "{}", "{}"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(node) n = make_node(rows[i].driver, rows[i].instance);
		g_autofree char *text = ramdisk_arguments(n, "quiet", NULL);

		g_assert_cmpstr(text, ==, rows[i].expected);
	}
	g_autoptr(node) n = make_node("{\"kernel_append_params\": \"=x\"}", "{}");
	g_autoptr(GError) error = NULL;

	g_assert_null(ramdisk_arguments(n, "", &error));
	g_assert_nonnull(strstr(error->message, "driver_info.kernel_append_params: '=x'"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ramdisk/a node that says nothing has the site's", test_nothing_said);
	g_test_add_func("/ramdisk/paths below the boot host and URLs are taken",
			test_paths_and_urls);
	g_test_add_func("/ramdisk/paths that lead elsewhere are refused and named",
			test_what_is_refused);
	g_test_add_func("/ramdisk/a rescue boots its own where it has one", test_rescue);
	g_test_add_func("/ramdisk/kernel arguments of the node go before the site's",
			test_arguments);
	return g_test_run();
}
