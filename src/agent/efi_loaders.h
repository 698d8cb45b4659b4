/* efi_loaders.h: what an EFI system partition has to boot. */
#pragma once

#include <glib.h>

struct efi_loader {
	char *path;  /* "\EFI\debian\shimx64.efi" */
	char *label; /* that its boot entry gets */
};

/* Elements are struct efi_loader; empty if there is nothing.  `folder` is where the partition is mounted.  A CSV file
 * (BOOTX64.CSV and the like, as distributions ship it) is used alone: it names a loader beside it, and the label.
 * Otherwise every known loader is one, labelled ironic1, ironic2 and so on.  Errors: IO, INVALID (a bad CSV file). */
GPtrArray *efi_loaders_find(const char *folder, GError **error);
