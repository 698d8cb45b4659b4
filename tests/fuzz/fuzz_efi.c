/* What an EFI system partition and the firmware's variables hold: a CSV file that names a loader, and the label of an
 * entry.  What is found must be fit for an entry. */
#include <glib/gstdio.h>
#include <string.h>

#include "efi_boot.h"
#include "efi_loaders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	static const struct efi_partition partition = {.number = 1, .gpt = true};
	g_autofree char *folder = g_dir_make_tmp("inox-fuzz-XXXXXX", NULL);
	g_autofree char *file = g_build_filename(folder, "BOOT.CSV", NULL);
	g_autofree char *label = efi_entry_label(data, length);

	g_assert_true(!label || g_utf8_validate(label, -1, NULL));
	g_assert_true(g_file_set_contents(file, (const char *)data, (gssize)length, NULL));
	g_autoptr(GPtrArray) loaders = efi_loaders_find(folder, NULL);

	g_assert_true(!loaders || loaders->len == 1);
	if (loaders) {
		const struct efi_loader *l = loaders->pdata[0];
		g_autoptr(GByteArray) entry = efi_entry_make(&partition, l->path, l->label, NULL);
		g_autofree char *again = entry ? efi_entry_label(entry->data, entry->len) : NULL;

		g_assert_true(*l->path == '\\' && !strpbrk(l->path + 1, "/\\"));
		g_assert_true(!entry || g_str_equal(again, l->label));
	}
	g_unlink(file);
	g_rmdir(folder);
	return 0;
}
