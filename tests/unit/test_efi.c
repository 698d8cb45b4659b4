#include <glib/gstdio.h>
#include <string.h>

#include "efi_boot.h"
#include "efi_install.h"
#include "efi_loaders.h"
#include "errors.h"
#include "image_fixture.h"

#define GLOBAL "-8be4df61-93ca-11d2-aa0d-00e098032b8c"

static const struct efi_partition partition = {
	.number = 1,
	.start = 2048,
	.length = 4096,
	.gpt = true,
	.signature = {0xaa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};

/* ---- entries */

static void test_entry(void)
{
	static const uint8_t expected[] =
		{
			1,    0,  0,   0, 68,  0,  'a', 0,    0xe4, 0,   0,    0, /* "aä" */
			4,    1,  42,  0, 1,   0,  0,   0,    0,    8,   0,    0,    0,  0,   0,
			0,                                 /* partition, start */
			0,    16, 0,   0, 0,   0,  0,   0, /* length */
			0xaa, 1,  2,   3, 4,   5,  6,   7,    8,    9,   10,   11,   12, 13,  14,
			15,   2,  2,   4, 4,   22, 0,   '\\', 0,    'x', 0,    '\\', 0,  'l', 0,
			'.',  0,  'e', 0, 'f', 0,  'i', 0,    0,    0,   0x7f, 0xff, 4,  0,
		};
	g_autoptr(GByteArray) entry = efi_entry_make(&partition, "\\x\\l.efi", "a\xc3\xa4", NULL);
	g_autofree char *label = efi_entry_label(entry->data, entry->len);
	g_autofree char *large = g_strnfill(EFI_LABEL_MOST + 1, 'x');

	g_assert_cmpmem(entry->data, entry->len, expected, sizeof(expected));
	g_assert_cmpstr(label, ==, "a\xc3\xa4");
	g_assert_null(efi_entry_label(entry->data, 8));
	g_assert_null(efi_entry_label(entry->data, 0));
	g_assert_null(efi_entry_make(&partition, "\\x", large, NULL));
	g_assert_null(efi_entry_make(&partition, "\\\xff", "x", NULL));
}

/* The order as text: "0003,0001". */
static char *order_of(const char *vars)
{
	g_autofree char *path = g_build_filename(vars, "BootOrder" GLOBAL, NULL);
	size_t size;
	g_autofree uint8_t *bytes = fixture_read(path, &size);
	GString *text = g_string_new(NULL);

	g_assert_cmpuint(bytes[0], ==, 7);
	for (size_t i = 4; i + 2 <= size; i += 2)
		g_string_append_printf(text, "%s%02X%02X", i > 4 ? "," : "", bytes[i + 1],
				       bytes[i]);
	return g_string_free(text, FALSE);
}

static void assert_order(const char *vars, const char *expected)
{
	g_autofree char *order = order_of(vars);

	g_assert_cmpstr(order, ==, expected);
}

static void install(const char *vars, const char *label)
{
	g_autoptr(GByteArray) entry = efi_entry_make(&partition, "\\l.efi", label, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_true(efi_boot_install(vars, label, entry, &error));
	g_assert_no_error(error);
}

static bool exists(const char *vars, const char *name)
{
	g_autofree char *path = g_build_filename(vars, name, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void test_install(void)
{
	g_autofree char *root = fixture_folder();
	g_autofree char *vars = g_build_filename(root, "vars", NULL);

	/* Not an entry, and one that is cut */
	fixture_text(root, "vars/Boot0001", "");
	fixture_text(root, "vars/Boot0000" GLOBAL, "\x07");
	fixture_text(root, "vars/BootNext" GLOBAL, "\x07");
	install(vars, "first");
	assert_order(vars, "0001");
	install(vars, "second");
	assert_order(vars, "0002,0001");
	/* The same label again: the old one goes. */
	install(vars, "first");
	assert_order(vars, "0003,0002");
	g_assert_false(exists(vars, "Boot0001" GLOBAL));
	g_assert_true(exists(vars, "Boot0003" GLOBAL) && exists(vars, "Boot0000" GLOBAL));
	install(vars, "third");
	assert_order(vars, "0001,0003,0002");
	fixture_remove(root);
}

static void test_install_fails(void)
{
	g_autoptr(GByteArray) entry = efi_entry_make(&partition, "\\l.efi", "x", NULL);
	g_autoptr(GError) error = NULL;

	g_assert_false(efi_boot_install("/nonexistent", "x", entry, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
}

/* ---- loaders */

static void add_program(const char *root, const char *name)
{
	g_autofree char *path = g_build_filename(root, name, NULL);

	fixture_text(root, name, "MZ");
	g_assert_cmpint(g_chmod(path, 0755), ==, 0);
}

/* "label=path ..." or the error. */
static char *loaders_of(const char *root)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) loaders = efi_loaders_find(root, &error);
	GString *text = g_string_new(NULL);

	g_assert_true(!loaders == !!error);
	for (guint i = 0; loaders && i < loaders->len; i++) {
		const struct efi_loader *l = loaders->pdata[i];

		g_string_append_printf(text, "%s%s=%s", i ? " " : "", l->label, l->path);
	}
	if (error)
		g_string_append(text, error->message);
	return g_string_free(text, FALSE);
}

static void assert_loaders(const char *root, const char *expected)
{
	g_autofree char *text = loaders_of(root);

	g_assert_cmpstr(text, ==, expected);
}

static void add_csv(const char *root, const char *name, const char *text, bool with_mark)
{
	GByteArray *bytes = g_byte_array_new();

	if (with_mark)
		g_byte_array_append(bytes, (const uint8_t *)"\xff\xfe", 2);
	for (; *text; text++)
		g_byte_array_append(bytes, (const uint8_t[]){(uint8_t)*text, 0}, 2);
	fixture_write(root, name, bytes->data, bytes->len);
	g_byte_array_unref(bytes);
}

static void test_loaders(void)
{
	g_autofree char *root = fixture_folder();

	assert_loaders(root, "");
	add_program(root, "EFI/acme/shimx64.efi");
	fixture_text(root, "EFI/acme/bootia32.efi", "not executable");
	assert_loaders(root, "");
	add_program(root, "EFI/BOOT/BOOTX64.EFI");
	add_program(root, "EFI/Microsoft/winload.efi");
	assert_loaders(root,
		       "ironic1=\\EFI\\BOOT\\BOOTX64.EFI ironic2=\\EFI\\Microsoft\\winload.efi");
	add_csv(root, "EFI/acme/BOOTX64.CSV", "shimx64.efi,acme,,what it is\r\nother.efi,b\n",
		true);
	assert_loaders(root, "acme=\\EFI\\acme\\shimx64.efi");
	fixture_remove(root);
}

static void test_bad_csv(void)
{
	static const char *const bad[] = {"",       "shimx64.efi",    ",label",
					  "x.efi,", "../x.efi,label", "a\\x.efi,label"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *root = fixture_folder();

		add_csv(root, "BOOT.CSV", bad[i], i % 2 == 0);
		g_autofree char *text = loaders_of(root);

		g_assert_true(g_str_has_prefix(text, "the file /BOOT.CSV of the EFI system"));
		fixture_remove(root);
	}
	g_autofree char *root = fixture_folder();

	add_csv(root, "boot.csv", "x.efi,label", false);
	assert_loaders(root, "label=\\x.efi");
	fixture_remove(root);
}

/* ---- the partition */

static void test_partition(void)
{
	g_autofree uint8_t *bytes = g_malloc0(16 * MIB);
	const struct disk d = {
		.name = (char *)(uintptr_t) "/dev/vda", .size = 16 * MIB, .logical_sector = 512};
	struct efi_partition p;
	g_autoptr(GError) error = NULL;

	g_assert_false(efi_install_find(bytes, &d, &p, &error));
	g_clear_error(&error);
	fixture_gpt(bytes, 16 * MIB, 512);
	g_assert_false(efi_install_find(bytes, &d, &p, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	g_assert_nonnull(strstr(error->message, "no EFI system partition"));
	/* A MBR with one of its kind */
	memset(bytes, 0, MIB);
	memcpy(bytes + 440, "\x11\x22\x33\x44", 4);
	memcpy(bytes + 446, "\0\0\0\0\xef\0\0\0\0\x08\0\0\0\x10\0\0", 16);
	memcpy(bytes + 510, "\x55\xaa", 2);
	g_assert_true(efi_install_find(bytes, &d, &p, NULL));
	g_assert_true(!p.gpt && p.number == 1 && p.start == 2048 && p.length == 4096);
	g_assert_cmpmem(p.signature, 5, "\x11\x22\x33\x44\0", 5);
}

#define CASE(name, fn) g_test_add_func("/efi/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("an entry has the bytes of the specification", test_entry);
	CASE("a new entry is the first, and the only one with its label", test_install);
	CASE("variables that are not there are named", test_install_fails);
	CASE("loaders are found by their names, or by a CSV file", test_loaders);
	CASE("a CSV file that names nothing is refused", test_bad_csv);
	CASE("the system partition is found by its type", test_partition);
	return g_test_run();
}
