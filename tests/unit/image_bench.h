/* image_bench.h: what the tests of writing images share: a disk in a file, an image for it, and sources in memory. */
#pragma once

#include "image_fixture.h"
#include "pipeline.h"
#include "unpack.h"

#define DISK_SIZE  (16 * MIB)
#define IMAGE_SIZE (9 * MIB + 512)

/* A source that gives pieces of odd sizes, and may break. */
struct memory {
	const uint8_t *bytes;
	size_t length, at, cut; /* cut: fails when so many bytes were given */
	unsigned turn;
};

struct bench {
	char *folder, *disk;
	uint8_t *image;
	struct target *t;
};

/* The disk is open and concealed. */
struct bench *bench_new(void);
void bench_free(struct bench *b);

/* The caller frees it. */
uint8_t *bench_pack(enum unpack_format format, const uint8_t *in, size_t length,
		    size_t *ret_length);
/* Of a struct memory: a pipeline's `read`. */
bool bench_read(void *source, void *buffer, size_t length, size_t *ret_got, GError **error);
struct digest_wanted bench_digest(const uint8_t *bytes, size_t length);
/* Writes what bench_pack() made of the image. */
bool bench_run(struct bench *b, const uint8_t *bytes, size_t length, size_t cut,
	       struct agent_error *error);

bool bench_is_filled(const uint8_t *bytes, size_t length, uint8_t with);
/* Nobody would boot from this disk. */
void bench_assert_concealed(const struct bench *b);
/* Clears the error. */
void bench_assert_error(struct agent_error *error, const char *type, const char *words);
