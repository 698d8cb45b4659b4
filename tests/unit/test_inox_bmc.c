#include <string.h>

#include "accounts.h"
#include "errors.h"
#include "machine_file.h"
#include "qemu.h"
#include "qmp.h"

static const char qemu_text[] = "[machine]\n"
				"name = node0\n"
				"mac = 52:54:00:00:00:01,52:54:00:00:00:02\n"
				"disk = disk,1.raw\n"
				"disk_bus = scsi\n"
				"tap = tap0\n"
				"netdev = user,restrict=on\n"
				"romfile =\n"
				"serial_log = a,b.log\n"
				"launcher = ip;netns;exec;lab\n"
				"extra = -device;virtio-rng-pci\n";

static struct machine_spec *parse(const char *text)
{
	return machine_spec_parse(text, strlen(text), "/rack/node0.ini", NULL);
}

static void test_file(void)
{
	g_autoptr(machine_spec) s = parse(qemu_text), again = parse(qemu_text);

	g_assert_cmpstr(s->disk, ==, "/rack/disk,1.raw");
	g_assert_cmpstr(s->vars, ==, "/rack/node0.vars.fd");
	g_assert_cmpstr(s->serial, ==, "node0");
	g_assert_cmpint(s->memory_mib, ==, 512);
	g_assert_cmpuint(s->mac_count, ==, 2);
	g_assert_true(uuid_parse(s->uuid.s, &s->uuid, NULL));
	g_assert_cmpstr(s->uuid.s, ==, again->uuid.s);
}

static bool has_pair(char *const *argv, const char *option, const char *value)
{
	for (unsigned i = 0; argv[i] && argv[i + 1]; i++)
		if (strcmp(argv[i], option) == 0 && strcmp(argv[i + 1], value) == 0)
			return true;
	return false;
}

static void test_command_line(void)
{
	g_autoptr(machine_spec) s = parse(qemu_text);
	g_auto(GStrv) argv =
		qemu_make_argv(s, FIRMWARE_UEFI, (struct qemu_order){.cd_first = true}, true, 3);

	g_assert_cmpstr(argv[0], ==, "ip");
	g_assert_cmpstr(argv[4], ==, "qemu-system-x86_64");
	g_assert_true(has_pair(argv, "-chardev", "socket,id=qmp0,fd=3"));
	g_assert_true(has_pair(argv, "-chardev", "file,id=serial0,path=/rack/a,,b.log,append=on"));
	g_assert_true(has_pair(argv, "-netdev", "tap,ifname=tap0,script=no,downscript=no,id=net0"));
	g_assert_true(has_pair(argv, "-netdev", "user,restrict=on,id=net1"));
	g_assert_true(has_pair(argv, "-device",
			       "{\"driver\":\"scsi-hd\",\"id\":\"disk0\",\"drive\":\"image0\","
			       "\"bootindex\":18,\"serial\":\"node0\",\"bus\":\"scsi0.0\"}"));
	g_assert_true(has_pair(argv, "-device",
			       "{\"driver\":\"virtio-net-pci\",\"id\":\"nic1\",\"mac\":"
			       "\"52:54:00:00:00:02\",\"bootindex\":11,\"romfile\":\"\","
			       "\"netdev\":\"net1\"}"));
	g_assert_true(has_pair(argv, "-blockdev",
			       "{\"driver\":\"raw\",\"node-name\":\"media0\",\"read-only\":true,"
			       "\"file\":{\"driver\":\"file\",\"filename\":"
			       "\"/rack/node0.media.iso\"}}"));
	g_assert_true(has_pair(argv, "-device",
			       "{\"driver\":\"scsi-cd\",\"id\":\"cd0\",\"bus\":\"cdbus.0\","
			       "\"bootindex\":1,\"drive\":\"media0\"}"));
	g_assert_true(has_pair(argv, "-device", "virtio-rng-pci"));
	g_assert_true(has_pair(argv, "-machine", "q35,graphics=off,pflash0=code,pflash1=vars"));
}

static void test_order(void)
{
	/* In front of the first NIC and behind the last one. */
	g_assert_cmpint(qemu_disk_index(true), <, 10);
	g_assert_cmpint(qemu_disk_index(false), >, 10 + MACHINE_MACS_MAX - 1);
	g_assert_cmpint(qemu_disk_index(true), >=, 0);
	/* The optical drive before and behind all of them: each number may be used once. */
	g_assert_cmpint(qemu_cd_index(true), <, qemu_disk_index(true));
	g_assert_cmpint(qemu_cd_index(false), >, qemu_disk_index(false));
}

static void test_qmp(void)
{
	static const struct {
		const char *text;
		bool ok;
		enum qmp_kind kind;
	} lines[] = {
		{"{\"QMP\": {\"version\": {}}}", true, QMP_GREETING},
		{"{\"return\": {}}", true, QMP_RETURN},
		{"{\"event\": \"RESET\", \"data\": {}}\r", true, QMP_EVENT},
		{"{\"error\": {\"desc\": \"a\\nb\"}}", true, QMP_REFUSAL},
		{"{\"event\": \"\"}", false, QMP_EVENT},
		{"{}", false, QMP_EVENT},
		{"[]", false, QMP_EVENT},
		{"", false, QMP_EVENT},
		{"{\"return\": {}} {}", false, QMP_EVENT},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_auto(qmp_line) line = {.kind = QMP_GREETING};
		bool ok = qmp_parse_line(lines[i].text, strlen(lines[i].text), &line, NULL);

		g_assert_true(ok == lines[i].ok);
		g_assert_true(!ok || line.kind == lines[i].kind);
		if (ok && line.kind == QMP_REFUSAL)
			g_assert_cmpstr(line.text, ==, "a?b");
	}
}

static void test_accounts(void)
{
	struct accounts *a = accounts_new("admin", secret_new("pw"), SPAN_SECONDS(10));
	struct mono start = {1000000}, later = {9000000}, end = {20000000};
	const char *first, *second;

	g_assert_true(accounts_check(a, "admin", "pw"));
	g_assert_false(accounts_check(a, "admin", "pwx"));
	g_assert_false(accounts_check(a, "root", "pw"));
	g_assert_true(accounts_check_header(a, "basic YWRtaW46cHc="));
	g_assert_false(accounts_check_header(a, "Basic YWRtaW46"));
	g_assert_cmpstr(accounts_open_session(a, start, &first), ==, "1");
	g_assert_cmpstr(accounts_open_session(a, start, &second), ==, "2");
	g_autofree char *token = g_strdup(second);

	g_assert_true(accounts_use_token(a, token, later));
	g_assert_cmpstr(accounts_session_at(a, 0, (struct mono){12000000}), ==, "2");
	g_assert_true(accounts_use_token(a, token, (struct mono){12000000}));
	g_assert_false(accounts_use_token(a, token, (struct mono){12000000 + 10000000}));
	for (unsigned i = 0; i < ACCOUNTS_SESSIONS_MAX; i++)
		g_assert_nonnull(accounts_open_session(a, end, &first));
	g_assert_null(accounts_open_session(a, end, &first));
	accounts_free(a);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine file/paths start at its folder and the UUID is stable",
			test_file);
	g_test_add_func("/qemu/the command line has what the file says", test_command_line);
	g_test_add_func("/qemu/one number decides the boot order", test_order);
	g_test_add_func("/qmp/lines are told apart", test_qmp);
	g_test_add_func("/accounts/sessions are bounded and end by idleness", test_accounts);
	return g_test_run();
}
