#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "config_drive.h"
#include "errors.h"

/* The image inside the text; the caller frees it. */
static GByteArray *unpack(const char *base64)
{
	gsize length = 0;
	g_autofree guchar *packed = g_base64_decode(base64, &length);
	GByteArray *image = g_byte_array_new();
	unsigned char out[4096];
	z_stream z = {.next_in = packed, .avail_in = (uInt)length};

	g_assert_cmpint(inflateInit2(&z, 15 + 16), ==, Z_OK);
	int r;

	do {
		z.next_out = out;
		z.avail_out = sizeof(out);
		r = inflate(&z, Z_NO_FLUSH);
		g_byte_array_append(image, out, (guint)(sizeof(out) - z.avail_out));
	} while (r == Z_OK);
	g_assert_cmpint(r, ==, Z_STREAM_END);
	inflateEnd(&z);
	return image;
}

static void test_object(void)
{
	g_autoptr(GError) error = NULL;
	json_t *object = json_pack("{s:{s:s},s:s}", "meta_data", "hostname", "web-1", "user_data",
				   "#cloud-config\n");
	g_autofree char *text = config_drive_from_object(object, "u-1", "rack1-u07", &error);

	g_assert_no_error(error);
	g_autoptr(GByteArray) image = unpack(text);

	json_decref(object);
	g_assert_cmpuint(image->len, >, 17 * 2048);
	g_assert_true(memcmp(image->data + 16 * 2048, "\001CD001\001", 7) == 0);
	g_assert_true(memcmp(image->data + 16 * 2048 + 40, "config-2 ", 9) == 0);
	static const char wanted[] =
		"{\"hostname\": \"web-1\", \"uuid\": \"u-1\", \"name\": \"rack1-u07\"}";

	g_assert_nonnull(memmem(image->data, image->len, wanted, sizeof(wanted) - 1));
	g_assert_nonnull(memmem(image->data, image->len, "#cloud-config\n", 14));
}

static void test_bad_object(void)
{
	g_autoptr(GError) error = NULL;
	json_t *bogus = json_pack("{s:{}}", "bogus");
	json_t *wrong = json_pack("{s:s}", "meta_data", "x");

	g_assert_null(config_drive_from_object(bogus, "u", NULL, &error));
	g_assert_nonnull(strstr(error->message, "'bogus' was unexpected"));
	g_clear_error(&error);
	g_assert_null(config_drive_from_object(wrong, "u", NULL, &error));
	g_assert_nonnull(strstr(error->message, "meta_data"));
	json_decref(bogus);
	json_decref(wrong);
}

static void test_folder(void)
{
	g_autofree char *folder = g_dir_make_tmp("inox-test-XXXXXX", NULL);
	g_autofree char *sub = g_build_filename(folder, "openstack", NULL);
	g_autofree char *file = g_build_filename(sub, "user_data", NULL);
	g_autofree char *empty = g_build_filename(sub, "empty", NULL);
	g_autofree char *link = g_build_filename(folder, "link", NULL);
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(g_mkdir(sub, 0700), ==, 0);
	g_assert_true(g_file_set_contents(file, "from a folder", -1, NULL));
	g_assert_true(g_file_set_contents(empty, "", 0, NULL));
	g_autofree char *text = config_drive_from_folder(folder, &error);

	g_assert_no_error(error);
	g_autoptr(GByteArray) image = unpack(text);

	g_assert_nonnull(memmem(image->data, image->len, "from a folder", 13));
	g_assert_cmpint(symlink("/etc/passwd", link), ==, 0);
	g_assert_null(config_drive_from_folder(folder, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	g_clear_error(&error);
	g_assert_null(config_drive_from_folder("/nonexistent-folder", &error));
	g_assert_nonnull(error);
	g_unlink(link);
	g_unlink(empty);
	g_unlink(file);
	g_rmdir(sub);
	g_rmdir(folder);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config drive/an object becomes a config-2 image with its defaults",
			test_object);
	g_test_add_func("/config drive/unknown keys and wrong types are refused by name",
			test_bad_object);
	g_test_add_func("/config drive/a folder's files are taken, its links are not", test_folder);
	return g_test_run();
}
