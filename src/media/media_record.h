/* media_record.h: what the boot publisher writes for a boot from virtual media: the name of the base ISO, by what it is known,
 * and the bytes that differ.
 *
 *     inox-media 1
 *     node 5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c33
 *     base ramdisk/boot.iso
 *     size 24379392
 *     sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
 *     patch 65536 4096
 *     patch 69632 2048
 *
 * then an empty line, then the bytes of the patches, in their order, and nothing else.  Patches ascend, do not overlap and end within the
 * base.  Numbers are decimal, without leading zeroes.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "limit.h"

/* In http/once/<path>/ of the boot host. */
#define MEDIA_RECORD_FILE  "boot.media"

#define MEDIA_DIGEST_BYTES 32 /* SHA-256 */

struct media_patch {
	uint64_t offset;
	size_t length;
	const uint8_t *bytes; /* borrowed */
};

struct media_record {
	struct uuid node;
	char base[LIMIT_MEDIA_NAME + 1]; /* below the http root */
	uint64_t size;                   /* of the base, and of the whole */
	uint8_t digest[MEDIA_DIGEST_BYTES];
	unsigned count;
	struct media_patch patches[LIMIT_MEDIA_PATCHES];
	/* What the patches are in, when it was parsed; holds the token, and is wiped. */
	uint8_t *text;
	size_t text_length;
};

/* The caller wipes and frees the result: it holds the token.  INVALID or LIMIT for what media_record_parse() would refuse. */
uint8_t *media_record_print(const struct media_record *r, size_t *ret_length, GError **error);
/* Copies `bytes`.  Errors: INVALID, LIMIT, with the line. */
bool media_record_parse(const uint8_t *bytes, size_t length, struct media_record *ret,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
void media_record_clear(struct media_record *r);

/* `buffer` holds `length` bytes of the base from `offset`: puts the patches over them. */
void media_record_apply(const struct media_record *r, uint64_t offset, uint8_t *buffer,
			size_t length);

typedef struct media_record media_record;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(media_record, media_record_clear)
