#include <zstd.h>

#include "image_bench.h"

static void test_format(const void *data)
{
	enum unpack_format format = (enum unpack_format)GPOINTER_TO_INT(data);
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};
	size_t length, size;
	g_autofree uint8_t *packed = bench_pack(format, b->image, IMAGE_SIZE, &length);

	g_assert_cmpint(unpack_detect(packed, length), ==, format);
	if (!bench_run(b, packed, length, SIZE_MAX, &error))
		g_error("%s", error.details);
	bench_assert_concealed(b);
	g_assert_true(target_reveal(b->t, NULL));

	g_autofree uint8_t *disk = fixture_read(b->disk, &size);
	g_assert_cmpmem(disk, IMAGE_SIZE, b->image, IMAGE_SIZE);
	g_assert_true(bench_is_filled(disk + IMAGE_SIZE, size - TARGET_EDGE - IMAGE_SIZE, 0xaa));
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
	uint8_t *packed[2] = {bench_pack(UNPACK_NONE, b->image, IMAGE_SIZE, &length[0]),
			      bench_pack(UNPACK_ZSTD, b->image, IMAGE_SIZE, &length[1])};

	for (unsigned i = 0; i < 24; i++) {
		struct agent_error error = {.type = NULL};
		size_t cut = (size_t)g_rand_int_range(random, 0, (int)length[i % 2]);

		g_assert_false(bench_run(b, packed[i % 2], length[i % 2], cut, &error));
		bench_assert_error(&error, "ImageDownloadError",
				   "Download of image img failed: got ");
		bench_assert_concealed(b);
		g_assert_true(target_conceal(b->t, NULL));
	}
	/* The same disk is usable at once. */
	struct agent_error error = {.type = NULL};

	g_assert_true(bench_run(b, packed[1], length[1], SIZE_MAX, &error));
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
	g_autofree uint8_t *packed = bench_pack(format, b->image, IMAGE_SIZE, &length);

	g_assert_false(bench_run(b, packed, length - 1000, SIZE_MAX, &error));
	if (format == UNPACK_NONE)
		bench_assert_error(&error, "ImageChecksumError", "the decompressed image");
	else
		bench_assert_error(&error, "InvalidImage", "it ends too early");
	bench_assert_concealed(b);
	bench_free(b);
}

static void test_damage(const void *data)
{
	enum unpack_format format = (enum unpack_format)GPOINTER_TO_INT(data);
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};
	size_t length;
	g_autofree uint8_t *packed = bench_pack(format, b->image, IMAGE_SIZE, &length);

	memset(packed + length / 2, 0x55, 64);
	g_assert_false(bench_run(b, packed, length, SIZE_MAX, &error));
	/* LZ4 and zstd frames may carry no check sum of their own: then the digest finds it. */
	if (g_strcmp0(error.type, "ImageChecksumError") == 0)
		bench_assert_error(&error, "ImageChecksumError", "verification checksum: ");
	else
		bench_assert_error(&error, "InvalidImage", unpack_format_text(format));
	bench_assert_concealed(b);
	bench_free(b);
}

static void test_two_streams(const void *data)
{
	enum unpack_format format = (enum unpack_format)GPOINTER_TO_INT(data);
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};
	size_t half = 5 * MIB + 3, first, second;
	g_autofree uint8_t *one = bench_pack(format, b->image, half, &first);
	g_autofree uint8_t *two = bench_pack(format, b->image + half, IMAGE_SIZE - half, &second);
	g_autofree uint8_t *both = g_malloc(first + second);

	memcpy(both, one, first);
	memcpy(both + first, two, second);
	if (!bench_run(b, both, first + second, SIZE_MAX, &error))
		g_error("%s", error.details);
	bench_free(b);
}

static void test_wrong_digest(void)
{
	struct bench *b = bench_new();
	struct memory m = {.bytes = b->image, .length = IMAGE_SIZE, .cut = SIZE_MAX};
	struct pipeline_plan plan = {.read = bench_read,
				     .source = &m,
				     .total = IMAGE_SIZE,
				     .target = b->t,
				     .downloaded = bench_digest(b->image, IMAGE_SIZE - 1),
				     .image_id = "img"};
	struct agent_error error = {.type = NULL};
	struct pipeline_result result;

	g_assert_false(pipeline_run(&plan, &result, &error));
	g_assert_nonnull(strstr(error.details, plan.downloaded.hex));
	bench_assert_error(&error, "ImageChecksumError", "verification checksum: ");
	bench_assert_concealed(b);
	bench_free(b);
}

static void test_too_large(void)
{
	struct bench *b = bench_new();
	g_autofree uint8_t *large = g_malloc0(DISK_SIZE + 512);
	struct agent_error error = {.type = NULL};
	size_t length;

	fixture_gpt(large, DISK_SIZE, 512);
	g_assert_false(bench_run(b, large, DISK_SIZE + 512, SIZE_MAX, &error));
	bench_assert_error(&error, "ImageWriteError",
			   "the disk has 16777216 bytes, the image 16777728");
	g_autofree uint8_t *packed = bench_pack(UNPACK_GZIP, large, DISK_SIZE + 512, &length);
	g_assert_false(bench_run(b, packed, length, SIZE_MAX, &error));
	bench_assert_error(&error, "ImageWriteError", "larger than the disk");
	bench_assert_concealed(b);
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
		g_assert_false(bench_run(b, bytes, sizeof(bytes), SIZE_MAX, &error));
		bench_assert_error(&error, "InvalidImage", formats[i].words);
		g_autofree uint8_t *packed = bench_pack(UNPACK_XZ, bytes, sizeof(bytes), &length);
		g_assert_false(bench_run(b, packed, length, SIZE_MAX, &error));
		bench_assert_error(&error, "InvalidImage", formats[i].words);
	}
	bench_free(b);
}

static void test_empty(void)
{
	struct bench *b = bench_new();
	struct agent_error error = {.type = NULL};

	g_assert_false(bench_run(b, b->image, 0, SIZE_MAX, &error));
	bench_assert_error(&error, "InvalidImage", "empty");
	bench_free(b);
}

/* An image as large as the disk brings its own backup table: that must not be seen early either. */
static void test_full_disk(void)
{
	struct bench *b = bench_new();
	g_autofree uint8_t *image = fixture_image(DISK_SIZE);
	struct memory m = {.bytes = image, .length = DISK_SIZE, .cut = SIZE_MAX};
	struct pipeline_plan plan = {.read = bench_read,
				     .source = &m,
				     .total = DISK_SIZE,
				     .target = b->t,
				     .downloaded = bench_digest(image, DISK_SIZE),
				     .image_id = "img"};
	struct agent_error error = {.type = NULL};
	struct pipeline_result result;
	size_t size;

	memcpy(image + DISK_SIZE - 512, "EFI PART", 8);
	plan.downloaded = bench_digest(image, DISK_SIZE);
	g_assert_true(pipeline_run(&plan, &result, &error));
	bench_assert_concealed(b);
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
	const struct pipeline_plan plan = {.read = bench_read,
					   .source = &m,
					   .total = -1,
					   .target = b->t,
					   .image_id = "img",
					   .memory_limit = 32 * MIB};
	struct pipeline_result result;

	g_assert_false(pipeline_run(&plan, &result, &error));
	bench_assert_error(&error, "ImageWriteError", "32 MiB of memory");
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
	const struct pipeline_plan plan = {.read = bench_read,
					   .source = &m,
					   .total = -1,
					   .target = b->t,
					   .image_id = "img",
					   .cancelled = always};
	struct agent_error error = {.type = NULL};
	struct pipeline_result result;

	g_assert_false(pipeline_run(&plan, &result, &error));
	bench_assert_error(&error, "CommandExecutionError", "about to end");
	bench_assert_concealed(b);
	bench_free(b);
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
	return g_test_run();
}
