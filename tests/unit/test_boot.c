#include <fcntl.h>
#include <glib/gstdio.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot.h"
#include "boot_iso.h"
#include "channel.h"
#include "cpio.h"
#include "delivery.h"
#include "errors.h"
#include "media_record.h"
#include "plain.h"

#define NODE     "5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c33"
#define MAC      "52:54:00:77:02:10"
#define PATH     "1900000000-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZmdoaWp"
#define TOKEN    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
#define HTTP_URL "http://10.77.1.2"

/* ---- archive */

static void test_archive(void)
{
	GByteArray *a = cpio_new();
	static const char expected[] = "070701"
				       "00000000"
				       "000041ED"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000004"
				       "00000000"
				       "etc\0\0\0"
				       "070701"
				       "00000000"
				       "00008180"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000005"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000006"
				       "00000000"
				       "etc/t\0"
				       "hello\0\0\0"
				       "070701"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "0000000B"
				       "00000000"
				       "TRAILER!!!";

	cpio_add_folder(a, "etc", 0755);
	cpio_add_file(a, "etc/t", 0600, "hello", 5);
	cpio_finish(a);
	g_assert_cmpuint(a->len, ==, 512);
	g_assert_cmpmem(a->data, sizeof(expected), expected, sizeof(expected));
	for (guint i = sizeof(expected); i < a->len; i++)
		g_assert_cmpuint(a->data[i], ==, 0);
	cpio_wipe_free(a);
}

/* ---- script */

static const struct uuid node = {NODE};
static const struct script_site site = {
	.http_url = HTTP_URL, .kernel = "ramdisk/vmlinuz", .ramdisk = "ramdisk/initrd"};

static struct script_boot boot_with(const char *arguments)
{
	return (struct script_boot){&node, 7, TRANSPORT_PSK, arguments, "", PATH};
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
	g_autofree char *script = script_print(&site, &boot, arguments, mac);

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
		g_autofree char *script = script_print(&site, &boot, arguments, mac);
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

/* ---- delivery to a local folder */

struct host {
	char *root;
	struct shelf *shelf;
};

static struct config *config_of(const char *option, const char *value)
{
	g_autofree char *file = NULL;
	int fd = g_file_open_tmp("inox-boot-XXXXXX.conf", &file, NULL);
	g_autofree char *text =
		g_strdup_printf("[boot]\n%s = %s\nhttp_url = " HTTP_URL "/\n", option, value);
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(fd, >=, 0);
	close(fd);
	g_assert_true(g_file_set_contents(file, text, -1, NULL));
	struct config *c = config_load(file, &error);

	g_assert_no_error(error);
	g_unlink(file);
	return c;
}

static void host_start(struct host *h)
{
	h->root = g_dir_make_tmp("inox-boot-XXXXXX", NULL);
	g_autoptr(config) c = config_of("root", h->root);

	h->shelf = shelf_new(c, NULL);
	g_assert_nonnull(h->shelf);
}

static void remove_tree(const char *path)
{
	g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
	const char *name;

	while (folder && (name = g_dir_read_name(folder))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		remove_tree(child);
	}
	(void)g_remove(path);
}

static void host_end(struct host *h)
{
	shelf_free(h->shelf);
	remove_tree(h->root);
	g_free(h->root);
}

static char *content(const struct host *h, const char *name)
{
	g_autofree char *path = g_build_filename(h->root, name, NULL);
	char *bytes = NULL;

	(void)g_file_get_contents(path, &bytes, NULL, NULL);
	return bytes;
}

static bool exists(const struct host *h, const char *name)
{
	g_autofree char *path = g_build_filename(h->root, name, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

static unsigned mode_of(const struct host *h, const char *name)
{
	g_autofree char *path = g_build_filename(h->root, name, NULL);
	struct stat st;

	g_assert_cmpint(stat(path, &st), ==, 0);
	return st.st_mode & 07777u;
}

static struct message_boot_publish publish_message(void)
{
	return (struct message_boot_publish){.request = 1,
					     .node = node,
					     .epoch = 7,
					     .macs = g_strdup(MAC ",52:54:00:77:02:11"),
					     .address = g_strdup("10.77.2.10"),
					     .token = secret_new(TOKEN),
					     .arguments = g_strdup("{\"quiet\":\"\"}"),
					     .api_url = g_strdup(""),
					     .path = g_strdup(PATH)};
}

static struct message_boot_withdraw withdraw_message(bool token_only)
{
	return (struct message_boot_withdraw){.request = 2,
					      .node = node,
					      .epoch = 7,
					      .macs = g_strdup(MAC ",52:54:00:77:02:11"),
					      .path = g_strdup(PATH),
					      .token_only = token_only};
}

static bool withdraw(struct host *h, bool token_only)
{
	g_auto(message)
		m = {.type = MESSAGE_boot_withdraw, .boot_withdraw = withdraw_message(token_only)};

	return delivery_withdraw(h->shelf, &m.boot_withdraw, NULL);
}

static bool publish(struct host *h)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};

	return delivery_publish(h->shelf, &site, &m.boot_publish, NULL);
}

#define TOKEN_FILE  "http/once/" PATH "/token.img"
#define SCRIPT_FILE "http/boot/52-54-00-77-02-10/10.77.2.10.ipxe"
#define HOST_FILE   "dhcp-hosts/52-54-00-77-02-10"

static void test_publish_and_withdraw(void)
{
	struct host h;

	host_start(&h);
	for (unsigned twice = 0; twice < 2; twice++) {
		g_assert_true(publish(&h));
		g_autofree char *reservation = content(&h, HOST_FILE);
		g_autofree char *second = content(&h, "dhcp-hosts/52-54-00-77-02-11");

		g_assert_cmpstr(reservation, ==, MAC ",10.77.2.10\n");
		g_assert_cmpstr(second, ==, "52:54:00:77:02:11,ignore\n");
		g_assert_true(exists(&h, TOKEN_FILE));
		g_assert_true(exists(&h, SCRIPT_FILE));
		g_assert_false(exists(&h, "http/boot/52-54-00-77-02-11"));
	}
	g_assert_cmpuint(mode_of(&h, TOKEN_FILE) & 0007, ==, 0);
	g_assert_cmpuint(mode_of(&h, SCRIPT_FILE) & 0007, ==, 0);
	g_assert_cmpuint(mode_of(&h, HOST_FILE), ==, 0644);
	for (unsigned twice = 0; twice < 2; twice++) {
		g_assert_true(withdraw(&h, true));
		g_assert_false(exists(&h, "http/once/" PATH));
		g_assert_true(exists(&h, SCRIPT_FILE));
	}
	for (unsigned twice = 0; twice < 2; twice++) {
		g_assert_true(withdraw(&h, false));
		g_autofree char *reservation = content(&h, HOST_FILE);

		g_assert_cmpstr(reservation, ==, MAC ",ignore\n");
		g_assert_false(exists(&h, "http/boot/52-54-00-77-02-10"));
	}
	host_end(&h);
}

static void test_withdraw_before_publish(void)
{
	struct host h;

	host_start(&h);
	g_assert_true(withdraw(&h, true));
	g_assert_true(withdraw(&h, false));
	host_end(&h);
}

/* What a publisher that died half-way may leave behind. */
static void test_leftovers(void)
{
	struct host h;

	host_start(&h);
	g_assert_true(publish(&h));
	g_autofree char *half = g_build_filename(h.root, "http/once/" PATH "/.token.img.new", NULL);
	g_autofree char *half_script =
		g_build_filename(h.root, "http/boot/52-54-00-77-02-10/.10.77.2.10.ipxe.new", NULL);

	g_assert_true(g_file_set_contents(half, "x", 1, NULL));
	g_assert_true(g_file_set_contents(half_script, "x", 1, NULL));
	g_assert_true(publish(&h));
	g_assert_false(g_file_test(half, G_FILE_TEST_EXISTS));
	g_assert_false(g_file_test(half_script, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_set_contents(half, "x", 1, NULL));
	g_assert_true(withdraw(&h, true));
	g_assert_false(exists(&h, "http/once/" PATH));
	host_end(&h);
}

static void test_without_token(void)
{
	struct host h;
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};

	host_start(&h);
	g_clear_pointer(&m.boot_publish.token, secret_free);
	g_assert_true(delivery_publish(h.shelf, &site, &m.boot_publish, NULL));
	g_autofree char *script = content(&h, SCRIPT_FILE);

	g_assert_null(strstr(script, "token.img"));
	g_assert_null(strstr(script, "inox-token"));
	m.boot_publish.by_contact = true;
	g_assert_true(delivery_publish(h.shelf, &site, &m.boot_publish, NULL));
	g_autofree char *waiting = content(&h, SCRIPT_FILE);

	g_assert_nonnull(strstr(waiting, " inox-token=contact "));
	g_assert_false(exists(&h, "http/once"));
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
			m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};
		g_autofree char *path = g_build_filename(h.root, TOKEN_FILE, NULL);
		g_autofree char *bytes = NULL;
		gsize length;

		m.boot_publish.transport = t;
		g_assert_true(delivery_publish(h.shelf, &site, &m.boot_publish, NULL));
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
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};
	struct host h;

	host_start(&h);
	m.boot_publish.on_command_line = true;
	g_assert_true(delivery_publish(h.shelf, &site, &m.boot_publish, NULL));
	g_autofree char *open = content(&h, SCRIPT_FILE);
	g_autofree char *hidden = content(&h, SECRET_SCRIPT);

	/* Who may ask for the script gets the way to the token, as with the token's file. */
	g_assert_null(strstr(open, TOKEN));
	g_assert_nonnull(strstr(open, "chain --replace http://10.77.1.2/once/" PATH
				      "/52-54-00-77-02-10.ipxe || goto again\n"));
	g_assert_nonnull(strstr(hidden, " ipa-agent-token=" TOKEN " "));
	g_assert_nonnull(strstr(hidden, "initrd --name token.img "));
	g_assert_cmpuint(mode_of(&h, SECRET_SCRIPT) & 0007, ==, 0);
	g_assert_true(withdraw(&h, true));
	g_assert_false(exists(&h, SECRET_SCRIPT));
	host_end(&h);
}

static void test_ramdisk_of_a_node(void)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};
	struct host h;

	host_start(&h);
	m.boot_publish.kernel = g_strdup("ipa/vmlinuz");
	m.boot_publish.ramdisk = g_strdup("https://192.0.2.7/ipa.initramfs");
	g_assert_true(delivery_publish(h.shelf, &site, &m.boot_publish, NULL));
	g_autofree char *script = content(&h, SCRIPT_FILE);

	g_assert_nonnull(strstr(script, "kernel --name vmlinuz http://10.77.1.2/ipa/vmlinuz "));
	g_assert_nonnull(
		strstr(script, "initrd --name initrd https://192.0.2.7/ipa.initramfs || "));
	static const char *const bad[] = {"../x", "/x", "a b", "http://x/${y}", "a//b"};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_free(m.boot_publish.kernel);
		m.boot_publish.kernel = g_strdup(bad[i]);
		g_assert_false(delivery_publish(h.shelf, &site, &m.boot_publish, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
	g_free(m.boot_publish.kernel);
	m.boot_publish.kernel = g_strdup("");
	m.boot_publish.iso = g_strdup("http://192.0.2.7/x.iso");
	g_assert_false(delivery_publish(h.shelf, &site, &m.boot_publish, NULL));
	host_end(&h);
}

/* DHCP is somebody else's: any interface may be the one that boots, from any address. */
static void test_without_address(void)
{
	struct host h;
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};

	host_start(&h);
	(*m.boot_publish.address) = '\0';
	g_assert_true(delivery_publish(h.shelf, &site, &m.boot_publish, NULL));
	g_assert_true(exists(&h, "http/boot/52-54-00-77-02-10/any.ipxe"));
	g_assert_true(exists(&h, "http/boot/52-54-00-77-02-11/any.ipxe"));
	g_assert_false(exists(&h, "dhcp-hosts"));
	g_assert_true(withdraw(&h, false));
	g_assert_false(exists(&h, "http/boot/52-54-00-77-02-10"));
	g_assert_false(exists(&h, "http/boot/52-54-00-77-02-11"));
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
			m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};
		g_autoptr(GError) error = NULL;

		replace(&m.boot_publish.macs, bad[i].macs);
		replace(&m.boot_publish.address, bad[i].address);
		replace(&m.boot_publish.path, bad[i].path);
		g_assert_false(delivery_publish(h.shelf, &site, &m.boot_publish, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_false(exists(&h, "http"));
		g_assert_false(exists(&h, "dhcp-hosts"));
	}
	host_end(&h);
}

static void test_ipv6_reservation(void)
{
	struct host h;
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};

	host_start(&h);
	replace(&m.boot_publish.address, "FD77:2:0::10");
	g_assert_true(delivery_publish(h.shelf, &site, &m.boot_publish, NULL));
	g_autofree char *reservation = content(&h, HOST_FILE);

	g_assert_cmpstr(reservation, ==, MAC ",[fd77:2::10]\n");
	host_end(&h);
}

/* ---- virtual media */

/* A base ISO in small: a sector of something else before, between and behind the places. */
static GByteArray *make_base(void)
{
	static const struct {
		const char *name;
		guint size;
	} all[] = {
#define ROW(constant, name, size) {(name), (size)},
		BOOT_ISO_PLACE_LIST(ROW)
#undef ROW
	};
	GByteArray *iso = g_byte_array_new();

	g_byte_array_set_size(iso, 2048);
	memset(iso->data, 'x', 2048);
	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
		g_autofree char *mark =
			g_strdup_printf("inox-place %s %u\n", all[i].name, all[i].size);
		guint at = iso->len;

		g_byte_array_set_size(iso, at + all[i].size + 2048);
		memset(iso->data + at, '\n', all[i].size);
		memcpy(iso->data + at, mark, strlen(mark));
		memset(iso->data + at + all[i].size, 'y', 2048);
	}
	return iso;
}

static void put_base(const struct host *h)
{
	g_autoptr(GByteArray) base = make_base();
	g_autofree char *folder = g_build_filename(h->root, "http", "ramdisk", NULL);
	g_autofree char *path = g_build_filename(folder, "boot.iso", NULL);

	g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
	g_assert_true(g_file_set_contents(path, (const char *)base->data, base->len, NULL));
}

static const struct script_site media_site = {
	HTTP_URL, "ramdisk/vmlinuz", "ramdisk/initrd", "ramdisk/boot.iso", 24, "10.77.2.1"};

static bool publish_media(struct host *h, const struct script_site *at, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};

	m.boot_publish.media = true;
	return delivery_publish(h->shelf, at, &m.boot_publish, error);
}

#define RECORD "http/once/" PATH "/boot.media"

/* The ISO that inox-media makes from the record and the base. */
static char *compose(const struct host *h, gsize *ret_length)
{
	g_autofree char *record = g_build_filename(h->root, RECORD, NULL), *text = NULL;
	g_auto(media_record) r = {.count = 0};
	char *base = NULL;
	gsize length = 0;
	uint8_t digest[MEDIA_DIGEST_BYTES];

	g_assert_true(g_file_get_contents(record, &text, &length, NULL));
	g_assert_cmpuint(length, <, 64 * 1024);
	g_assert_true(media_record_parse((const uint8_t *)text, length, &r, NULL));
	g_assert_cmpstr(r.node.s, ==, NODE);
	g_autofree char *path = g_build_filename(h->root, "http", r.base, NULL);

	g_assert_true(g_file_get_contents(path, &base, ret_length, NULL));
	g_assert_cmpuint(r.size, ==, *ret_length);
	g_assert_true(EVP_Digest(base, *ret_length, digest, NULL, EVP_sha256(), NULL) == 1);
	g_assert_cmpmem(digest, sizeof(digest), r.digest, sizeof(r.digest));
	media_record_apply(&r, 0, (uint8_t *)base, *ret_length);
	return base;
}

static void test_media(void)
{
	struct host h;
	gsize length = 0;

	host_start(&h);
	put_base(&h);
	g_autoptr(GByteArray) base = make_base();

	for (unsigned i = 0; i < 2; i++)
		g_assert_true(publish_media(&h, &media_site, NULL));
	g_autofree char *bytes = compose(&h, &length);

	g_assert_cmpuint(length, ==, base->len);
	g_assert_cmpuint(mode_of(&h, RECORD), ==, 0640);
	/* Nothing but the places has changed. */
	g_assert_cmpmem(bytes, 2048, base->data, 2048);
	g_assert_cmpint(bytes[2048 + 4096], ==, 'y');
	g_assert_cmpint(bytes[length - 1], ==, 'y');
	g_assert_null(memmem(bytes, length, "inox-place", strlen("inox-place")));
	static const char line[] =
		"append inox-node=" NODE " inox-epoch=7 inox-transport=psk quiet "
		"boot_method=vmedia BOOTIF=01-52-54-00-77-02-10 "
		"inox-address=10.77.2.10/24 inox-gateway=10.77.2.1\n";

	g_assert_nonnull(memmem(bytes, length, line, strlen(line)));
	g_assert_nonnull(memmem(bytes, length, "070701", 6));
	g_assert_nonnull(memmem(bytes, length, "agent_token = " TOKEN "\n", 14 + strlen(TOKEN)));
	/* The address is in the ISO: DHCP has nothing to do, and there is no network boot. */
	g_assert_false(exists(&h, "dhcp-hosts/52-54-00-77-02-10"));
	g_assert_false(exists(&h, "http/boot/52-54-00-77-02-10"));
	g_assert_false(exists(&h, "http/once/" PATH "/token.img"));
	g_assert_true(withdraw(&h, true));
	g_assert_false(exists(&h, "http/once/" PATH));
	host_end(&h);
}

static void test_media_without_token(void)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = publish_message()};
	struct host h;
	gsize length = 0;

	host_start(&h);
	put_base(&h);
	secret_free(m.boot_publish.token);
	m.boot_publish.token = NULL;
	m.boot_publish.media = true;
	g_assert_true(delivery_publish(h.shelf, &media_site, &m.boot_publish, NULL));
	g_autofree char *bytes = compose(&h, &length);

	g_assert_null(memmem(bytes, length, "inox-place", strlen("inox-place")));
	g_assert_null(memmem(bytes, length, "agent_token", strlen("agent_token")));
	g_assert_null(memmem(bytes, length, "070701", 6));
	/* The ISO has a path of its own all the same. */
	g_free(m.boot_publish.path);
	m.boot_publish.path = g_strdup("../x");
	g_assert_false(delivery_publish(h.shelf, &media_site, &m.boot_publish, NULL));
	/* One of a version whose paths had no time in them. */
	g_free(m.boot_publish.path);
	m.boot_publish.path = g_strdup("Zm9vYmFyYmF6cXV4MTIzNDU2");
	g_assert_false(delivery_publish(h.shelf, &media_site, &m.boot_publish, NULL));
	host_end(&h);
}

/* What was found out about the base is kept, until it is another one. */
static void test_media_with_a_new_base(void)
{
	struct host h;
	gsize length = 0;

	host_start(&h);
	put_base(&h);
	g_assert_true(publish_media(&h, &media_site, NULL));
	g_autofree char *path = g_build_filename(h.root, "http/ramdisk/boot.iso", NULL);
	g_autoptr(GByteArray) base = make_base();

	base->data[0] = 'n';
	g_assert_true(g_file_set_contents(path, (const char *)base->data, base->len, NULL));
	g_assert_true(publish_media(&h, &media_site, NULL));
	g_autofree char *bytes = compose(&h, &length);

	g_assert_cmpint(bytes[0], ==, 'n');
	g_unlink(path);
	g_assert_false(publish_media(&h, &media_site, NULL));
	host_end(&h);
}

static void test_media_with_dhcp(void)
{
	struct script_site dhcp = media_site;
	struct host h;

	dhcp.prefix = 0;
	host_start(&h);
	put_base(&h);
	g_assert_true(publish_media(&h, &dhcp, NULL));
	g_autofree char *iso = content(&h, "dhcp-hosts/52-54-00-77-02-10");
	g_autofree char *other = content(&h, "dhcp-hosts/52-54-00-77-02-11");

	g_assert_cmpstr(iso, ==, "52:54:00:77:02:10,10.77.2.10\n");
	g_assert_cmpstr(other, ==, "52:54:00:77:02:11,ignore\n");
	host_end(&h);
}

static void test_media_without_base(void)
{
	g_autoptr(GError) missing = NULL, damaged = NULL, prefix = NULL, twice = NULL;
	struct script_site wrong = media_site;
	struct host h;

	host_start(&h);
	g_assert_false(publish_media(&h, &media_site, &missing));
	g_assert_error(missing, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	put_base(&h);
	wrong.prefix = 33;
	g_assert_false(publish_media(&h, &wrong, &prefix));
	g_assert_error(prefix, INOX_ERROR, INOX_ERROR_INVALID);
	g_autofree char *path = g_build_filename(h.root, "http/ramdisk/boot.iso", NULL);
	g_autoptr(GByteArray) base = make_base();

	/* A place that is in use, and one that is there twice. */
	base->data[2048 + 100] = 'z';
	g_assert_true(g_file_set_contents(path, (const char *)base->data, base->len, NULL));
	g_assert_false(publish_media(&h, &media_site, &damaged));
	g_assert_error(damaged, INOX_ERROR, INOX_ERROR_INVALID);
	g_assert_nonnull(strstr(damaged->message, "'isolinux.cfg' 0 times"));
	base->data[2048 + 100] = '\n';
	g_byte_array_append(base, base->data + 2048, 4096);
	g_assert_true(g_file_set_contents(path, (const char *)base->data, base->len, NULL));
	g_assert_false(publish_media(&h, &media_site, &twice));
	g_assert_nonnull(strstr(twice->message, "'isolinux.cfg' 2 times"));
	g_assert_false(exists(&h, "http/once"));
	host_end(&h);
}

static void test_media_arguments(void)
{
	const struct boot_iso_network v6 = {.address = "fd77::10", .prefix = 64, .gateway = ""};
	g_autofree char *full = g_strnfill(SCRIPT_ARGUMENTS_MAX - 20, 'a');
	g_autoptr(GError) error = NULL;
	struct mac mac;

	g_assert_true(mac_parse(MAC, &mac, NULL));
	g_autofree char *line = boot_iso_arguments("a", mac, &v6, NULL, NULL);

	g_assert_cmpstr(line, ==,
			"a boot_method=vmedia BOOTIF=01-52-54-00-77-02-10 "
			"inox-address=fd77::10/64");
	g_assert_null(boot_iso_arguments(full, mac, &v6, NULL, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
}

static void test_links_are_not_followed(void)
{
	struct host h;
	g_autofree char *outside = g_dir_make_tmp("inox-outside-XXXXXX", NULL);

	host_start(&h);
	g_autofree char *link = g_build_filename(h.root, "dhcp-hosts", NULL);

	g_assert_cmpint(symlink(outside, link), ==, 0);
	g_assert_false(publish(&h));
	g_autofree char *stray = g_build_filename(outside, "52-54-00-77-02-10", NULL);

	g_assert_false(g_file_test(stray, G_FILE_TEST_EXISTS));
	host_end(&h);
	remove_tree(outside);
}

/* ---- the worker */

struct conductor {
	struct loop *l;
	struct channel *channel;
	GPtrArray *replies; /* "request result retry reason" */
	unsigned wanted;
};

static void on_reply(void *ctx, struct message *m, int fd)
{
	struct conductor *k = ctx;

	g_assert_cmpint(fd, ==, -1);
	g_assert_cmpint(m->type, ==, MESSAGE_boot_reply);
	g_assert_cmpstr(m->boot_reply.node.s, ==, NODE);
	g_assert_cmpuint(m->boot_reply.epoch, ==, 7);
	g_ptr_array_add(k->replies, g_strdup_printf("%u %u %d %s", (unsigned)m->boot_reply.request,
						    m->boot_reply.result, m->boot_reply.retry,
						    m->boot_reply.reason));
	if (k->replies->len == k->wanted)
		loop_stop(k->l);
}

static void on_closed(void *ctx, const GError *error)
{
	(void)ctx, (void)error;
}

static void give_up(void *ctx)
{
	(void)ctx;
	g_error("no reply within the deadline");
}

static void send_request(struct conductor *k, bool is_publish, uint64_t request)
{
	g_auto(message) m = {.type = is_publish ? MESSAGE_boot_publish : MESSAGE_boot_withdraw};

	if (is_publish)
		m.boot_publish = publish_message();
	else
		m.boot_withdraw = withdraw_message(false);
	*(is_publish ? &m.boot_publish.request : &m.boot_withdraw.request) = request;
	g_assert_true(channel_send(k->channel, &m, NULL));
}

/* Sends publish, withdraw, publish, withdraw ... and returns the replies. */
static GPtrArray *run_worker(const struct config *c, unsigned requests)
{
	struct conductor k = {.l = loop_new(),
			      .replies = g_ptr_array_new_with_free_func(g_free),
			      .wanted = requests};
	g_autoptr(GError) error = NULL;
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	k.channel = channel_new(k.l, fds[0], on_reply, on_closed, &k);
	g_autoptr(boot_worker) w = boot_worker_new(k.l, c, fds[1], &error);
	struct loop_timer *deadline = loop_timer_new(k.l, give_up, NULL);

	g_assert_no_error(error);
	loop_timer_arm(deadline, SPAN_SECONDS(30));
	for (unsigned i = 0; i < requests; i++)
		send_request(&k, i % 2 == 0, i + 1);
	loop_run(k.l);
	loop_timer_free(deadline);
	g_clear_pointer(&w, boot_worker_free);
	channel_free(k.channel);
	loop_free(k.l);
	return k.replies;
}

static void test_worker(void)
{
	struct host h;

	host_start(&h);
	g_autoptr(config) c = config_of("root", h.root);
	g_autoptr(GPtrArray) replies = run_worker(c, 21);

	for (unsigned i = 0; i < replies->len; i++) {
		g_autofree char *expected = g_strdup_printf("%u 0 0 ", i + 1);

		g_assert_cmpstr(replies->pdata[i], ==, expected);
	}
	g_assert_true(exists(&h, TOKEN_FILE)); /* the last one was a publish */
	host_end(&h);
}

static void test_worker_without_boot_host(void)
{
	g_autoptr(config) c = config_new_defaults();
	g_autoptr(GPtrArray) replies = run_worker(c, 2);
	g_autofree char *refused =
		g_strdup_printf("1 %d 0 there is no boot host: set [boot]root or [boot]push_url",
				INOX_ERROR_UNSUPPORTED + 1);

	g_assert_cmpstr(replies->pdata[0], ==, refused);
	g_assert_cmpstr(replies->pdata[1], ==, "2 0 0 ");
}

static void test_worker_with_dead_boot_host(void)
{
	g_autoptr(config) c = config_of("push_url", "https://127.0.0.1:9/dav");
	g_autoptr(GPtrArray) replies = run_worker(c, 2);
	const char *text = replies->pdata[0];
	g_autofree char *start = g_strdup_printf("1 %d 1 boot host: PUT https://127.0.0.1:9",
						 INOX_ERROR_UNAVAILABLE + 1);

	g_autofree char *again = g_strdup_printf("2 %d 1 boot host: PUT https://127.0.0.1:9",
						 INOX_ERROR_UNAVAILABLE + 1);

	g_assert_true(g_str_has_prefix(text, start));
	g_assert_true(g_str_has_prefix(replies->pdata[1], again));
	g_assert_null(strstr(text, PATH));
}

static void test_worker_ends_with_conductor(void)
{
	g_autoptr(config) c = config_new_defaults();
	g_autoptr(loop) l = loop_new();
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	g_autoptr(boot_worker) w = boot_worker_new(l, c, fds[1], NULL);
	struct loop_timer *deadline = loop_timer_new(l, give_up, NULL);

	loop_timer_arm(deadline, SPAN_SECONDS(30));
	close(fds[0]);
	loop_run(l);
	loop_timer_free(deadline);
	g_clear_pointer(&w, boot_worker_free);
}

static void test_missing_root(void)
{
	g_autoptr(config) c = config_of("root", "/nonexistent/boot");
	g_autoptr(loop) l = loop_new();
	g_autoptr(GError) error = NULL;
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	g_assert_null(boot_worker_new(l, c, fds[1], &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	g_assert_nonnull(strstr(error->message, "[boot]root '/nonexistent/boot'"));
	close(fds[0]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cpio/an archive is the same bytes as the format says", test_archive);
	g_test_add_func("/script/template, arguments and interface make the script", test_script);
	g_test_add_func("/script/an API URL is there in active mode only",
			test_script_of_active_mode);
	g_test_add_func("/script/arguments outside the grammar are refused",
			test_hostile_arguments);
	g_test_add_func("/script/a line the kernel would cut is refused", test_long_arguments);
	g_test_add_func("/script/URLs and paths that iPXE could misread are refused",
			test_hostile_urls);
	g_test_add_func("/delivery/publish and withdraw are complete and can be repeated",
			test_publish_and_withdraw);
	g_test_add_func("/delivery/withdrawing what was never there succeeds",
			test_withdraw_before_publish);
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
	g_test_add_func("/media/the ISO of a boot is the base with its places filled", test_media);
	g_test_add_func("/media/a boot without a token has an ISO without one",
			test_media_without_token);
	g_test_add_func("/media/a base that was replaced counts for the next boot",
			test_media_with_a_new_base);
	g_test_add_func("/media/without a prefix the machine asks DHCP", test_media_with_dhcp);
	g_test_add_func("/media/a base that is missing or damaged is named",
			test_media_without_base);
	g_test_add_func("/media/arguments have interface and address", test_media_arguments);
	g_test_add_func("/worker/requests of a node are answered in order", test_worker);
	g_test_add_func("/worker/without a boot host publishing is refused",
			test_worker_without_boot_host);
	g_test_add_func("/worker/a dead boot host is an error that may pass and hides the path",
			test_worker_with_dead_boot_host);
	g_test_add_func("/worker/it ends with the conductor", test_worker_ends_with_conductor);
	g_test_add_func("/worker/a root that is not there is named", test_missing_root);
	return g_test_run();
}
