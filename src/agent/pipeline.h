/* pipeline.h: an image on its way from the network to the disk: three threads with bounded queues of aligned
 * buffers between them, so that memory does not grow with the image.
 *
 *     read (download)  ->  hash of the downloaded bytes, decompress  ->  hash of the image, write
 *
 * The digest of image_info is over the bytes that were downloaded, as with the stock agent; a second one
 * over the decompressed image may be asked for.  pipeline_run() leaves the target flushed but concealed:
 * showing it is the caller's decision, once everything else is in place too.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_error.h"
#include "digest.h"
#include "target.h"

#define PIPELINE_BUFFER  (1024 * 1024)
#define PIPELINE_BUFFERS 4 /* per queue; there are two */

struct pipeline_plan {
	/* At least one byte, or *ret_got = 0 at the end.  Called by one thread of the pipeline. */
	bool (*read)(void *source, void *buffer, size_t length, size_t *ret_got, GError **error);
	void *source;
	int64_t total; /* bytes of the source; -1: not known */
	struct target *target;
	struct digest_wanted downloaded, image; /* algorithm "": not checked */
	uint64_t memory_limit; /* of the decompressor; 0: a share of what is free */
	const char *image_id;  /* for sentences */
	int *stop; /* set (atomically) when any stage fails, so that a read that waits can end; or NULL */
	bool (*cancelled)(void *ctx); /* may be NULL; from any thread */
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void *ctx;
};

struct pipeline_result {
	uint64_t downloaded, written; /* bytes of the source, bytes of the image */
	const char *compression;      /* "raw", "gzip", ... */
};

/* False with *error set: a class of the agent protocol and a sentence. */
bool pipeline_run(const struct pipeline_plan *plan, struct pipeline_result *ret_result,
		  struct agent_error *error) G_GNUC_WARN_UNUSED_RESULT;
