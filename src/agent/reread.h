/* reread.h: makes the kernel see the partitions of a disk that was just written. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "label.h"

/* Re-reads the table (BLKRRPART); where that finds fewer partitions than `l` holds, adds them one by one
 * (BLKPG).  `fd` is a block device open for writing; a regular file is left alone.  Error: IO, BUSY. */
bool reread_partitions(int fd, const struct label *l, GError **error) G_GNUC_WARN_UNUSED_RESULT;
