/* media_base.h: the base ISOs below the http root, opened for reading and known by their digest. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "media_record.h"

struct media_bases; /* what was found out about files, so that each is read whole once */

/* A file as it was looked at: another one, or one that was written to, is not the same. */
struct media_identity {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed, modified;
};

struct media_base {
	struct media_bases *bases; /* borrowed */
	int fd;
	struct media_identity identity;
	uint8_t digest[MEDIA_DIGEST_BYTES];
};

/* `root_fd` is the http root's folder; it stays the caller's. */
struct media_bases *media_bases_new(int root_fd);
void media_bases_free(struct media_bases *b); /* after all that it opened are closed */

/* Opens the base of a record.  A file that was not looked at before is read whole, which blocks: some hundred milliseconds, once
 * per file, while no more than 4096 others are asked for in between.  Errors: CONFLICT if it is not the one the record was made for; NOT_FOUND, DENIED, IO. */
bool media_bases_open(struct media_bases *b, const struct media_record *r, struct media_base *ret,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
void media_base_close(struct media_base *base);
/* Exactly `length` bytes.  CONFLICT if the file was written to since it was opened.  One that lost its name is read on. */
bool media_base_read(struct media_base *base, uint64_t offset, uint8_t *buffer, size_t length,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Opens a file for reading by its name below a folder, following no link; -1 with errno. */
int media_open(int folder, const char *name);

typedef struct media_bases media_bases;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(media_bases, media_bases_free)
