#include "unpack.h"

#include <bzlib.h>
#include <lz4frame.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "errors.h"

struct unpack {
	enum unpack_format format;
	uint64_t memory_limit;
	bool between; /* between two streams: the input may end here */
	bool begun;   /* the first stream has begun */
	z_stream zlib;
	lzma_stream xz;
	ZSTD_DStream *zstd;
	bz_stream bzip2;
	LZ4F_dctx *lz4;
};

/* The span of one step: what the libraries take and give. */
struct span_io {
	const uint8_t *in;
	size_t in_length, used;
	uint8_t *out;
	size_t out_length, got;
};

static const struct {
	enum unpack_format format;
	const char *text;
	size_t length;
	const char *magic;
} formats[] = {
	{UNPACK_GZIP, "gzip", 3, "\x1f\x8b\x08"},
	{UNPACK_XZ, "xz", 6,
	 "\xfd"
	 "7zXZ\0"},
	{UNPACK_ZSTD, "zstd", 4, "\x28\xb5\x2f\xfd"},
	{UNPACK_BZIP2, "bzip2", 3, "BZh"},
	{UNPACK_LZ4, "lz4", 4, "\x04\x22\x4d\x18"},
};

enum unpack_format unpack_detect(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < G_N_ELEMENTS(formats); i++)
		if (length >= formats[i].length &&
		    memcmp(bytes, formats[i].magic, formats[i].length) == 0)
			return formats[i].format;
	/* A skippable frame (RFC 8878 section 3.1.2): parallel zstd begins with one. */
	if (length >= 4 && (bytes[0] & 0xf0) == 0x50 && memcmp(bytes + 1, "\x2a\x4d\x18", 3) == 0)
		return UNPACK_ZSTD;
	return UNPACK_NONE;
}

const char *unpack_format_text(enum unpack_format format)
{
	for (size_t i = 0; i < G_N_ELEMENTS(formats); i++)
		if (formats[i].format == format)
			return formats[i].text;
	return "raw";
}

static bool refuse(const struct unpack *u, GError **error, const char *reason)
{
	return inox_error_set(error, INOX_ERROR_INVALID, "the %s data is damaged: %s",
			      unpack_format_text(u->format), reason);
}

static bool refuse_memory(const struct unpack *u, GError **error)
{
	return inox_error_set(error, INOX_ERROR_LIMIT,
			      "the %s data needs a window of more than the %" G_GUINT64_FORMAT
			      " MiB of memory that this machine can spare",
			      unpack_format_text(u->format), u->memory_limit >> 20);
}

static unsigned window_log(uint64_t memory_limit)
{
	unsigned bits = 20;

	while (bits < 27 && (2ULL << bits) <= memory_limit)
		bits++;
	return bits;
}

struct unpack *unpack_new(enum unpack_format format, uint64_t memory_limit)
{
	struct unpack *u = g_new0(struct unpack, 1);
	bool ok = true;

	u->format = format;
	u->memory_limit = memory_limit;
	u->between = true;
	switch (format) {
	case UNPACK_NONE: g_assert_not_reached();
	case UNPACK_GZIP: ok = inflateInit2(&u->zlib, 16 + MAX_WBITS) == Z_OK; break;
	case UNPACK_XZ:
		ok = lzma_stream_decoder(&u->xz, memory_limit, LZMA_CONCATENATED) == LZMA_OK;
		break;
	case UNPACK_ZSTD:
		u->zstd = ZSTD_createDStream();
		ok = u->zstd &&
		     !ZSTD_isError(ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax,
							  (int)window_log(memory_limit)));
		break;
	case UNPACK_BZIP2: ok = BZ2_bzDecompressInit(&u->bzip2, 0, 0) == BZ_OK; break;
	case UNPACK_LZ4:
		ok = !LZ4F_isError(LZ4F_createDecompressionContext(&u->lz4, LZ4F_VERSION));
		break;
	}
	g_assert(ok); /* out of memory for a few kilobytes */
	return u;
}

void unpack_free(struct unpack *u)
{
	if (!u)
		return;
	if (u->format == UNPACK_GZIP)
		inflateEnd(&u->zlib);
	if (u->format == UNPACK_BZIP2)
		BZ2_bzDecompressEnd(&u->bzip2);
	lzma_end(&u->xz);
	ZSTD_freeDStream(u->zstd);
	LZ4F_freeDecompressionContext(u->lz4);
	g_free(u);
}

/* ---- one step of each library */

static bool step_gzip(struct unpack *u, struct span_io *io, GError **error)
{
	if (u->between && u->begun && inflateReset(&u->zlib) != Z_OK)
		return refuse(u, error, "reset");
	u->zlib.next_in = (Bytef *)(uintptr_t)io->in;
	u->zlib.avail_in = (uInt)io->in_length;
	u->zlib.next_out = io->out;
	u->zlib.avail_out = (uInt)io->out_length;

	int r = inflate(&u->zlib, Z_NO_FLUSH);

	io->used = io->in_length - u->zlib.avail_in;
	io->got = io->out_length - u->zlib.avail_out;
	u->between = r == Z_STREAM_END;
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return refuse(u, error, u->zlib.msg ? u->zlib.msg : "unknown reason");
	return true;
}

static bool step_bzip2(struct unpack *u, struct span_io *io, GError **error)
{
	if (u->between && u->begun) {
		BZ2_bzDecompressEnd(&u->bzip2);
		u->bzip2 = (bz_stream){.next_in = NULL};
		if (BZ2_bzDecompressInit(&u->bzip2, 0, 0) != BZ_OK)
			return refuse(u, error, "reset");
	}
	u->bzip2.next_in = (char *)(uintptr_t)io->in;
	u->bzip2.avail_in = (unsigned)io->in_length;
	u->bzip2.next_out = (char *)io->out;
	u->bzip2.avail_out = (unsigned)io->out_length;

	int r = BZ2_bzDecompress(&u->bzip2);

	io->used = io->in_length - u->bzip2.avail_in;
	io->got = io->out_length - u->bzip2.avail_out;
	u->between = r == BZ_STREAM_END;
	if (r != BZ_OK && r != BZ_STREAM_END)
		return refuse(u, error,
			      r == BZ_DATA_ERROR_MAGIC ? "not a bzip2 stream" : "wrong check sum");
	return true;
}

/* `in` empty means the end of the input: the decoder of concatenated streams must be told. */
static bool step_xz(struct unpack *u, struct span_io *io, GError **error)
{
	u->xz.next_in = io->in;
	u->xz.avail_in = io->in_length;
	u->xz.next_out = io->out;
	u->xz.avail_out = io->out_length;

	lzma_ret r = lzma_code(&u->xz, io->in_length > 0 ? LZMA_RUN : LZMA_FINISH);

	io->used = io->in_length - u->xz.avail_in;
	io->got = io->out_length - u->xz.avail_out;
	u->between = r == LZMA_STREAM_END;
	if (r == LZMA_MEMLIMIT_ERROR)
		return refuse_memory(u, error);
	if (r != LZMA_OK && r != LZMA_STREAM_END && r != LZMA_BUF_ERROR)
		return refuse(u, error,
			      r == LZMA_OPTIONS_ERROR ? "unsupported options" : "wrong content");
	return true;
}

static bool step_zstd(struct unpack *u, struct span_io *io, GError **error)
{
	ZSTD_inBuffer in = {io->in, io->in_length, 0};
	ZSTD_outBuffer out = {io->out, io->out_length, 0};
	size_t r = ZSTD_decompressStream(u->zstd, &out, &in);

	io->used = in.pos;
	io->got = out.pos;
	if (ZSTD_isError(r) && ZSTD_getErrorCode(r) == ZSTD_error_frameParameter_windowTooLarge)
		return refuse_memory(u, error);
	if (ZSTD_isError(r))
		return refuse(u, error, ZSTD_getErrorName(r));
	u->between = r == 0;
	return true;
}

static bool step_lz4(struct unpack *u, struct span_io *io, GError **error)
{
	io->used = io->in_length;
	io->got = io->out_length;

	size_t r = LZ4F_decompress(u->lz4, io->out, &io->got, io->in, &io->used, NULL);

	if (LZ4F_isError(r))
		return refuse(u, error, LZ4F_getErrorName(r));
	u->between = r == 0;
	return true;
}

static bool (*const steps[])(struct unpack *u, struct span_io *io, GError **error) = {
	[UNPACK_GZIP] = step_gzip,   [UNPACK_XZ] = step_xz,   [UNPACK_ZSTD] = step_zstd,
	[UNPACK_BZIP2] = step_bzip2, [UNPACK_LZ4] = step_lz4,
};

bool unpack_step(struct unpack *u, const uint8_t *in, size_t in_length, size_t *ret_used,
		 uint8_t *out, size_t out_length, size_t *ret_got, GError **error)
{
	struct span_io io = {in, in_length, 0, out, out_length, 0};
	bool at_end = in_length == 0 && u->between;

	/* A complete stream and no byte behind it: nothing to do, and nothing may be reset. */
	if (!(at_end && (u->begun || u->format != UNPACK_XZ)) && !steps[u->format](u, &io, error))
		return false;
	u->begun = true;
	*ret_used = io.used;
	*ret_got = io.got;
	return true;
}

bool unpack_finish(const struct unpack *u, GError **error)
{
	return u->begun && u->between ? true : refuse(u, error, "it ends too early");
}
