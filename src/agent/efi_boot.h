/* efi_boot.h: boot entries of UEFI firmware: EFI_LOAD_OPTION in the variables Boot#### and BootOrder (UEFI specification
 * 2.10, sections 3.1.3, 3.3 and 10.3), which Linux shows as files (efivarfs: four bytes of attributes, then the value).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define EFI_LABEL_MOST 128 /* characters */

/* The EFI system partition, as a device path names it. */
struct efi_partition {
	unsigned number;
	uint64_t start, length; /* in sectors of the disk */
	bool gpt;
	uint8_t signature
		[16]; /* GPT: the partition's identifier as stored; MBR: the disk's, 4 bytes */
};

/* The bytes of an active load option.  `path` is a file of the partition, with backslashes.  Error: INVALID (no
 * UTF-8, too long). */
GByteArray *efi_entry_make(const struct efi_partition *p, const char *path, const char *label,
			   GError **error);
/* The label of a load option, or NULL if the bytes are none.  The caller frees it. */
char *efi_entry_label(const uint8_t *bytes, size_t length);

/* Makes `entry` the first one to be booted and takes away all others with this label.  `vars` is the folder of the
 * variables.  Cut off at any moment it leaves an order that can be booted.  Errors: IO, LIMIT (no free number). */
bool efi_boot_install(const char *vars, const char *label, const GByteArray *entry,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
