/* What the pipeline stands on: the disk, the config drive on it, and digests. */
#include "config_drive.h"
#include "errors.h"
#include "image_bench.h"
#include "label.h"

static void test_odd_writes(void)
{
	struct bench *b = bench_new();
	g_autofree uint8_t *wanted = g_malloc(DISK_SIZE);
	GRand *random = g_rand_new_with_seed(5);
	size_t size;

	memset(wanted, 0xaa, DISK_SIZE);
	memset(wanted, 0, TARGET_EDGE);
	memset(wanted + DISK_SIZE - TARGET_EDGE, 0, TARGET_EDGE);
	for (unsigned i = 0; i < 300; i++) {
		uint64_t offset = (uint64_t)g_rand_int_range(random, 0, DISK_SIZE - 700000);
		size_t length = (size_t)g_rand_int_range(random, 1, 700000);
		g_autofree uint8_t *bytes = g_malloc(length);

		memset(bytes, i % 3 == 0 ? 0 : (int)i, length);
		memset(bytes + length / 2, 0, length / 3);
		memcpy(wanted + offset, bytes, length);
		g_assert_true(target_write(b->t, offset, bytes, length, NULL));
		if (i % 10 == 0) {
			g_assert_true(target_read(b->t, offset, bytes, length, NULL));
			g_assert_true(memcmp(bytes, wanted + offset, length) == 0);
		}
	}
	bench_assert_concealed(b);
	g_assert_true(target_reveal(b->t, NULL));
	g_autofree uint8_t *disk = fixture_read(b->disk, &size);
	g_assert_cmpuint(size, ==, DISK_SIZE);
	g_assert_true(memcmp(disk, wanted, DISK_SIZE) == 0);
	g_rand_free(random);
	bench_free(b);
}

static void test_open_errors(void)
{
	g_autofree char *folder = fixture_folder();
	g_autofree char *path = g_build_filename(folder, "small", NULL);
	const struct target_place place = {.name = "/dev/test", .path = path};
	g_autoptr(GError) error = NULL;

	g_assert_null(target_open(&place, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	g_clear_error(&error);
	fixture_text(folder, "small", "tiny");
	g_assert_null(target_open(&place, &error));
	g_assert_nonnull(strstr(error->message, "too small"));
	fixture_remove(folder);
}

/* /dev/full accepts nothing; a file whose size shrinks plays the vanished disk. */
static void test_vanished(void)
{
	struct bench *b = bench_new();
	g_autofree char *sysfs = g_build_filename(b->folder, "gone", NULL);
	const struct target_place place = {.name = "/dev/test", .path = b->disk, .sysfs = sysfs};
	g_autoptr(target) t = target_open(&place, NULL);
	g_autoptr(GError) error = NULL;
	uint8_t bytes[512];

	g_assert_cmpint(truncate(b->disk, 2 * MIB), ==, 0);
	g_assert_false(target_read(t, 8 * MIB, bytes, sizeof(bytes), &error));
	g_assert_nonnull(strstr(error->message, "the disk /dev/test vanished"));
	bench_free(b);
}

/* ---- config drive */

static char *encode_drive(const uint8_t *bytes, size_t size)
{
	size_t length;
	g_autofree uint8_t *packed = bench_pack(UNPACK_GZIP, bytes, size, &length);

	return g_base64_encode(packed, length);
}

/* The two fields of an ISO 9660 volume descriptor that are looked at; the label has 32 characters. */
static void put_iso(uint8_t *volume, const char *label)
{
	for (unsigned i = 0; i < 5; i++)
		volume[32769 + i] = (uint8_t) "CD001"[i];
	for (unsigned i = 0; i < 32; i++)
		volume[32768 + 40 + i] = (uint8_t)label[i];
}

static uint8_t *new_drive(size_t size)
{
	uint8_t *drive = g_malloc0(size);

	put_iso(drive, "config-2                        ");
	memset(drive + 40000, 0x5c, size - 40000);
	return drive;
}

static void test_drive_refused(void)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{"!!!", "not valid base64"},
		{"QUJD", "gzip data is damaged"},
		{"H4sIAAAAAAAAAw==", "ends too early"},
	};
	const struct fetch_options options = {.stall_s = 1};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(config_drive_load(bad[i].text, &options, &error));
		if (!strstr(error->message, bad[i].words))
			g_error("'%s' lacks '%s'", error->message, bad[i].words);
	}
	g_autofree uint8_t *bomb = g_malloc0(65 * MIB);
	g_autofree char *text = encode_drive(bomb, 65 * MIB);
	g_autoptr(GError) error = NULL;

	g_assert_null(config_drive_load(text, &options, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
}

static void test_drive_in_its_partition(void)
{
	struct bench *b = bench_new();
	g_autofree uint8_t *drive = new_drive(500001);
	g_autofree char *text = encode_drive(drive, 500001);
	const struct fetch_options options = {.stall_s = 1};
	g_autoptr(config_drive) d = config_drive_load(text, &options, NULL);
	g_autoptr(GError) error = NULL;
	struct label l;
	size_t size;

	g_assert_cmpuint(config_drive_size(d), ==, 500001);
	/* The image's only partition is labelled config-2 already. */
	put_iso(b->image + MIB, "CONFIG-2                        ");
	g_assert_true(target_write(b->t, 0, b->image, IMAGE_SIZE, NULL));
	g_assert_true(label_read(target_peek_head(b->t), DISK_SIZE, 512, &l, NULL));
	g_assert_true(config_drive_write(d, b->t, &l, &error));
	g_assert_cmpuint(l.count, ==, 1);
	bench_assert_concealed(b);
	g_assert_true(label_finish(&l, target_peek_head(b->t), target_peek_tail(b->t), NULL));
	g_assert_true(target_reveal(b->t, NULL));
	g_autofree uint8_t *disk = fixture_read(b->disk, &size);
	g_assert_cmpmem(disk + MIB, 500001, drive, 500001);
	bench_free(b);
}

static void test_drive_without_room(void)
{
	struct bench *b = bench_new();
	g_autofree uint8_t *drive = new_drive(100000);
	g_autofree char *text = encode_drive(drive, 100000);
	const struct fetch_options options = {.stall_s = 1};
	g_autoptr(config_drive) d = config_drive_load(text, &options, NULL);
	g_autoptr(GError) error = NULL;
	struct label l;

	g_assert_true(target_write(b->t, 0, b->image, IMAGE_SIZE, NULL));
	g_assert_true(label_read(target_peek_head(b->t), DISK_SIZE, 512, &l, NULL));
	g_assert_false(config_drive_write(d, b->t, &l, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_CONFLICT);
	bench_assert_concealed(b);
	bench_free(b);
}

/* ---- digests */

static void test_digest_texts(void)
{
	g_autofree char *hex = g_strnfill(64, 'A');
	g_autofree char *lower = g_strnfill(64, 'a');
	g_autofree char *named = g_strconcat("sha256:", hex, NULL);
	g_autofree char *md5 = g_strnfill(32, 'a');
	g_autofree char *sha512 = g_strnfill(128, '0');
	struct digest_wanted w;
	g_autoptr(GError) error = NULL;

	g_assert_true(digest_want_text(hex, false, &w, NULL));
	g_assert_cmpstr(w.hex, ==, lower);
	g_assert_true(digest_want_text(named, false, &w, NULL));
	g_assert_cmpstr(w.algorithm, ==, "sha256");
	g_assert_true(digest_want_text(sha512, false, &w, NULL));
	g_assert_cmpstr(w.algorithm, ==, "sha512");
	g_assert_true(digest_want_text(md5, true, &w, NULL));
	g_assert_false(digest_want_text(md5, false, &w, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_DENIED);
	hex[3] = 'g';
	g_assert_false(digest_want_text(hex, false, &w, NULL));
	g_assert_false(digest_want("sha999", lower, false, &w, NULL));
	g_assert_false(digest_want("sha256", sha512, false, &w, NULL));
}

static void test_checksum_files(void)
{
	g_autofree char *a = g_strnfill(64, 'a');
	g_autofree char *b = g_strnfill(64, 'b');
	g_autofree char *gnu = g_strdup_printf("# x\n%s  one.img\n%s *two.img\n", a, b);
	g_autofree char *bsd =
		g_strdup_printf("SHA256 (one.img) = %s\nSHA256 (two.img) = %s\n", a, b);
	g_autofree char *lone = g_strdup_printf("\n  %s\n\n", a);
	const char *const files[] = {gnu, bsd};
	g_autoptr(GError) error = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *found = digest_find_in_file(files[i], "two.img", NULL);
		g_assert_cmpstr(found, ==, b);
		g_assert_null(digest_find_in_file(files[i], "wo.img", NULL));
	}
	g_autofree char *only = digest_find_in_file(lone, "any", NULL);
	g_assert_cmpstr(only, ==, a);
	g_assert_null(digest_find_in_file(" \n", "any", &error));
	g_assert_cmpstr(error->message, ==, "Empty checksum file");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/target/writes of any offset and length", test_odd_writes);
	g_test_add_func("/target/what cannot be a disk is refused", test_open_errors);
	g_test_add_func("/target/a disk that vanished is called that", test_vanished);
	g_test_add_func("/config drive/what is no gzip in base64 is refused", test_drive_refused);
	g_test_add_func("/config drive/a labelled partition is used", test_drive_in_its_partition);
	g_test_add_func("/config drive/a full disk is refused", test_drive_without_room);
	g_test_add_func("/digest/length or name decide, md5 only if allowed", test_digest_texts);
	g_test_add_func("/digest/checksum files in both forms", test_checksum_files);
	return g_test_run();
}
