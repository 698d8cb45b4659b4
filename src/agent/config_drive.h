/* config_drive.h: the config drive of an instance: base64 of gzip of an ISO or FAT image, or a URL of that
 * (agent protocol, "Config drive").
 *
 * It is decompressed twice, in pieces: once before the disk is touched, so that a bad one costs nothing, and
 * once onto the disk.  It is written while the disk is still concealed (target.h): the partition that holds
 * it appears with the head of the disk, in the same write that makes the disk bootable.  So there is no
 * moment in which an instance could boot without its config drive.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "fetch.h"
#include "label.h"
#include "target.h"

#define CONFIG_DRIVE_LABEL     "config-2"
#define CONFIG_DRIVE_PARTITION (64ULL << 20) /* size of the partition, and most that fits in */

struct config_drive;

/* Fetches `text` if it is a URL, and checks the whole content.  `text` must outlive the result.  Errors: as
 * fetch_text(), INVALID (not base64, not gzip, damaged), LIMIT (larger than the partition). */
struct config_drive *config_drive_load(const char *text, const struct fetch_options *options,
				       GError **error);
void config_drive_free(struct config_drive *d);
uint64_t config_drive_size(const struct config_drive *d); /* decompressed */

/* Writes it to the image's partition with a file system labelled config-2, or to a new one at the end of the
 * disk, which is added to `l` and to the target's head.  Errors: CONFLICT (no room, two such partitions),
 * LIMIT (that partition is too small), UNSUPPORTED (an ISO on a disk with 4096-byte sectors), IO. */
bool config_drive_write(const struct config_drive *d, struct target *t, struct label *l,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct config_drive config_drive;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config_drive, config_drive_free)
