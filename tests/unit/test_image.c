#include "image_fixture.h"

#include <bzlib.h>
#include <lz4frame.h>
#include <lzma.h>
#include <zstd.h>

#include "config_drive.h"
#include "errors.h"
#include "label.h"
#include "pipeline.h"
#include "unpack.h"

#define DISK_SIZE  (16 * MIB)
#define IMAGE_SIZE (9 * MIB + 512)

/* ---- compressing */

static uint8_t *pack(enum unpack_format format, const uint8_t *in, size_t length,
		     size_t *ret_length)
{
	size_t room = length + length / 8 + 4096, at = 0;
	uint8_t *out = g_malloc(room);
	z_stream z = {.next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)length};
	unsigned size = (unsigned)room;

	switch (format) {
	case UNPACK_NONE: memcpy(out, in, at = length); break;
	case UNPACK_GZIP:
		g_assert_cmpint(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, 0), ==, Z_OK);
		z.next_out = out;
		z.avail_out = (uInt)room;
		g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
		at = z.total_out;
		deflateEnd(&z);
		break;
	case UNPACK_XZ:
		g_assert_cmpint(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, in, length, out,
							&at, room),
				==, LZMA_OK);
		break;
	case UNPACK_ZSTD:
		at = ZSTD_compress(out, room, in, length, 1);
		g_assert_false(ZSTD_isError(at));
		break;
	case UNPACK_BZIP2:
		g_assert_cmpint(BZ2_bzBuffToBuffCompress((char *)out, &size, (char *)(uintptr_t)in,
							 (unsigned)length, 1, 0, 0),
				==, BZ_OK);
		at = size;
		break;
	case UNPACK_LZ4:
		at = LZ4F_compressFrame(out, room, in, length, NULL);
		g_assert_false(LZ4F_isError(at));
		break;
	}
	*ret_length = at;
	return out;
}

/* ---- a source in memory, in pieces of odd sizes, that may break */

struct memory {
	const uint8_t *bytes;
	size_t length, at, cut; /* cut: fails when so many bytes were given */
	unsigned turn;
};

static bool read_memory(void *source, void *buffer, size_t length, size_t *ret_got, GError **error)
{
	struct memory *m = source;
	size_t piece = 1 + (m->turn++ * 7919) % 300000;

	if (m->at >= m->cut)
		return inox_error_set(error, INOX_ERROR_UNAVAILABLE, "got %zu of %zu bytes", m->at,
				      m->length);
	*ret_got = MIN(MIN(length, piece), MIN(m->length, m->cut) - m->at);
	memcpy(buffer, m->bytes + m->at, *ret_got);
	m->at += *ret_got;
	return true;
}

struct bench {
	char *folder, *disk;
	uint8_t *image;
	struct target *t;
};

static struct bench *bench_new(void)
{
	struct bench *b = g_new0(struct bench, 1);

	b->folder = fixture_folder();
	b->disk = fixture_disk(b->folder, DISK_SIZE);
	b->image = fixture_image(IMAGE_SIZE);
	const struct target_place place = {.name = "/dev/test", .path = b->disk};

	b->t = target_open(&place, NULL);
	g_assert_nonnull(b->t);
	g_assert_true(target_conceal(b->t, NULL));
	return b;
}

static void bench_free(struct bench *b)
{
	target_free(b->t);
	fixture_remove(b->folder);
	g_free(b->folder);
	g_free(b->disk);
	g_free(b->image);
	g_free(b);
}

static struct digest_wanted digest_of(const uint8_t *bytes, size_t length)
{
	g_autofree char *hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, length);
	struct digest_wanted wanted;

	g_assert_true(digest_want("sha256", hex, false, &wanted, NULL));
	return wanted;
}

static bool run(struct bench *b, const uint8_t *bytes, size_t length, size_t cut,
		struct agent_error *error)
{
	struct memory m = {.bytes = bytes, .length = length, .cut = cut};
	const struct pipeline_plan plan = {
		.read = read_memory,
		.source = &m,
		.total = (int64_t)length,
		.target = b->t,
		.downloaded = digest_of(bytes, length),
		.image = digest_of(b->image, IMAGE_SIZE),
		.image_id = "img",
	};
	struct pipeline_result result;

	return pipeline_run(&plan, &result, error);
}

static bool is_filled(const uint8_t *bytes, size_t length, uint8_t with)
{
	return length == 0 || (bytes[0] == with && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static void assert_concealed(const struct bench *b)
{
	size_t size;
	g_autofree uint8_t *disk = fixture_read(b->disk, &size);

	g_assert_cmpuint(size, ==, DISK_SIZE);
	g_assert_true(is_filled(disk, TARGET_EDGE, 0));
	g_assert_true(is_filled(disk + size - TARGET_EDGE, TARGET_EDGE, 0));
}

static void assert_error(struct agent_error *error, const char *type, const char *words)
{
	g_assert_cmpstr(error->type, ==, type);
	if (!strstr(error->details, words))
		g_error("'%s' lacks '%s'", error->details, words);
	agent_error_clear(error);
}

/* ---- tests */

static void test_format(const void *data)
{
	enum unpack_format format = (enum unpack_format)GPOINTER_TO_INT(data);
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};
	size_t length, size;
	g_autofree uint8_t *packed = pack(format, b->image, IMAGE_SIZE, &length);

	g_assert_cmpint(unpack_detect(packed, length), ==, format);
	if (!run(b, packed, length, SIZE_MAX, &error))
		g_error("%s", error.details);
	assert_concealed(b);
	g_assert_true(target_reveal(b->t, NULL));

	g_autofree uint8_t *disk = fixture_read(b->disk, &size);
	g_assert_cmpmem(disk, IMAGE_SIZE, b->image, IMAGE_SIZE);
	g_assert_true(is_filled(disk + IMAGE_SIZE, size - TARGET_EDGE - IMAGE_SIZE, 0xaa));
	/* The long run of zeros went as a hole. */
	g_assert_cmpuint(target_written(b->t), <, 8 * MIB);
	bench_free(b);
}

/* Cut anywhere, compressed or not: an error, and a disk that does not boot. */
static void test_cuts(void)
{
	GRand *random = g_rand_new_with_seed(11);
	struct bench *b = bench_new();
	size_t length[2];
	uint8_t *packed[2] = {pack(UNPACK_NONE, b->image, IMAGE_SIZE, &length[0]),
			      pack(UNPACK_ZSTD, b->image, IMAGE_SIZE, &length[1])};

	for (unsigned i = 0; i < 24; i++) {
		struct agent_error error = {.type = NULL};
		size_t cut = (size_t)g_rand_int_range(random, 0, (int)length[i % 2]);

		g_assert_false(run(b, packed[i % 2], length[i % 2], cut, &error));
		assert_error(&error, "ImageDownloadError", "Download of image img failed: got ");
		assert_concealed(b);
		g_assert_true(target_conceal(b->t, NULL));
	}
	/* The same disk is usable at once. */
	struct agent_error error = {.type = NULL};

	g_assert_true(run(b, packed[1], length[1], SIZE_MAX, &error));
	g_rand_free(random);
	g_free(packed[0]);
	g_free(packed[1]);
	bench_free(b);
}

/* A source that ends early without an error: the server said no size. */
static void test_early_end(const void *data)
{
	enum unpack_format format = (enum unpack_format)GPOINTER_TO_INT(data);
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};
	size_t length;
	g_autofree uint8_t *packed = pack(format, b->image, IMAGE_SIZE, &length);

	g_assert_false(run(b, packed, length - 1000, SIZE_MAX, &error));
	if (format == UNPACK_NONE)
		assert_error(&error, "ImageChecksumError", "the decompressed image");
	else
		assert_error(&error, "InvalidImage", "it ends too early");
	assert_concealed(b);
	bench_free(b);
}

static void test_damage(const void *data)
{
	enum unpack_format format = (enum unpack_format)GPOINTER_TO_INT(data);
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};
	size_t length;
	g_autofree uint8_t *packed = pack(format, b->image, IMAGE_SIZE, &length);

	memset(packed + length / 2, 0x55, 64);
	g_assert_false(run(b, packed, length, SIZE_MAX, &error));
	/* LZ4 and zstd frames may carry no check sum of their own: then the digest finds it. */
	if (g_strcmp0(error.type, "ImageChecksumError") == 0)
		assert_error(&error, "ImageChecksumError", "verification checksum: ");
	else
		assert_error(&error, "InvalidImage", unpack_format_text(format));
	assert_concealed(b);
	bench_free(b);
}

static void test_two_streams(const void *data)
{
	enum unpack_format format = (enum unpack_format)GPOINTER_TO_INT(data);
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};
	size_t half = 5 * MIB + 3, first, second;
	g_autofree uint8_t *one = pack(format, b->image, half, &first);
	g_autofree uint8_t *two = pack(format, b->image + half, IMAGE_SIZE - half, &second);
	g_autofree uint8_t *both = g_malloc(first + second);

	memcpy(both, one, first);
	memcpy(both + first, two, second);
	if (!run(b, both, first + second, SIZE_MAX, &error))
		g_error("%s", error.details);
	bench_free(b);
}

static void test_wrong_digest(void)
{
	struct bench *b = bench_new();
	struct memory m = {.bytes = b->image, .length = IMAGE_SIZE, .cut = SIZE_MAX};
	struct pipeline_plan plan = {.read = read_memory,
				     .source = &m,
				     .total = IMAGE_SIZE,
				     .target = b->t,
				     .downloaded = digest_of(b->image, IMAGE_SIZE - 1),
				     .image_id = "img"};
	struct agent_error error = {.type = NULL};
	struct pipeline_result result;

	g_assert_false(pipeline_run(&plan, &result, &error));
	g_assert_nonnull(strstr(error.details, plan.downloaded.hex));
	assert_error(&error, "ImageChecksumError", "verification checksum: ");
	assert_concealed(b);
	bench_free(b);
}

static void test_too_large(void)
{
	struct bench *b = bench_new();
	g_autofree uint8_t *large = g_malloc0(DISK_SIZE + 512);
	struct agent_error error = {.type = NULL};
	size_t length;

	fixture_gpt(large, DISK_SIZE, 512);
	g_assert_false(run(b, large, DISK_SIZE + 512, SIZE_MAX, &error));
	assert_error(&error, "ImageWriteError", "the disk has 16777216 bytes, the image 16777728");
	g_autofree uint8_t *packed = pack(UNPACK_GZIP, large, DISK_SIZE + 512, &length);
	g_assert_false(run(b, packed, length, SIZE_MAX, &error));
	assert_error(&error, "ImageWriteError", "larger than the disk");
	assert_concealed(b);
	bench_free(b);
}

static void test_foreign_formats(void)
{
	static const struct {
		const char *magic, *words;
	} formats[] = {
		{"QFI\xfb", "qcow2"},
		{"KDMV", "vmdk"},
		{"vhdxfile", "vhdx"},
		{"PK\x03\x04", "zip"},
		{"<!DOCTYPE html>", "web page"},
	};
	struct bench *b = bench_new();

	for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
		uint8_t bytes[4096] = "";
		struct agent_error error = {.type = NULL};
		size_t length;

		memcpy(bytes, formats[i].magic, strlen(formats[i].magic));
		g_assert_false(run(b, bytes, sizeof(bytes), SIZE_MAX, &error));
		assert_error(&error, "InvalidImage", formats[i].words);
		g_autofree uint8_t *packed = pack(UNPACK_XZ, bytes, sizeof(bytes), &length);
		g_assert_false(run(b, packed, length, SIZE_MAX, &error));
		assert_error(&error, "InvalidImage", formats[i].words);
	}
	bench_free(b);
}

static void test_empty(void)
{
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};

	g_assert_false(run(b, b->image, 0, SIZE_MAX, &error));
	assert_error(&error, "InvalidImage", "empty");
	bench_free(b);
}

/* An image as large as the disk brings its own backup table: that must not be seen early either. */
static void test_full_disk(void)
{
	struct bench *b = bench_new();
	g_autofree uint8_t *image = fixture_image(DISK_SIZE);
	struct memory m = {.bytes = image, .length = DISK_SIZE, .cut = SIZE_MAX};
	struct pipeline_plan plan = {.read = read_memory,
				     .source = &m,
				     .total = DISK_SIZE,
				     .target = b->t,
				     .downloaded = digest_of(image, DISK_SIZE),
				     .image_id = "img"};
	struct agent_error error = {.type = NULL};
	struct pipeline_result result;
	size_t size;

	memcpy(image + DISK_SIZE - 512, "EFI PART", 8);
	plan.downloaded = digest_of(image, DISK_SIZE);
	g_assert_true(pipeline_run(&plan, &result, &error));
	assert_concealed(b);
	g_assert_true(target_reveal(b->t, NULL));
	g_autofree uint8_t *disk = fixture_read(b->disk, &size);
	g_assert_cmpuint(size, ==, DISK_SIZE);
	g_assert_true(memcmp(disk, image, DISK_SIZE) == 0);
	bench_free(b);
}

static void test_window_limit(void)
{
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};
	size_t room = ZSTD_compressBound(IMAGE_SIZE);
	g_autofree uint8_t *packed = g_malloc(room);
	ZSTD_CCtx *c = ZSTD_createCCtx();

	ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, 26);
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);

	ZSTD_inBuffer in = {b->image, IMAGE_SIZE, 0};
	ZSTD_outBuffer out = {packed, room, 0};

	while (in.pos < in.size)
		ZSTD_compressStream2(c, &out, &in, ZSTD_e_continue);
	while (ZSTD_compressStream2(c, &out, &in, ZSTD_e_end) > 0)
		;
	ZSTD_freeCCtx(c);

	struct memory m = {.bytes = packed, .length = out.pos, .cut = SIZE_MAX};
	const struct pipeline_plan plan = {.read = read_memory,
					   .source = &m,
					   .total = -1,
					   .target = b->t,
					   .image_id = "img",
					   .memory_limit = 32 * MIB};
	struct pipeline_result result;

	g_assert_false(pipeline_run(&plan, &result, &error));
	assert_error(&error, "ImageWriteError", "32 MiB of memory");
	bench_free(b);
}

static bool always(void *ctx)
{
	(void)ctx;
	return true;
}

static void test_cancel(void)
{
	struct bench *b = bench_new();
	struct memory m = {.bytes = b->image, .length = IMAGE_SIZE, .cut = SIZE_MAX};
	const struct pipeline_plan plan = {.read = read_memory,
					   .source = &m,
					   .total = -1,
					   .target = b->t,
					   .image_id = "img",
					   .cancelled = always};
	struct agent_error error = {.type = NULL};
	struct pipeline_result result;

	g_assert_false(pipeline_run(&plan, &result, &error));
	assert_error(&error, "CommandExecutionError", "about to end");
	assert_concealed(b);
	bench_free(b);
}

/* ---- the target alone */

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
	assert_concealed(b);
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
	g_autofree uint8_t *packed = pack(UNPACK_GZIP, bytes, size, &length);

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
	assert_concealed(b);
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
	assert_concealed(b);
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

static void add_formats(const char *prefix, GTestDataFunc fn, int first)
{
	for (int i = first; i <= UNPACK_LZ4; i++) {
		g_autofree char *path = g_strdup_printf("%s: %s", prefix,
							unpack_format_text((enum unpack_format)i));

		g_test_add_data_func(path, GINT_TO_POINTER(i), fn);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add_formats("/image/written byte for byte, holes and all", test_format, UNPACK_NONE);
	add_formats("/image/two streams behind one another are one", test_two_streams, UNPACK_GZIP);
	add_formats("/image/an early end is found", test_early_end, UNPACK_NONE);
	add_formats("/image/damage is found", test_damage, UNPACK_GZIP);
	g_test_add_func("/image/cut anywhere, the disk does not boot", test_cuts);
	g_test_add_func("/image/a wrong digest names both", test_wrong_digest);
	g_test_add_func("/image/larger than the disk names both sizes", test_too_large);
	g_test_add_func("/image/foreign formats are refused by name", test_foreign_formats);
	g_test_add_func("/image/an empty image is refused", test_empty);
	g_test_add_func("/image/a backup table inside the image is kept back too", test_full_disk);
	g_test_add_func("/image/a window over the memory limit is refused", test_window_limit);
	g_test_add_func("/image/a cancelled command stops", test_cancel);
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
