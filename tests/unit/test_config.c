#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "errors.h"
#include "jsons.h"
#include "role.h"

static struct config *parse(const char *text, GError **error)
{
	return config_parse(text, strlen(text), "inox.conf", error);
}

static void test_defaults(void)
{
	g_autoptr(config) c = config_new_defaults();
	g_autofree char *database = config_database(c);
	unsigned count = 1;

	g_assert_cmpstr(config_text(c, OPTION_api_host_ip), ==, "127.0.0.1");
	g_assert_cmpint(config_int(c, OPTION_api_port), ==, 6385);
	g_assert_false(config_bool(c, OPTION_agent_poll_only));
	g_assert_cmpstr(config_list(c, OPTION_DEFAULT_enabled_hardware_types)[1], ==,
			"fake-hardware");
	config_networks(c, OPTION_agent_allowed_networks, &count);
	g_assert_cmpuint(count, ==, 0);
	g_assert_cmpint(config_poll_interval(c).us, ==, SPAN_SECONDS(300).us);
	g_assert_cmpstr(database, ==, "sqlite:///var/lib/inox/inox.sqlite");
	g_assert_cmpstr(config_host(c), ==, g_get_host_name());
	g_assert_null(config_peek_warning(c));
}

static void test_values(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(config) c = parse("# comment\n; another\n\n[api]\nport=0\n"
				    "ramdisk_heartbeat_timeout = 60\n"
				    "enable_ramdisk_endpoints = False\n"
				    "[agent]\n\tpoll_only\t=  yes \n"
				    "[ agent ]\nallowed_networks = 127.0.0.0/8 , fd00::/8,\n"
				    "[conductor]\r\nhost = a # b\r\n",
				    &error);
	unsigned count = 0;

	/* The indented line is the only mistake. */
	g_assert_null(c);
	g_assert_cmpstr(error->message, ==,
			"inox.conf:9: the line starts with a blank: a value cannot be continued");
	c = parse("[api]\nport=0\nramdisk_heartbeat_timeout = 60\n"
		  "enable_ramdisk_endpoints = False\n[agent]\npoll_only\t=  yes \n"
		  "[ agent ]\nallowed_networks = 127.0.0.0/8 , fd00::/8,\n"
		  "[conductor]\r\nhost = a # b\r\n",
		  NULL);
	g_assert_nonnull(c);
	g_assert_cmpint(config_int(c, OPTION_api_port), ==, 0);
	g_assert_cmpint(config_poll_interval(c).us, ==, SPAN_SECONDS(60).us);
	g_assert_true(config_bool(c, OPTION_api_disable_agent_api));
	g_assert_true(config_bool(c, OPTION_agent_poll_only));
	g_assert_cmpint(config_networks(c, OPTION_agent_allowed_networks, &count)[1].prefix, ==, 8);
	g_assert_cmpuint(count, ==, 2);
	g_assert_cmpstr(config_host(c), ==, "a # b");
}

static void test_clean_priorities(void)
{
	g_autoptr(config) defaults = config_new_defaults();
	g_autoptr(json_t) none = config_clean_priorities(defaults, NULL);
	g_autoptr(config) c = parse("[deploy]\nerase_devices_priority = 10\n"
				    "erase_devices_metadata_priority = 0\n"
				    "[conductor]\nclean_step_priority_override = "
				    "deploy.erase_devices:20, bios.reset:3\n",
				    NULL);
	g_autoptr(json_t) some = config_clean_priorities(c, NULL);
	g_autoptr(json_t) expected = json_pack("{s:i, s:i, s:i}", "deploy.erase_devices", 20,
					       "deploy.erase_devices_metadata", 0, "bios.reset", 3);

	g_assert_cmpuint(json_object_size(none), ==, 0);
	g_assert_true(json_equal(some, expected));
	g_assert_cmpuint(config_patience(c, OPTION_conductor_clean_callback_timeout), ==, 1800);
	g_autoptr(config) for_ever = parse("[conductor]\nclean_callback_timeout = 0\n", NULL);

	g_assert_cmpuint(config_patience(for_ever, OPTION_conductor_clean_callback_timeout), ==,
			 G_MAXUINT);
}

static const struct bad {
	const char *text, *sentence;
} bad_table[] = {
	{"[agent]\npoll_onyl = true\n",
	 "inox.conf:2: [agent]poll_onyl: unknown option; did you mean poll_only?"},
	{"[api]\npoll_only = true\n",
	 "inox.conf:2: [api]poll_only: unknown option; did you mean [agent]poll_only?"},
	{"[api]\nxyzzyplugh = true\n", "inox.conf:2: [api]xyzzyplugh: unknown option"},
	{"[agent]\n\ntransport = foo\n",
	 "inox.conf:3: [agent]transport = foo: allowed are psk, pinned, http"},
	{"[api]\nport = 65536\n",
	 "inox.conf:2: [api]port = 65536: allowed is a whole number from 0 to 65535"},
	{"[api]\nport = 80x\n",
	 "inox.conf:2: [api]port = 80x: allowed is a whole number from 0 to 65535"},
	{"[agent]\ncommand_timeout =\n", "inox.conf:2: [agent]command_timeout = : allowed is a "
					 "whole number of seconds from 1 to 3600"},
	{"[agent]\npoll_only = maybe\n",
	 "inox.conf:2: [agent]poll_only = maybe: allowed are true and false"},
	{"[agent]\nallowed_networks = 10.0.0.0/33\n",
	 "inox.conf:2: [agent]allowed_networks = 10.0.0.0/33: allowed are ADDRESS/PREFIX, comma "
	 "separated: Prefix length of 10.0.0.0/33 is not in 0 to 32."},
	{"[DEFAULT]\nstate_path = var\n",
	 "inox.conf:2: [DEFAULT]state_path = var: allowed is an absolute path"},
	{"[api]\nport = 1\n[api]\nport = 2\n", "inox.conf:4: [api]port: is set in line 2 already"},
	{"port = 1\n", "inox.conf:1: an option before the first [group]"},
	{"[api\nport = 1\n", "inox.conf:1: a group is written as [name]"},
	{"[api]\nport\n", "inox.conf:2: expected `name = value`, `[group]` or a comment"},
	{"[api]\nport = 1\x01\n", "inox.conf:2: the line has a control character"},
	{"[api]\nport = \xff\n", "inox.conf:2: the line is not UTF-8 text"},
	{"[api]\nhost_ip = example.org\n",
	 "inox.conf:2: [api]host_ip: allowed is a numeric IPv4 or IPv6 address"},
	{"[boot]\nroot = /srv\npush_url = https://b\nhttp_url = http://b\n",
	 "inox.conf:3: [boot]push_url: [boot]root and [boot]push_url exclude each other: the boot "
	 "host is a local folder or a remote one"},
	{"[boot]\npush_url = http://b\nhttp_url = http://b\n",
	 "inox.conf:2: [boot]push_url: allowed is a URL that starts with https://, without user, "
	 "query and fragment"},
	{"[boot]\nmedia_url_lifetime = 299\n",
	 "inox.conf:2: [boot]media_url_lifetime: no machine boots in so short a time: allowed are 0 "
	 "and at least 300 seconds"},
	{"[boot]\nroot = /srv\n",
	 "inox.conf: [boot]http_url: must be set when there is a boot host ([boot]root or "
	 "[boot]push_url): nodes load their ramdisk from it"},
	{"[agent]\nallowed_networks = 10.0.0.0/24\n[boot]\naddress_pool = 10.0.0.9-10.0.1.1\n",
	 "inox.conf:4: [boot]address_pool: the pool is outside [agent]allowed_networks: its nodes "
	 "could never be dialled"},
	{"[boot]\naddress_pool = 10.0.0.9-10.0.0.1\n",
	 "inox.conf:2: [boot]address_pool: allowed is FIRST-LAST: two numeric addresses of one "
	 "family, the lower one first"},
	{"[database]\nconnection = postgresql://db/inox\n",
	 "inox.conf:2: [database]connection: allowed is sqlite:///absolute/path"},
	{"[DEFAULT]\nenabled_hardware_types = idrac\n",
	 "inox.conf:2: [DEFAULT]enabled_hardware_types: there is no driver `idrac`: allowed are "
	 "redfish, fake-hardware"},
	{"[agent]\npoll_only = true\nkernel_append_params = ipa-api-url=http://x\n",
	 "inox.conf:3: [agent]kernel_append_params: ipa-api-url contradicts [agent]poll_only = "
	 "true: no agent is told an API address"},
	{"[conductor]\nclean_step_priority_override = deploy.erase_devices\n",
	 "inox.conf:2: [conductor]clean_step_priority_override: `deploy.erase_devices` is not "
	 "INTERFACE.STEP:PRIORITY with a priority from 0 to 1000000"},
	{"[conductor]\nclean_step_priority_override = deploy.burn:1, erase:2\n",
	 "inox.conf:2: [conductor]clean_step_priority_override: `erase:2` is not "
	 "INTERFACE.STEP:PRIORITY with a priority from 0 to 1000000"},
	{"[deploy]\nerase_devices_priority = high\n",
	 "inox.conf:2: [deploy]erase_devices_priority = high: allowed is a whole number from 0 to "
	 "1000000"},
	{"[DEFAULT]\nauth_strategy = keystone\n",
	 "inox.conf:2: [DEFAULT]auth_strategy = keystone: allowed is noauth"},
};

static void test_bad(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(bad_table); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(config) c = parse(bad_table[i].text, &error);

		g_assert_null(c);
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_cmpstr(error->message, ==, bad_table[i].sentence);
	}
}

static void test_all_at_once(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(parse("[api]\nport = x\n[agent]\nport = x\nnonsense\n", &error));
	g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), ==, 3);
}

static void test_noauth(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(parse("[api]\nhost_ip = 0.0.0.0\n", &error));
	g_assert_nonnull(strstr(error->message, "inox.conf:2: [api]host_ip: with [api]"));
	g_autoptr(config) v6 = parse("[api]\nhost_ip = ::1\n", NULL);
	g_assert_nonnull(v6);
	g_autoptr(config) open =
		parse("[api]\nhost_ip = 0.0.0.0\nallow_unauthenticated = true\n", NULL);
	g_assert_nonnull(open);
}

static void test_ignored(void)
{
	g_autoptr(config) c = parse("[DEFAULT]\nrequire_agent_token = true\n"
				    "[service_catalog]\nauth_url = x\n",
				    NULL);

	g_assert_cmpstr(
		config_peek_warning(c), ==,
		"inox.conf: these options of Ironic do nothing here: "
		"[DEFAULT]require_agent_token (line 2), [service_catalog]auth_url (line 4)");
}

static struct config *through_fd(const struct config *c, enum role role)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct config *read;

	g_assert_true(config_write_for_role(c, role, fd, NULL));
	g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
	read = config_read_fd(fd, NULL);
	close(fd);
	g_assert_nonnull(read);
	return read;
}

static void test_roles(void)
{
	g_autoptr(config) c = parse("[agent]\nallowed_networks = 10.0.0.0/8\n"
				    "[conductor]\nhost = c1\n[api]\npublic_endpoint = http://a\n",
				    NULL);
	g_autoptr(config) dialer = through_fd(c, ROLE_DIALER);
	g_autoptr(config) api = through_fd(c, ROLE_API);
	unsigned count = 0;

	g_assert_cmpint(config_networks(dialer, OPTION_agent_allowed_networks, &count)[0].prefix,
			==, 8);
	g_assert_cmpstr(config_text(api, OPTION_api_public_endpoint), ==, "http://a");
	g_assert_cmpstr(config_host(api), ==, "c1");
	if (g_test_subprocess()) {
		config_text(dialer, OPTION_api_public_endpoint);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*public_endpoint is not an option of this process*");
}

/* The sample with every comment sign in front of an option removed is the default configuration. */
static void test_sample(void)
{
	g_autoptr(GString) sample = g_string_new(NULL);
	g_autoptr(GError) error = NULL;

	config_print_sample(sample);
	for (char *c = sample->str; *c; c++)
		if (*c == '#' && g_ascii_isalpha(c[1]))
			*c = '\n';
	g_autoptr(config) c = config_parse(sample->str, sample->len, "sample", &error);
	g_assert_no_error(error);
	g_assert_cmpint(config_int(c, OPTION_api_port), ==, 6385);
	g_assert_nonnull(strstr(sample->str, "\nstate_path = /var/lib/inox\n"));
}

static void test_files(void)
{
	g_autofree char *folder = g_dir_make_tmp("inox-test-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "inox.conf", NULL);
	g_autofree char *large = g_strnfill(1024 * 1024 + 1, '#');
	g_autoptr(GError) error = NULL;

	g_assert_null(config_load(path, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	g_clear_error(&error);
	g_assert_true(g_file_set_contents(path, "[api]\nport = 7000\n", -1, NULL));
	g_autoptr(config) c = config_load(path, NULL);
	g_assert_cmpint(config_int(c, OPTION_api_port), ==, 7000);
	g_assert_true(g_file_set_contents(path, large, -1, NULL));
	g_assert_null(config_load(path, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	unlink(path);
	rmdir(folder);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config/without a file every option has its default", test_defaults);
	g_test_add_func("/config/values of all kinds are read and blanks do not count",
			test_values);
	g_test_add_func("/config/each mistake is named with line, option and what is allowed",
			test_bad);
	g_test_add_func("/config/all mistakes are reported at once", test_all_at_once);
	g_test_add_func("/config/noauth is refused on an address that is not loopback",
			test_noauth);
	g_test_add_func("/config/options of Ironic that do nothing are named in one warning",
			test_ignored);
	g_test_add_func("/config/priorities of clean steps come from two groups",
			test_clean_priorities);
	g_test_add_func("/config/a process gets the options of its role and no other", test_roles);
	g_test_add_func("/config/the sample file holds every default", test_sample);
	g_test_add_func("/config/a missing file and a huge file are refused", test_files);
	return g_test_run();
}
