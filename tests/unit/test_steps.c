#include <glib.h>
#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "steps.h"

static json_t *parse(const char *text)
{
	g_autoptr(GError) error = NULL;
	json_t *value = json_parse_limited(text, strlen(text), 1 << 20, "test", &error);

	g_assert_no_error(error);
	return value;
}

#define OFFER                                                                                    \
	"{'deploy_steps': {'A': [{'interface': 'deploy', 'step': 'write_image', 'priority': 0}," \
	"{'interface': 'raid', 'step': 'apply', 'priority': 70},"                                \
	"{'interface': 'deploy', 'step': 'inject_files', 'priority': 70},"                       \
	"{'interface': 'deploy', 'step': 'burn', 'priority': 0}],"                               \
	"'B': [{'interface': 'deploy', 'step': 'burn', 'priority': 95}]},"                       \
	"'hardware_manager_version': {'A': '1', 'B': 2}}"

/* Apostrophes stand for quotes. */
static json_t *parse_loose(const char *text)
{
	g_autofree char *copy = g_strdup(text);

	g_strdelimit(copy, "'", '"');
	return parse(copy);
}

static char *names(const json_t *steps)
{
	GString *text = g_string_new(NULL);

	for (size_t i = 0; i < json_array_size(steps); i++)
		g_string_append_printf(text, "%s ",
				       json_peek_string(json_array_get(steps, i), "step"));
	return g_string_free(text, FALSE);
}

static void assert_merged(const char *wanted, const char *expected)
{
	g_autoptr(json_t) offer = parse_loose(OFFER);
	g_autoptr(json_t) list = wanted ? parse_loose(wanted) : NULL;
	g_autoptr(json_t) steps = NULL, versions = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_true(steps_merge(offer, list, &steps, &versions, &error));
	g_assert_no_error(error);
	g_autofree char *got = names(steps);

	g_assert_cmpstr(got, ==, expected);
	g_assert_cmpstr(json_peek_string(versions, "A"), ==, "1");
	g_assert_null(json_object_get(versions, "B"));
}

static void test_order(void)
{
	assert_merged(NULL, "burn write_image inject_files apply ");
}

static void test_wanted(void)
{
	assert_merged("[{'interface': 'deploy', 'step': 'burn', 'priority': 0},"
		      "{'interface': 'raid', 'step': 'apply', 'priority': '99', 'args': {}}]",
		      "apply write_image inject_files ");
}

static void assert_refused(const char *offered, const char *wanted, const char *part)
{
	g_autoptr(json_t) offer = parse_loose(offered);
	g_autoptr(json_t) list = wanted ? parse_loose(wanted) : NULL;
	json_t *steps, *versions;
	g_autoptr(GError) error = NULL;

	g_assert_false(steps_merge(offer, list, &steps, &versions, &error));
	g_assert_nonnull(strstr(error->message, part));
}

static void test_refusals(void)
{
	assert_refused("[]", NULL, "lacks deploy_steps");
	assert_refused("{'deploy_steps': {}}", NULL, "lacks deploy_steps or");
	assert_refused("{'deploy_steps': {'A': 1}, 'hardware_manager_version': {}}", NULL, "lists");
	assert_refused("{'deploy_steps': {'A': []}, 'hardware_manager_version': {}}", NULL,
		       "does not offer the step deploy.write_image");
	assert_refused("{'deploy_steps': {'A': [{'interface': 'deploy', 'step': 'a/b', "
		       "'priority': 1}]}, 'hardware_manager_version': {}}",
		       NULL, "proper interface");
	assert_refused(OFFER, "[{'interface': 'bios', 'step': 'x', 'priority': 1}]",
		       "does not offer the deploy step bios.x");
	assert_refused(OFFER, "[{'interface': 'deploy', 'step': 'burn'}]", "deploy_steps[0]");
}

static void assert_planned_with(const char *wanted, const char *priorities, const char *expected)
{
	g_autoptr(json_t) offer = parse_loose(
		"{'clean_steps': {'A': [{'interface': 'deploy', 'step': 'all', 'priority': 0},"
		"{'interface': 'deploy', 'step': 'meta', 'priority': 99, 'abortable': true},"
		"{'interface': 'raid', 'step': 'apply', 'priority': 10}]},"
		"'hardware_manager_version': {'A': '1'}}");
	g_autoptr(json_t) list = wanted ? parse_loose(wanted) : NULL;
	g_autoptr(json_t) overrides = priorities ? parse_loose(priorities) : NULL;
	g_autoptr(json_t) steps = NULL, versions = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_true(steps_plan_cleaning(offer, list, overrides, &steps, &versions, &error));
	g_autofree char *got = names(steps);

	g_assert_cmpstr(got, ==, expected);
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *step = json_array_get(steps, i);
		bool meta = strcmp(json_peek_string(step, "step"), "meta") == 0;

		g_assert_true(json_is_true(json_object_get(step, "abortable")) == meta);
	}
}

static void assert_planned(const char *wanted, const char *expected)
{
	assert_planned_with(wanted, NULL, expected);
}

static void test_priorities(void)
{
	assert_planned_with(NULL, "{}", "meta apply ");
	assert_planned_with(NULL, "{'deploy.all': 100}", "all meta apply ");
	assert_planned_with(NULL, "{'deploy.all': 1, 'deploy.meta': 0}", "apply all ");
	assert_planned_with(NULL, "{'raid.all': 1, 'deploy.none': 5}", "meta apply ");
	/* An operator's list has its own order. */
	assert_planned_with("[{'interface': 'deploy', 'step': 'meta'},"
			    "{'interface': 'deploy', 'step': 'all'}]",
			    "{'deploy.all': 100, 'deploy.meta': 0}", "meta all ");
}

static void test_cleaning(void)
{
	assert_planned(NULL, "meta apply ");
	assert_planned("[{'interface': 'deploy', 'step': 'all'},"
		       "{'interface': 'deploy', 'step': 'meta', 'args': {'a': 1}},"
		       "{'interface': 'deploy', 'step': 'all'}]",
		       "all meta all ");
	assert_planned("[{'interface': 'deploy', 'step': 'all', 'order': 2},"
		       "{'interface': 'deploy', 'step': 'meta', 'order': 1}]",
		       "meta all ");
}

static void test_too_many(void)
{
	g_autoptr(json_t) list = json_array();
	json_t *steps, *versions;
	g_autoptr(GError) error = NULL;

	for (int i = 0; i <= LIMIT_STEPS; i++) {
		g_autofree char *name = g_strdup_printf("s%d", i);

		json_array_append_new(list, json_pack("{s:s, s:s, s:i}", "interface", "deploy",
						      "step", name, "priority", 1));
	}
	g_autoptr(json_t) offer =
		json_pack("{s:{s:O}, s:{}}", "deploy_steps", "A", list, "hardware_manager_version");

	g_assert_false(steps_merge(offer, NULL, &steps, &versions, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
}

/* ---- deployment */

static struct node *node_with(const char *instance_info, const char *properties)
{
	struct node *n = node_new();

	json_decref(n->instance_info);
	json_decref(n->properties);
	n->instance_info = parse_loose(instance_info);
	n->properties = parse_loose(properties);
	return n;
}

static void test_image(void)
{
	g_autoptr(node) n = node_with("{'image_source': 'https://10.0.0.1/a/disk.raw',"
				      "'image_disk_format': 'raw', 'image_os_hash_algo': 'sha256',"
				      "'image_os_hash_value': 'aabb'}",
				      "{}");
	g_autoptr(json_t) image = deployment_image_info(n, NULL);

	g_assert_cmpstr(json_peek_string(image, "id"), ==, "disk.raw");
	g_assert_cmpstr(json_string_value(json_array_get(json_peek_array(image, "urls"), 0)), ==,
			"https://10.0.0.1/a/disk.raw");
	g_assert_cmpstr(json_peek_string(image, "os_hash_value"), ==, "aabb");
	g_assert_null(json_object_get(image, "checksum"));
	g_assert_true(json_is_null(json_object_get(image, "container_format")));
}

static void test_bad_images(void)
{
	static const char *const bad[][2] = {
		{"{}", "['instance_info.image_source']"},
		{"{'image_source': 'file:///etc/passwd', 'image_checksum': 'a'}", "http://"},
		{"{'image_source': 'http://a/ b', 'image_checksum': 'a'}", "http://"},
		{"{'image_source': 'http://a/b'}", "image_checksum"},
		{"{'image_source': 'http://a/b', 'image_os_hash_algo': 'sha256'}", "together"},
		{"{'image_source': 'http://a/b', 'image_checksum': ''}", "empty"},
		{"{'image_source': 'http://a/b', 'image_checksum': 'a', 'image_type': "
		 "'partition'}",
		 "partition images"},
		{"{'image_source': 'http://a/b', 'image_checksum': 'a', 'image_url': 'x'}",
		 "image_url"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(node) n = node_with(bad[i][0], "{}");
		g_autoptr(GError) error = NULL;

		g_assert_null(deployment_image_info(n, &error));
		g_assert_nonnull(strstr(error->message, bad[i][1]));
	}
}

static void test_boot_mode(void)
{
	static const struct {
		const char *instance_info, *properties;
		enum boot_mode mode;
	} cases[] = {
		{"{}", "{}", BOOT_MODE_UNKNOWN},
		{"{}", "{'capabilities': 'a:b, boot_mode:uefi'}", BOOT_MODE_UEFI},
		{"{'capabilities': {'boot_mode': 'bios'}}", "{'capabilities': 'boot_mode:uefi'}",
		 BOOT_MODE_BIOS},
		{"{'capabilities': 'boot_mode:uefi'}", "{}", BOOT_MODE_UEFI},
		{"{}", "{'capabilities': 'boot_mode:what'}", BOOT_MODE_UNKNOWN},
		{"{}", "{'capabilities': 7}", BOOT_MODE_UNKNOWN},
		{"{'capabilities': '{\\'boot_mode\\': \\'uefi\\'}'}", "{}", BOOT_MODE_UEFI},
		{"{'capabilities': '{'}", "{}", BOOT_MODE_UNKNOWN},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(node) n = node_with(cases[i].instance_info, cases[i].properties);

		g_assert_cmpint(deployment_boot_mode(n), ==, cases[i].mode);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/steps/priority, then interface, then the agent's order", test_order);
	g_test_add_func("/steps/the operator's priorities win, and 0 leaves a step out",
			test_wanted);
	g_test_add_func("/steps/what does not fit is refused with a reason", test_refusals);
	g_test_add_func("/steps/cleaning runs what has a priority, or what the operator lists",
			test_cleaning);
	g_test_add_func(
		"/steps/configured priorities go before the agent's, not before an operator's list",
		test_priorities);
	g_test_add_func("/steps/an endless list is refused", test_too_many);
	g_test_add_func("/deployment/an image is described for the agent", test_image);
	g_test_add_func("/deployment/images that cannot be deployed are named", test_bad_images);
	g_test_add_func("/deployment/the instance's boot mode goes before the node's",
			test_boot_mode);
	return g_test_run();
}
