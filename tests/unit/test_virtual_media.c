#include <string.h>
#include <unistd.h>

#include "agent_options.h"
#include "errors.h"
#include "image_fixture.h"
#include "virtual_media.h"

static void test_devices(void)
{
	g_autofree char *root = fixture_folder();
	g_autofree char *link = g_build_filename(root, "sys/block/sdb", NULL);
	g_autofree char *large = g_build_filename(root, "sys/block/sdc", NULL);

	fixture_text(root, "sys/block/sr0/size", "100\n");
	fixture_text(root, "sys/block/sda/size", "100\n");
	fixture_text(root, "sys/devices/pci0/usb1/sdb/size", "2880\n");
	fixture_text(root, "sys/devices/pci0/usb1/sdc/size", "8388608\n"); /* 4 GiB */
	g_assert_cmpint(symlink("../devices/pci0/usb1/sdb", link), ==, 0);
	g_assert_cmpint(symlink("../devices/pci0/usb1/sdc", large), ==, 0);
	g_autoptr(GPtrArray) found = virtual_media_devices(root);
	bool usb = false, cd = false;

	for (guint i = 0; i < found->len; i++) {
		usb = usb || g_str_has_suffix(found->pdata[i], "/dev/sdb");
		cd = cd || g_str_has_suffix(found->pdata[i], "/dev/sr0");
	}
	g_assert_true(found->len == 2 && usb && cd);
	fixture_remove(root);
}

static void test_files(void)
{
	g_autofree char *root = fixture_folder();
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) none = virtual_media_files("/nonexistent", NULL, NULL);

	g_assert_cmpuint(none->len, ==, 0);
	fixture_text(root, "20-b.conf", "second");
	fixture_text(root, "10-a.conf", "first");
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) texts = virtual_media_files(root, names, NULL);

	g_assert_true(texts->len == 2 && names->len == 2);
	g_assert_cmpstr(texts->pdata[0], ==, "first");
	g_assert_cmpstr(names->pdata[1], ==, "20-b.conf");
	fixture_text(root, "30/x", "a folder is in the way");
	g_assert_null(virtual_media_files(root, NULL, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	fixture_remove(root);
}

static void test_large_file(void)
{
	g_autofree char *root = fixture_folder();
	g_autofree char *large = g_strnfill(64 * 1024 + 1, 'x');
	g_autoptr(GError) error = NULL;

	fixture_text(root, "a.conf", large);
	g_assert_null(virtual_media_files(root, NULL, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
	fixture_remove(root);
}

/* A drive with the label that cannot be mounted must not be passed over: the token may be on it. */
static void test_broken_medium(void)
{
	g_autofree char *root = fixture_folder();
	g_autofree uint8_t *iso = g_malloc0(64 * 1024);
	g_autoptr(GHashTable) plain = agent_options_split("quiet");
	g_autoptr(GHashTable) media = agent_options_split("boot_method=vmedia");
	g_autoptr(GError) error = NULL;

	memcpy(iso + 32768, "\1CD001\1", 7);
	memcpy(iso + 32768 + 40, "CONFIG-2                        ", 32);
	fixture_text(root, "sys/block/sr0/size", "100\n");
	fixture_write(root, "dev/sr0", iso, 64 * 1024);
	g_autoptr(GPtrArray) nothing = virtual_media_read(root, plain, NULL);

	g_assert_cmpuint(nothing->len, ==, 0);
	g_assert_null(virtual_media_read(root, media, &error));
	g_assert_nonnull(strstr(error->message, "mount the virtual media"));
	memset(iso, 0, 64 * 1024);
	fixture_write(root, "dev/sr0", iso, 64 * 1024);
	g_autoptr(GPtrArray) unknown = virtual_media_read(root, media, NULL);

	g_assert_cmpuint(unknown->len, ==, 0);
	fixture_remove(root);
}

#define CASE(name, fn) g_test_add_func("/virtual-media/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("optical drives and small USB disks are looked at", test_devices);
	CASE("files are taken in the order of their names", test_files);
	CASE("a large file is refused", test_large_file);
	CASE("a medium that cannot be read is an error", test_broken_medium);
	return g_test_run();
}
