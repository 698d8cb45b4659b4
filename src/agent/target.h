/* target.h: the disk that an image is written to, so that a disk that was cut off at any moment never boots.
 *
 * The first and the last TARGET_EDGE bytes (partition table, boot sector, backup of the GPT) are kept in
 * memory: target_conceal() writes zeros over both places and flushes, everything in between is written as
 * it comes, and target_reveal() writes the last part, flushes, writes the head and flushes again.  The end
 * is kept back as well because firmware uses the backup table there when the first one is missing.
 *
 * One thread at a time.  A target knows nothing of images.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TARGET_EDGE  (1U << 20)
#define TARGET_ALIGN 4096 /* buffers with this alignment are written without a copy */

struct target;

struct target_place {
	const char *name;  /* "/dev/sda": for sentences */
	const char *path;  /* what is opened: a block device or, in tests, a regular file */
	const char *sysfs; /* exists while the disk is there; NULL: not known */
	bool no_direct;    /* never O_DIRECT */
};

/* Errors: BUSY (mounted or in use), INVALID (too small), IO, NOT_FOUND, DENIED. */
struct target *target_open(const struct target_place *place, GError **error);
/* Closes; what was not revealed stays concealed. */
void target_free(struct target *t);
uint64_t target_size(const struct target *t);
unsigned target_sector(const struct target *t); /* logical sector, bytes; 512 for a file */

/* Zeros over both edges, on the disk when this returns. */
bool target_conceal(struct target *t, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Reads the first TARGET_EDGE bytes of the disk into target_peek_head(); what is there before anything is
 * written.  Error: IO. */
bool target_load_head(struct target *t, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Runs of zeros become holes or discards where the disk says that it then reads zeros; else they are
 * written.  Errors: LIMIT (past the end), IO with a sentence that names disk and byte. */
bool target_write(struct target *t, uint64_t offset, const void *bytes, size_t length,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What was written, wherever it is.  Error: IO, LIMIT. */
bool target_read(struct target *t, uint64_t offset, void *bytes, size_t length,
		 GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool target_flush(struct target *t, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The edges in memory, TARGET_EDGE bytes each; may be changed until target_reveal(). */
uint8_t *target_peek_head(struct target *t);
uint8_t *target_peek_tail(struct target *t);
bool target_reveal(struct target *t, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Bytes that went to the disk as data; the rest were holes.  For tests and the benchmark. */
uint64_t target_written(const struct target *t);
/* The open descriptor, for ioctls; borrowed. */
int target_peek_fd(const struct target *t);

typedef struct target target;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(target, target_free)
