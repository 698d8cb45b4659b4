/* erase_options.h: how erase_devices erases: keys of the node's driver_internal_info, by which the control plane hands
 * down its options. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#define ERASE_PASSES_MOST 64

struct erase_options {
	unsigned iterations; /* passes with random bytes */
	bool zeroize;        /* a last pass with zeros */
	bool nvme, ata;      /* the disk's own command is tried first */
	bool go_on;          /* overwrite a disk whose own command failed */
	bool skip_read_only;
};

/* Keys that are missing or null have the stock agent's values.  Error: INVALID for one of another type, and when
 * nothing would be written. */
bool erase_options_read(const json_t *node, struct erase_options *ret_options,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
