#include <string.h>
#include <unistd.h>

#include "boot_fixture.h"
#include "errors.h"

static void test_publish_and_withdraw(void)
{
	struct host h;

	host_start(&h);
	for (unsigned twice = 0; twice < 2; twice++) {
		g_assert_true(host_publish(&h));
		g_autofree char *reservation = host_read(&h, HOST_FILE);
		g_autofree char *second = host_read(&h, "dhcp-hosts/52-54-00-77-02-11");

		g_assert_cmpstr(reservation, ==, MAC ",10.77.2.10\n");
		g_assert_cmpstr(second, ==, "52:54:00:77:02:11,ignore\n");
		g_assert_true(host_has(&h, TOKEN_FILE));
		g_assert_true(host_has(&h, SCRIPT_FILE));
		g_assert_false(host_has(&h, "http/boot/52-54-00-77-02-11"));
	}
	g_assert_cmpuint(host_mode(&h, TOKEN_FILE) & 0007, ==, 0);
	g_assert_cmpuint(host_mode(&h, SCRIPT_FILE) & 0007, ==, 0);
	g_assert_cmpuint(host_mode(&h, HOST_FILE), ==, 0644);
	for (unsigned twice = 0; twice < 2; twice++) {
		g_assert_true(host_withdraw(&h, true));
		g_assert_false(host_has(&h, "http/once/" PATH));
		g_assert_true(host_has(&h, SCRIPT_FILE));
	}
	for (unsigned twice = 0; twice < 2; twice++) {
		g_assert_true(host_withdraw(&h, false));
		g_autofree char *reservation = host_read(&h, HOST_FILE);

		g_assert_cmpstr(reservation, ==, MAC ",ignore\n");
		g_assert_false(host_has(&h, "http/boot/52-54-00-77-02-10"));
	}
	host_end(&h);
}

static void test_withdraw_before_publish(void)
{
	struct host h;

	host_start(&h);
	g_assert_true(host_withdraw(&h, true));
	g_assert_true(host_withdraw(&h, false));
	host_end(&h);
}

static bool withdraw(struct host *h, const char *macs, GError **error)
{
	g_auto(message)
		m = {.type = MESSAGE_boot_withdraw, .boot_withdraw = boot_withdraw_message(false)};

	g_free(m.boot_withdraw.macs);
	m.boot_withdraw.macs = g_strdup(macs);
	return delivery_withdraw(h->shelf, &m.boot_withdraw, error);
}

/* The node's ports are another node's by now, which has its own boot data under their names. */
static void test_withdraw_without_ports(void)
{
	struct host h;

	host_start(&h);
	g_assert_true(host_publish(&h));
	g_assert_true(withdraw(&h, "", NULL));
	g_assert_false(host_has(&h, "http/once/" PATH));
	g_assert_true(host_has(&h, SCRIPT_FILE));
	g_assert_true(withdraw(&h, NULL, NULL));
	host_end(&h);
}

static void test_withdraw_of_many_ports(void)
{
	g_autoptr(GString) macs = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	struct host h;

	for (unsigned i = 0; i < 2 * DELIVERY_MACS_MAX; i++)
		g_string_append_printf(macs, "52:54:00:88:00:%02x,", i);
	g_string_append(macs, MAC);
	host_start(&h);
	g_assert_true(host_publish(&h));
	g_assert_true(withdraw(&h, macs->str, NULL));
	g_assert_false(host_has(&h, "http/once/" PATH));
	g_assert_false(host_has(&h, SCRIPT_FILE));
	g_assert_true(host_has(&h, "dhcp-hosts/52-54-00-88-00-3f"));
	/* One that cannot be read does not keep the others. */
	g_assert_true(host_publish(&h));
	g_assert_false(withdraw(&h, "52:54:00:77:02," MAC, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	g_assert_false(host_has(&h, "http/once/" PATH));
	g_assert_false(host_has(&h, SCRIPT_FILE));
	host_end(&h);
}

/* What a publisher that died half-way may leave behind. */
static void test_leftovers(void)
{
	struct host h;

	host_start(&h);
	g_assert_true(host_publish(&h));
	g_autofree char *half = g_build_filename(h.root, "http/once/" PATH "/.token.img.new", NULL);
	g_autofree char *half_script =
		g_build_filename(h.root, "http/boot/52-54-00-77-02-10/.10.77.2.10.ipxe.new", NULL);

	g_assert_true(g_file_set_contents(half, "x", 1, NULL));
	g_assert_true(g_file_set_contents(half_script, "x", 1, NULL));
	g_assert_true(host_publish(&h));
	g_assert_false(g_file_test(half, G_FILE_TEST_EXISTS));
	g_assert_false(g_file_test(half_script, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_set_contents(half, "x", 1, NULL));
	g_assert_true(host_withdraw(&h, true));
	g_assert_false(host_has(&h, "http/once/" PATH));
	host_end(&h);
}

static void test_without_token(void)
{
	struct host h;
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};

	host_start(&h);
	g_clear_pointer(&m.boot_publish.token, secret_free);
	g_assert_true(delivery_publish(h.shelf, &boot_site, &m.boot_publish, NULL));
	g_autofree char *script = host_read(&h, SCRIPT_FILE);

	g_assert_null(strstr(script, "token.img"));
	g_assert_null(strstr(script, "inox-token"));
	m.boot_publish.by_contact = true;
	g_assert_true(delivery_publish(h.shelf, &boot_site, &m.boot_publish, NULL));
	g_autofree char *waiting = host_read(&h, SCRIPT_FILE);

	g_assert_nonnull(strstr(waiting, " inox-token=contact "));
	g_assert_false(host_has(&h, "http/once"));
	host_end(&h);
}

/* The transport psk is only spoken by our own agent, which needs no configuration file. */
static void test_token_of_a_stock_agent(void)
{
	static const char conf[] = "[DEFAULT]\nagent_token = " TOKEN "\n";
	struct host h;

	host_start(&h);
	for (unsigned t = 0; t <= TRANSPORT_HTTP; t++) {
		g_auto(message)
			m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};
		g_autofree char *path = g_build_filename(h.root, TOKEN_FILE, NULL);
		g_autofree char *bytes = NULL;
		gsize length;

		m.boot_publish.transport = t;
		g_assert_true(delivery_publish(h.shelf, &boot_site, &m.boot_publish, NULL));
		g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
		g_assert_nonnull(memmem(bytes, length, "etc/inox/agent-token", 21));
		g_assert_true((memmem(bytes, length, "etc/ironic-python-agent.d/inox.conf", 36) !=
			       NULL) == (t != TRANSPORT_PSK));
		g_assert_true((memmem(bytes, length, conf, strlen(conf)) != NULL) ==
			      (t != TRANSPORT_PSK));
	}
	host_end(&h);
}

#define SECRET_SCRIPT "http/once/" PATH "/52-54-00-77-02-10.ipxe"

static void test_token_on_the_command_line(void)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};
	struct host h;

	host_start(&h);
	m.boot_publish.on_command_line = true;
	g_assert_true(delivery_publish(h.shelf, &boot_site, &m.boot_publish, NULL));
	g_autofree char *open = host_read(&h, SCRIPT_FILE);
	g_autofree char *hidden = host_read(&h, SECRET_SCRIPT);

	/* Who may ask for the script gets the way to the token, as with the token's file. */
	g_assert_null(strstr(open, TOKEN));
	g_assert_nonnull(strstr(open, "chain --replace http://10.77.1.2/once/" PATH
				      "/52-54-00-77-02-10.ipxe || goto again\n"));
	g_assert_nonnull(strstr(hidden, " ipa-agent-token=" TOKEN " "));
	g_assert_nonnull(strstr(hidden, "initrd --name token.img "));
	g_assert_cmpuint(host_mode(&h, SECRET_SCRIPT) & 0007, ==, 0);
	g_assert_true(host_withdraw(&h, true));
	g_assert_false(host_has(&h, SECRET_SCRIPT));
	host_end(&h);
}

static void test_ramdisk_of_a_node(void)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};
	struct host h;

	host_start(&h);
	m.boot_publish.kernel = g_strdup("ipa/vmlinuz");
	m.boot_publish.ramdisk = g_strdup("https://192.0.2.7/ipa.initramfs");
	g_assert_true(delivery_publish(h.shelf, &boot_site, &m.boot_publish, NULL));
	g_autofree char *script = host_read(&h, SCRIPT_FILE);

	g_assert_nonnull(strstr(script, "kernel --name vmlinuz http://10.77.1.2/ipa/vmlinuz "));
	g_assert_nonnull(
		strstr(script, "initrd --name initrd https://192.0.2.7/ipa.initramfs || "));
	static const char *const bad[] = {"../x", "/x", "a b", "http://x/${y}", "a//b"};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_free(m.boot_publish.kernel);
		m.boot_publish.kernel = g_strdup(bad[i]);
		g_assert_false(delivery_publish(h.shelf, &boot_site, &m.boot_publish, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
	g_free(m.boot_publish.kernel);
	m.boot_publish.kernel = g_strdup("");
	m.boot_publish.iso = g_strdup("http://192.0.2.7/x.iso");
	g_assert_false(delivery_publish(h.shelf, &boot_site, &m.boot_publish, NULL));
	host_end(&h);
}

/* DHCP is somebody else's: any interface may be the one that boots, from any address. */
static void test_without_address(void)
{
	struct host h;
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};

	host_start(&h);
	(*m.boot_publish.address) = '\0';
	g_assert_true(delivery_publish(h.shelf, &boot_site, &m.boot_publish, NULL));
	g_assert_true(host_has(&h, "http/boot/52-54-00-77-02-10/any.ipxe"));
	g_assert_true(host_has(&h, "http/boot/52-54-00-77-02-11/any.ipxe"));
	g_assert_false(host_has(&h, "dhcp-hosts"));
	g_assert_true(host_withdraw(&h, false));
	g_assert_false(host_has(&h, "http/boot/52-54-00-77-02-10"));
	g_assert_false(host_has(&h, "http/boot/52-54-00-77-02-11"));
	host_end(&h);
}

static void replace(char **text, const char *by)
{
	g_free(*text);
	*text = g_strdup(by);
}

static void test_hostile_requests(void)
{
	static const struct {
		const char *macs, *address, *path;
	} bad[] = {
		{"", "10.77.2.10", PATH},
		{"52:54:00:77:02", "10.77.2.10", PATH},
		{"../../../etc/cron", "10.77.2.10", PATH},
		{MAC ",", "10.77.2.10", PATH},
		{MAC, "10.77.2.10,ignore", PATH},
		{MAC, "10.77.2.10\n52:54:00:00:00:01,10.77.2.11", PATH},
		{MAC, "node.example", PATH},
		{MAC, "fe80::1%eth0", PATH},
		{MAC, "10.77.2.10", ""},
		{MAC, "10.77.2.10", "short"},
		{MAC, "10.77.2.10", "../../../../etc/passwd-passwd"},
		{MAC, "10.77.2.10", "${mac}AAAAAAAAAAAAAAAAAAAAAAAAA"},
	};
	struct host h;

	host_start(&h);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_auto(message)
			m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};
		g_autoptr(GError) error = NULL;

		replace(&m.boot_publish.macs, bad[i].macs);
		replace(&m.boot_publish.address, bad[i].address);
		replace(&m.boot_publish.path, bad[i].path);
		g_assert_false(delivery_publish(h.shelf, &boot_site, &m.boot_publish, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_false(host_has(&h, "http"));
		g_assert_false(host_has(&h, "dhcp-hosts"));
	}
	host_end(&h);
}

static void test_ipv6_reservation(void)
{
	struct host h;
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};

	host_start(&h);
	replace(&m.boot_publish.address, "FD77:2:0::10");
	g_assert_true(delivery_publish(h.shelf, &boot_site, &m.boot_publish, NULL));
	g_autofree char *reservation = host_read(&h, HOST_FILE);

	g_assert_cmpstr(reservation, ==, MAC ",[fd77:2::10]\n");
	host_end(&h);
}

static void test_links_are_not_followed(void)
{
	struct host h;
	g_autofree char *outside = g_dir_make_tmp("inox-outside-XXXXXX", NULL);

	host_start(&h);
	g_autofree char *link = g_build_filename(h.root, "dhcp-hosts", NULL);

	g_assert_cmpint(symlink(outside, link), ==, 0);
	g_assert_false(host_publish(&h));
	g_autofree char *stray = g_build_filename(outside, "52-54-00-77-02-10", NULL);

	g_assert_false(g_file_test(stray, G_FILE_TEST_EXISTS));
	host_end(&h);
	fixture_remove(outside);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/delivery/publish and withdraw are complete and can be repeated",
			test_publish_and_withdraw);
	g_test_add_func("/delivery/withdrawing what was never there succeeds",
			test_withdraw_before_publish);
	g_test_add_func("/delivery/what belongs to no port is withdrawn without ports",
			test_withdraw_without_ports);
	g_test_add_func("/delivery/withdrawing takes the ports of before and of now",
			test_withdraw_of_many_ports);
	g_test_add_func("/delivery/leftovers of a crash do no harm", test_leftovers);
	g_test_add_func("/delivery/a boot without a token has no token file", test_without_token);
	g_test_add_func("/delivery/a token on the command line lies where its file does",
			test_token_on_the_command_line);
	g_test_add_func("/delivery/a node may have a ramdisk of its own", test_ramdisk_of_a_node);
	g_test_add_func("/delivery/a stock agent finds the token in its configuration",
			test_token_of_a_stock_agent);
	g_test_add_func("/delivery/without an address every interface may boot",
			test_without_address);
	g_test_add_func("/delivery/a hostile request leaves no file", test_hostile_requests);
	g_test_add_func("/delivery/an IPv6 address is in brackets", test_ipv6_reservation);
	g_test_add_func("/delivery/symbolic links are not followed", test_links_are_not_followed);
	return g_test_run();
}
