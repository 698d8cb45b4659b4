/* unpack.h: one reader for every compression an image may come in: gzip (RFC 1952), xz, zstd (RFC 8878),
 * bzip2, LZ4 frames; chosen by the first bytes.  Several streams behind one another are one.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum unpack_format {
	UNPACK_NONE,
	UNPACK_GZIP,
	UNPACK_XZ,
	UNPACK_ZSTD,
	UNPACK_BZIP2,
	UNPACK_LZ4,
};

/* Bytes that unpack_detect() wants to see, if there are as many. */
#define UNPACK_MAGIC 8

struct unpack;

enum unpack_format unpack_detect(const uint8_t *bytes, size_t length);
const char *unpack_format_text(enum unpack_format format); /* "gzip"; "raw" for UNPACK_NONE */

/* `memory_limit`: most bytes that a stream's window may need; UNPACK_NONE has no unpacker (g_assert). */
struct unpack *unpack_new(enum unpack_format format, uint64_t memory_limit);
void unpack_free(struct unpack *u);
/* Takes bytes from `in` and gives bytes to `out` until one of them is used up.  Errors: INVALID (damaged),
 * LIMIT (wants more memory than the limit). */
bool unpack_step(struct unpack *u, const uint8_t *in, size_t in_length, size_t *ret_used,
		 uint8_t *out, size_t out_length, size_t *ret_got,
		 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* At the end of the input, when unpack_step() gives nothing more: false with INVALID if the last stream is
 * not complete. */
bool unpack_finish(const struct unpack *u, GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct unpack unpack;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(unpack, unpack_free)
