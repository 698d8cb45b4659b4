#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "command_table.h"
#include "commands.h"
#include "errors.h"
#include "inventory.h"
#include "jsons.h"

#define TOKEN "0123456789abcdefghijABCDEFGHIJ0123456789abc"
#define NODE  "6d85703a-565d-469a-96ce-30b6de53079d"

/* ---- options */

/* A root with this kernel command line; the caller frees it. */
static char *make_root(const char *cmdline)
{
	char *root = g_dir_make_tmp("inox-agent-XXXXXX", NULL);
	g_autofree char *proc = g_build_filename(root, "proc", NULL);
	g_autofree char *file = g_build_filename(proc, "cmdline", NULL);

	g_assert_cmpint(g_mkdir(proc, 0700), ==, 0);
	g_assert_true(g_file_set_contents(file, cmdline, -1, NULL));
	return root;
}

static void remove_root(char *root)
{
	g_autofree char *proc = g_build_filename(root, "proc", NULL);
	g_autofree char *file = g_build_filename(proc, "cmdline", NULL);

	g_unlink(file);
	g_rmdir(proc);
	g_rmdir(root);
	g_free(root);
}

static bool read_options(const char *cmdline, struct agent_options *o, GError **error)
{
	char *root = make_root(cmdline);
	char program[] = "inox-agent", flag[] = "--root";
	char *argv[] = {program, flag, root, NULL};
	bool good = agent_options_read(o, 3, argv, error);

	remove_root(root);
	return good;
}

static void test_options(void)
{
	g_auto(agent_options) o = {.root = NULL};
	char at[ENDPOINT_TEXT];

	g_assert_true(read_options("quiet ipa-agent-token=" TOKEN " inox-node=" NODE
				   " inox-epoch=1 inox-epoch=12 ipa-listen-host=10.0.0.7"
				   " ipa-listen-port=9998 ipa-debug=YES BOOTIF=01-aa nofb\n",
				   &o, NULL));
	g_assert_cmpstr(secret_peek(o.token), ==, TOKEN);
	g_assert_cmpint(o.transport, ==, TRANSPORT_PSK);
	g_assert_cmpstr(o.node.s, ==, NODE);
	g_assert_true(o.has_epoch && o.epoch == 12 && o.debug);
	g_assert_cmpstr(o.pxe_interface, ==, "01-aa");
	endpoint_print(&o.listen, at);
	g_assert_cmpstr(at, ==, "10.0.0.7:9998");
}

static void test_bad_options(void)
{
	static const char *const bad[] = {
		"quiet",
		"inox-transport=pinned",
		"ipa-agent-token=short",
		"ipa-agent-token=" TOKEN " inox-transport=tls",
		"ipa-agent-token=" TOKEN " inox-epoch=-1",
		"ipa-agent-token=" TOKEN " inox-node=nobody",
		"ipa-agent-token=" TOKEN " ipa-listen-port=0",
		"ipa-agent-token=" TOKEN " ipa-listen-host=node.example",
		"ipa-agent-token=" TOKEN " ipa-debug=perhaps",
		"ipa-agent-token=" TOKEN " inox-allow-tokenless-get=2",
		"ipa-api-url=mdns",
		"ipa-api-url=ftp://192.0.2.1",
		"ipa-api-url=http://192.0.2.1,",
		"ipa-api-url=http://u:p@192.0.2.1",
		"ipa-api-url=http://192.0.2.1/?x",
		"ipa-api-url=http://1,http://2,http://3,http://4,http://5,http://6,http://7,http://8,http://9",
		"ipa-api-url=http://h ipa-lookup-timeout=0",
		"ipa-api-url=http://h ipa-lookup-interval=1s",
		"ipa-api-url=http://h ipa-advertise-port=65536",
		"ipa-api-url=http://h ipa-advertise-host=a,DNS:b",
		"ipa-api-url=http://h ipa-advertise-protocol=ftp",
		"ipa-api-url=http://h ipa-ironic-api-version=2.1",
		"ipa-api-url=http://h ipa-global-request-id=a:b",
		"ipa-api-url=http://h ipa-agent-token-required=maybe",
		"ipa-api-url=http://h ipa-insecure=",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct agent_options o = {.root = NULL};
		g_autoptr(GError) error = NULL;

		g_assert_false(read_options(bad[i], &o, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_null(strstr(error->message, TOKEN));
		g_assert_null(o.root);
	}
}

static void test_http_by_name(void)
{
	g_auto(agent_options) o = {.root = NULL};

	g_assert_true(read_options("inox-transport=http BOOTIF=\xff", &o, NULL));
	g_assert_true(g_utf8_validate(o.pxe_interface, -1, NULL));
	g_assert_null(o.token);
	g_assert_cmpint(o.transport, ==, TRANSPORT_HTTP);
}

static void test_active_options(void)
{
	g_auto(agent_options) o = {.root = NULL};
	g_auto(agent_options) plain = {.root = NULL};

	g_assert_true(
		read_options("ipa-api-url=http://192.0.2.1:6385//,https://[2001:db8::1]/baremetal/ "
			     "ipa-lookup-timeout=7 ipa-lookup-interval=2 "
			     "ipa-http-request-timeout=9 ipa-advertise-host=2001:db8::7 "
			     "ipa-advertise-port=443 ipa-advertise-protocol=https "
			     "ipa-insecure=on ipa-cafile=/ca ipa-ironic-api-version=1.68 "
			     "ipa-global-request-id=req-1 inox-allow-tokenless-get=1 "
			     "ipa-zebra=1 ipa-collect-lldp=1 ipa-disk-wait-delay=1\n",
			     &o, NULL));
	g_assert_cmpint(o.transport, ==, TRANSPORT_PINNED);
	g_assert_cmpuint(g_strv_length(o.active.urls), ==, 2);
	g_assert_cmpstr(o.active.urls[0], ==, "http://192.0.2.1:6385");
	g_assert_cmpstr(o.active.urls[1], ==, "https://[2001:db8::1]/baremetal");
	g_assert_cmpuint(o.active.lookup_timeout_s, ==, 7);
	g_assert_cmpuint(o.active.lookup_interval_s, ==, 2);
	g_assert_cmpuint(o.active.request_timeout_s, ==, 9);
	g_assert_cmpstr(o.active.advertise_host, ==, "2001:db8::7");
	g_assert_cmpuint(o.active.advertise_port, ==, 443);
	g_assert_cmpstr(o.active.advertise_protocol, ==, "https");
	g_assert_cmpstr(o.active.ca_file, ==, "/ca");
	g_assert_cmpstr(o.active.request_id, ==, "req-1");
	g_assert_cmpuint(o.active.api_minor, ==, 68);
	g_assert_true(o.active.insecure && o.tokenless_get);
	g_assert_cmpstr(o.ignored, ==, "ipa-collect-lldp,ipa-zebra");
	g_assert_true(read_options("ipa-agent-token=" TOKEN " ipa-api-url=", &plain, NULL));
	g_assert_null(plain.active.urls);
	g_assert_null(plain.ignored);
	g_assert_cmpint(plain.transport, ==, TRANSPORT_PSK);
	g_assert_false(plain.tokenless_get);
	g_assert_cmpuint(plain.active.lookup_timeout_s, ==, 600);
	g_assert_cmpuint(plain.active.request_timeout_s, ==, 30);
}

/* ---- commands */

struct seen {
	unsigned count;
	int status;
	char *text;
};

static void on_reply(void *ctx, int status, const json_t *body)
{
	struct seen *s = ctx;

	s->count++;
	s->status = status;
	g_free(s->text);
	s->text = json_print_python(body);
}

static int hold; /* lab_hold ends when it is set */

static json_t *lab_hold(struct command_context *context, const json_t *args, const json_t *node,
			struct agent_error *error)
{
	(void)args;
	(void)node;
	command_progress(context, "holding", 5, 10);
	while (!g_atomic_int_get(&hold)) {
		if (command_is_cancelled(context)) {
			agent_error_set(error, AGENT_ERROR_DEPLOYMENT, "given up");
			return NULL;
		}
		g_thread_yield();
	}
	return json_string("held");
}

static const struct step lab_steps[] = {
	{.interface = "deploy", .name = "lab_hold", .run = lab_hold},
	{.name = NULL},
};

static void setup_agent(struct agent *a)
{
	g_autoptr(secret) token = secret_new(TOKEN);

	*a = (struct agent){.l = loop_new()};
	a->options.root = g_strdup("/nonexistent");
	a->partitions = json_object();
	agent_set_token(a, token);
	steps_use_extra(lab_steps);
	g_atomic_int_set(&hold, 0);
	a->commands = commands_new(a);
}

static void clear_agent(struct agent *a)
{
	commands_free(a->commands);
	json_decref(a->node);
	json_decref(a->partitions);
	secret_free(a->token);
	agent_options_clear(&a->options);
	loop_free(a->l);
}

static void run(struct agent *a, const char *body, bool wait, struct seen *s)
{
	commands_run(a->commands, body, strlen(body),
		     (struct command_asker){.reply = on_reply, .ctx = s, .wait = wait});
}

#define HOLD                                                                            \
	"{\"name\": \"deploy.execute_deploy_step\", \"params\": {\"step\": {\"step\": " \
	"\"lab_hold\", \"args\": {\"secret\": 1}}, \"node\": {\"uuid\": \"" NODE        \
	"\"}, \"ports\": []}}"
#define SYNC "{\"name\": \"standby.sync\", \"params\": {}}"

static void test_busy(void)
{
	struct agent a;
	struct seen held = {.count = 0}, refused = {.count = 0}, forgotten = {.count = 0};

	setup_agent(&a);
	run(&a, HOLD, true, &held);
	g_assert_cmpuint(held.count, ==, 0);
	run(&a, SYNC, false, &refused);
	g_assert_cmpint(refused.status, ==, 409);
	g_assert_cmpstr(refused.text, ==,
			"{\"faultcode\": \"Client\", \"faultstring\": \"Agent is busy: executing "
			"command execute_deploy_step\"}");
	g_autoptr(json_t) list = commands_json(a.commands);
	const char *id =
		json_peek_string(json_array_get(json_peek_array(list, "commands"), 0), "id");

	commands_show(a.commands, id,
		      (struct command_asker){.reply = on_reply, .ctx = &forgotten, .wait = true});
	commands_forget(a.commands, &forgotten);
	g_atomic_int_set(&hold, 1);
	while (held.count == 0)
		loop_turn(a.l, true);
	g_assert_cmpuint(held.count, ==, 1);
	g_assert_cmpuint(forgotten.count, ==, 0);
	g_assert_nonnull(strstr(held.text, "\"command_result\": {\"deploy_result\": \"held\", "
					   "\"deploy_step\": {\"step\": \"lab_hold\"}}}"));
	g_assert_null(strstr(held.text, "progress"));
	run(&a, SYNC, false, &refused);
	while (refused.count == 1)
		loop_turn(a.l, true);
	g_assert_cmpint(refused.status, ==, 200);
	clear_agent(&a);
	g_free(held.text);
	g_free(refused.text);
}

static void test_cancel(void)
{
	struct agent a;
	struct seen s = {.count = 0};

	setup_agent(&a);
	run(&a, HOLD, false, &s);
	g_assert_nonnull(strstr(s.text, "\"RUNNING\""));
	clear_agent(&a); /* joins the thread: ends only if the step gives up */
	g_free(s.text);
}

static void test_refusals(void)
{
	static const struct {
		const char *body;
		int status;
		const char *part;
	} cases[] = {
		{"", 400, "400 Bad Request: Failed to decode JSON object: "},
		{"[]", 400, "400 Bad Request: Missing or invalid name or params"},
		{"{\"name\": 7, \"params\": {}}", 400, "Missing or invalid name or params"},
		{"{\"name\": \"sync\", \"params\": {}}", 400,
		 "Invalid command: Command name must be of the form <extension>.<name>"},
		{"{\"name\": \"a.b\", \"params\": {}}", 404,
		 "Not found: Extension with id a not found."},
		{"{\"name\": \"standby.b\", \"params\": {}}", 400,
		 "Invalid command: Unknown command: b"},
		{"{\"name\": \"standby.sync\", \"params\": {\"x\": 1}}", 400,
		 "Invalid command parameters: sync has no parameter x"},
		{"{\"name\": \"deploy.get_deploy_steps\", \"params\": {\"node\": {}}}", 400,
		 "Invalid command parameters: get_deploy_steps needs the parameter ports"},
		{"{\"name\": \"deploy.get_deploy_steps\", \"params\": {\"node\": {}, \"ports\": []}}",
		 400, "Invalid command parameters: The node has no uuid."},
		{"{\"name\": \"deploy.execute_deploy_step\", \"params\": {}}", 200,
		 "\"command_status\": \"FAILED\", \"command_error\": {\"type\": "
		 "\"CommandExecutionError\", \"code\": 500"},
	};
	struct agent a;
	struct seen s = {.count = 0};

	setup_agent(&a);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		run(&a, cases[i].body, true, &s);
		g_assert_cmpuint(s.count, ==, i + 1);
		g_assert_cmpint(s.status, ==, cases[i].status);
		g_test_message("%s", s.text);
		g_assert_nonnull(strstr(s.text, cases[i].part));
	}
	g_autoptr(json_t) list = commands_json(a.commands);

	/* Only what was accepted is listed. */
	g_assert_cmpuint(json_array_size(json_peek_array(list, "commands")), ==, 1);
	clear_agent(&a);
	g_free(s.text);
}

#define BOOTLOADER(more)                                                                        \
	"{\"name\": \"image.install_bootloader\", \"params\": {\"root_uuid\": \"0x8f2a11c3\", " \
	"\"target_boot_mode\": \"uefi\", " more "}}"

static void test_bootloader(void)
{
	static const struct {
		const char *body, *part;
	} cases[] = {
		{BOOTLOADER("\"efi_system_part_uuid\": null, \"prep_boot_part_uuid\": null"),
		 "\"command_status\": \"SUCCEEDED\", \"command_error\": null, \"command_result\": "
		 "null"},
		{BOOTLOADER("\"efi_system_part_uuid\": \"1234-ABCD\""),
		 "\"type\": \"InvalidImage\", \"code\": 500"},
		{BOOTLOADER("\"prep_boot_part_uuid\": \"1\""),
		 "A boot loader for prep_boot_part_uuid cannot be installed"},
	};
	struct agent a;
	struct seen s = {.count = 0};

	setup_agent(&a);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		run(&a, cases[i].body, true, &s);
		while (s.count == i)
			loop_turn(a.l, true);
		g_assert_cmpint(s.status, ==, 200);
		g_test_message("%s", s.text);
		g_assert_nonnull(strstr(s.text, cases[i].part));
	}
	clear_agent(&a);
	g_free(s.text);
}

static void test_node_info(void)
{
	struct agent a;
	struct seen s = {.count = 0};

	setup_agent(&a);
	run(&a,
	    "{\"name\": \"poll.node_info\", \"params\": {\"node_info\": {\"node\": {\"uuid\": \"" NODE
	    "\", \"instance_info\": {\"configdrive\": \"AAAA\", \"x\": 1}}, \"config\": "
	    "{\"agent_token\": \"******\"}}}}",
	    false, &s);
	g_assert_cmpint(s.status, ==, 200);
	g_autofree char *kept = json_print_python(a.node);

	g_assert_cmpstr(kept, ==, "{\"uuid\": \"" NODE "\", \"instance_info\": {\"x\": 1}}");
	g_assert_true(agent_is_authorized(&a, TOKEN, NULL));
	g_assert_false(agent_is_authorized(&a, "******", NULL));
	g_assert_false(agent_is_authorized(&a, NULL, NULL));
	g_assert_false(agent_is_authorized(&a, "", "identity"));
	g_assert_true(agent_is_authorized(&a, NULL, "identity"));
	clear_agent(&a);
	g_free(s.text);
}

/* ---- inventory */

static void assert_text(json_t *value, const char *expected)
{
	g_autofree char *text = json_print_python(value);

	g_assert_cmpstr(text, ==, expected);
	json_decref(value);
}

static void test_inventory(void)
{
	const char *root = TEST_DATA "/agent-root";

	assert_text(inventory_memory(root), "{\"total\": 8349696000, \"physical_mb\": 40960}");
	assert_text(inventory_memory("/nonexistent"), "{\"total\": 0, \"physical_mb\": null}");
	assert_text(
		inventory_system_vendor(root),
		"{\"product_name\": \"PowerEdge R640 (SKU=0716)\", \"serial_number\": \"ABC1234\", "
		"\"manufacturer\": \"Dell Inc.\", \"firmware\": {\"vendor\": \"Dell Inc.\", "
		"\"version\": \"2.19.1\", \"build_date\": \"06/04/2023\"}}");
	assert_text(inventory_interfaces("/nonexistent"), "[]");
	g_autoptr(json_t) interfaces = inventory_interfaces(root);
	g_autoptr(json_t) cpu = inventory_cpu(root);

	g_assert_cmpuint(json_array_size(interfaces), ==, 3);
	assert_text(
		json_incref(json_array_get(interfaces, 1)),
		"{\"name\": \"eth0\", \"mac_address\": \"52:54:00:12:34:56\", \"ipv4_address\": null, "
		"\"ipv6_address\": null, \"has_carrier\": true, \"lldp\": null, \"vendor\": "
		"\"0x1af4\", \"product\": \"0x0001\", \"client_id\": null, \"biosdevname\": null, "
		"\"speed_mbps\": null, \"pci_address\": \"0000:00:03.0\", \"driver\": "
		"\"virtio_net\"}");
	g_assert_cmpstr(json_peek_string(json_array_get(interfaces, 0), "mac_address"), ==,
			"fa:16:3e:aa:bb:01");
	g_assert_cmpstr(json_peek_string(json_array_get(interfaces, 2), "mac_address"), ==,
			"e4:1d:2d:00:be:ef");
	g_assert_cmpstr(json_peek_string(json_array_get(interfaces, 2), "client_id"), ==,
			"ff:00:00:00:00:00:02:00:00:02:c9:00:e4:1d:2d:03:00:00:be:ef");
	g_assert_cmpint(json_peek_integer(cpu, "count", 0), ==, 2);
	g_assert_cmpint(json_peek_integer(cpu, "socket_count", 0), ==, 2);
	g_assert_cmpstr(json_peek_string(cpu, "frequency"), ==, "2100.0000");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/agent/options/the kernel command line is understood", test_options);
	g_test_add_func("/agent/options/what is wrong is named and refused", test_bad_options);
	g_test_add_func("/agent/options/http without a token has to be asked for",
			test_http_by_name);
	g_test_add_func("/agent/options/an API address turns the active mode on",
			test_active_options);
	g_test_add_func("/agent/commands/one runs at a time and others wait for it", test_busy);
	g_test_add_func("/agent/commands/the end of the agent cancels the step", test_cancel);
	g_test_add_func("/agent/commands/each mistake has its answer", test_refusals);
	g_test_add_func("/agent/commands/a boot loader is installed by having an image that has it",
			test_bootloader);
	g_test_add_func("/agent/commands/node info keeps the node and the token", test_node_info);
	g_test_add_func("/agent/inventory/a machine is described from its files", test_inventory);
	return g_test_run();
}
