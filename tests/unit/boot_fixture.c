#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot_fixture.h"

const struct uuid boot_node = {NODE};
const struct script_site boot_site = {
	.http_url = HTTP_URL, .kernel = "ramdisk/vmlinuz", .ramdisk = "ramdisk/initrd"};

struct config *host_config(const char *option, const char *value)
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

void host_start(struct host *h)
{
	h->root = g_dir_make_tmp("inox-boot-XXXXXX", NULL);
	g_autoptr(config) c = host_config("root", h->root);

	h->shelf = shelf_new(c, NULL);
	g_assert_nonnull(h->shelf);
}

void fixture_remove(const char *path)
{
	g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
	const char *name;

	while (folder && (name = g_dir_read_name(folder))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		fixture_remove(child);
	}
	(void)g_remove(path);
}

void host_end(struct host *h)
{
	shelf_free(h->shelf);
	fixture_remove(h->root);
	g_free(h->root);
}

char *host_read(const struct host *h, const char *name)
{
	g_autofree char *path = g_build_filename(h->root, name, NULL);
	char *bytes = NULL;

	(void)g_file_get_contents(path, &bytes, NULL, NULL);
	return bytes;
}

bool host_has(const struct host *h, const char *name)
{
	g_autofree char *path = g_build_filename(h->root, name, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

unsigned host_mode(const struct host *h, const char *name)
{
	g_autofree char *path = g_build_filename(h->root, name, NULL);
	struct stat st;

	g_assert_cmpint(stat(path, &st), ==, 0);
	return st.st_mode & 07777u;
}

struct message_boot_publish boot_publish_message(void)
{
	return (struct message_boot_publish){.request = 1,
					     .node = boot_node,
					     .epoch = 7,
					     .macs = g_strdup(MAC ",52:54:00:77:02:11"),
					     .address = g_strdup("10.77.2.10"),
					     .token = secret_new(TOKEN),
					     .arguments = g_strdup("{\"quiet\":\"\"}"),
					     .api_url = g_strdup(""),
					     .path = g_strdup(PATH)};
}

struct message_boot_withdraw boot_withdraw_message(bool token_only)
{
	return (struct message_boot_withdraw){.request = 2,
					      .node = boot_node,
					      .epoch = 7,
					      .macs = g_strdup(MAC ",52:54:00:77:02:11"),
					      .path = g_strdup(PATH),
					      .token_only = token_only};
}

bool host_withdraw(struct host *h, bool token_only)
{
	g_auto(message) m = {.type = MESSAGE_boot_withdraw,
			     .boot_withdraw = boot_withdraw_message(token_only)};

	return delivery_withdraw(h->shelf, &m.boot_withdraw, NULL);
}

bool host_publish(struct host *h)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};

	return delivery_publish(h->shelf, &boot_site, &m.boot_publish, NULL);
}
