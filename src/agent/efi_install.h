/* efi_install.h: boot entries for what an image brought along. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "disk.h"
#include "efi_boot.h"

/* True if the machine was started by UEFI firmware whose variables can be changed. */
bool efi_install_is_possible(const char *root);

/* The EFI system partition in the table of a disk: `head` is its first LABEL_EDGE bytes.  Errors: NOT_FOUND (the disk has
 * none), INVALID (a table that cannot be read). */
bool efi_install_find(const uint8_t *head, const struct disk *d,
		      struct efi_partition *ret_partition,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Makes a boot entry for each loader of the disk's EFI system partition, which is mounted for that, read-only; takes away
 * entries with the same labels.  *ret_count is 0 if it has no known loader.  Errors: those above, IO, LIMIT. */
bool efi_install_entries(const char *root, const struct disk *d, unsigned *ret_count,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
