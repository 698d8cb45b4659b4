/* hints.h: root device hints: which disk an image goes to (agent protocol, "Disk selection and root device
 * hints").
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "disk.h"

/* Smallest disk that is chosen without hints, in bytes. */
#define HINTS_DEFAULT_MIN (4ULL << 30)

/* Checks a hints object: known names, right types, valid operators.  Error: INVALID. */
bool hints_check(const json_t *hints, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* True if the disk satisfies all hints (which hints_check() accepted). */
bool hints_match(const json_t *hints, const struct disk *d);
/* The hints of a node: instance_info.root_device before properties.root_device; borrowed; NULL if none. */
const json_t *hints_of_node(const json_t *node);

/* The disk to use; borrowed from `disks`.  With hints: the first that satisfies all of them; without: the
 * smallest of at least HINTS_DEFAULT_MIN bytes that is not removable.  Read-only disks are never chosen.
 * Errors: INVALID, NOT_FOUND with a sentence that names the hints and the disks. */
const struct disk *hints_choose(const json_t *hints, const GPtrArray *disks, GError **error);
