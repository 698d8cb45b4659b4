#include "image_bench.h"

#include <bzlib.h>
#include <lz4frame.h>
#include <lzma.h>
#include <zstd.h>

#include "errors.h"

uint8_t *bench_pack(enum unpack_format format, const uint8_t *in, size_t length, size_t *ret_length)
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

bool bench_read(void *source, void *buffer, size_t length, size_t *ret_got, GError **error)
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

struct bench *bench_new(void)
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

void bench_free(struct bench *b)
{
	target_free(b->t);
	fixture_remove(b->folder);
	g_free(b->folder);
	g_free(b->disk);
	g_free(b->image);
	g_free(b);
}

struct digest_wanted bench_digest(const uint8_t *bytes, size_t length)
{
	g_autofree char *hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, length);
	struct digest_wanted wanted;

	g_assert_true(digest_want("sha256", hex, false, &wanted, NULL));
	return wanted;
}

bool bench_run(struct bench *b, const uint8_t *bytes, size_t length, size_t cut,
	       struct agent_error *error)
{
	struct memory m = {.bytes = bytes, .length = length, .cut = cut};
	const struct pipeline_plan plan = {
		.read = bench_read,
		.source = &m,
		.total = (int64_t)length,
		.target = b->t,
		.downloaded = bench_digest(bytes, length),
		.image = bench_digest(b->image, IMAGE_SIZE),
		.image_id = "img",
	};
	struct pipeline_result result;

	return pipeline_run(&plan, &result, error);
}

bool bench_is_filled(const uint8_t *bytes, size_t length, uint8_t with)
{
	return length == 0 || (bytes[0] == with && memcmp(bytes, bytes + 1, length - 1) == 0);
}

void bench_assert_concealed(const struct bench *b)
{
	size_t size;
	g_autofree uint8_t *disk = fixture_read(b->disk, &size);

	g_assert_cmpuint(size, ==, DISK_SIZE);
	g_assert_true(bench_is_filled(disk, TARGET_EDGE, 0));
	g_assert_true(bench_is_filled(disk + size - TARGET_EDGE, TARGET_EDGE, 0));
}

void bench_assert_error(struct agent_error *error, const char *type, const char *words)
{
	g_assert_cmpstr(error->type, ==, type);
	if (!strstr(error->details, words))
		g_error("'%s' lacks '%s'", error->details, words);
	agent_error_clear(error);
}
