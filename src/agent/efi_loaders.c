#include "efi_loaders.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "efi_boot.h"
#include "errors.h"

#define DEPTH      8
#define FILES_MOST 4096
#define CSV_MOST   (64 * 1024)
#define BOM        0xfeff

static const char *const csv_names[] = {"bootx64.csv", "bootaa64.csv", "boot.csv", NULL};
static const char *const loader_names[] = {
	"bootia32.efi",
	"bootx64.efi",
	"bootia64.efi",
	"bootarm.efi",
	"bootaa64.efi",
	"bootriscv32.efi",
	"bootriscv64.efi",
	"bootriscv128.efi",
	"grubaa64.efi",
	"winload.efi",
	NULL,
};

struct walk {
	unsigned seen;
	char *csv;          /* below the folder, "/EFI/debian/BOOTX64.CSV"; NULL: none yet */
	GPtrArray *loaders; /* of char, the same */
};

static void loader_free(void *item)
{
	struct efi_loader *l = item;

	g_free(l->path);
	g_free(l->label);
	g_free(l);
}

static void add_loader(GPtrArray *loaders, const char *path, char *label)
{
	struct efi_loader *l = g_new(struct efi_loader, 1);

	*l = (struct efi_loader){.path = g_strdelimit(g_strdup(path), "/", '\\'), .label = label};
	g_ptr_array_add(loaders, l);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In an order that does not depend on the file system. */
static GPtrArray *names_in(const char *path)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && names->len < FILES_MOST && (name = g_dir_read_name(dir)))
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, compare_names);
	return names;
}

static void take_file(struct walk *w, const char *relative, const struct stat *st)
{
	g_autofree char *base = g_path_get_basename(relative);
	g_autofree char *name = g_ascii_strdown(base, -1);

	if (!w->csv && g_strv_contains(csv_names, name))
		w->csv = g_strdup(relative);
	if ((st->st_mode & 0111) && g_strv_contains(loader_names, name))
		g_ptr_array_add(w->loaders, g_strdup(relative));
}

/* NOLINTNEXTLINE(misc-no-recursion): DEPTH bounds it */
static void walk_folder(struct walk *w, const char *folder, const char *relative, unsigned depth)
{
	g_autofree char *path = g_strconcat(folder, relative, NULL);
	g_autoptr(GPtrArray) names = names_in(path);

	for (guint i = 0; i < names->len && w->seen < FILES_MOST; i++) {
		g_autofree char *below = g_strconcat(relative, "/", names->pdata[i], NULL);
		g_autofree char *full = g_strconcat(folder, below, NULL);
		struct stat st;

		w->seen++;
		if (lstat(full, &st) != 0)
			continue;
		if (S_ISREG(st.st_mode))
			take_file(w, below, &st);
		else if (S_ISDIR(st.st_mode) && depth < DEPTH)
			walk_folder(w, folder, below, depth + 1);
	}
}

/* UTF-16, little endian, with or without its mark. */
static char *read_csv(const char *path, GError **error)
{
	g_autofree char *bytes = NULL;
	g_autoptr(GError) reason = NULL;
	g_autoptr(GArray) wide = g_array_new(TRUE, FALSE, sizeof(gunichar2));
	gsize length;

	if (!g_file_get_contents(path, &bytes, &length, &reason)) {
		inox_error_set(error, INOX_ERROR_IO, "%s", reason->message);
		return NULL;
	}
	for (gsize i = 0; i + 2 <= MIN(length, CSV_MOST); i += 2) {
		gunichar2 c = (gunichar2)((guchar)bytes[i] | (guchar)bytes[i + 1] << 8);

		if (i > 0 || c != BOM)
			g_array_append_val(wide, c);
	}
	char *text =
		g_utf16_to_utf8((const gunichar2 *)(void *)wide->data, wide->len, NULL, NULL, NULL);

	if (!text)
		inox_error_set(error, INOX_ERROR_INVALID, "it is no UTF-16");
	return text;
}

static bool is_name(const char *text)
{
	return *text && !strpbrk(text, "/\\") && g_utf8_strlen(text, -1) <= EFI_LABEL_MOST;
}

/* "shimx64.efi,debian,,..." */
static bool take_csv(const char *folder, const char *relative, GPtrArray *loaders, GError **error)
{
	g_autofree char *path = g_strconcat(folder, relative, NULL);
	g_autofree char *beside = g_path_get_dirname(relative);
	g_autofree char *text = read_csv(path, error);

	if (!text)
		return false;
	text[strcspn(text, "\r\n")] = '\0';
	g_auto(GStrv) fields = g_strsplit(text, ",", 3);

	if (g_strv_length(fields) < 2 || !is_name(g_strstrip(fields[0])) ||
	    !is_name(g_strstrip(fields[1])))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "its first line is not a file name, a comma and a label");
	g_autofree char *loader =
		g_strconcat(g_str_equal(beside, "/") ? "" : beside, "/", fields[0], NULL);

	add_loader(loaders, loader, g_strdup(fields[1]));
	return true;
}

GPtrArray *efi_loaders_find(const char *folder, GError **error)
{
	g_autoptr(GPtrArray) loaders = g_ptr_array_new_with_free_func(loader_free);
	g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
	struct walk w = {.loaders = found};

	walk_folder(&w, folder, "", 0);
	g_autofree char *csv = w.csv;

	if (csv && !take_csv(folder, csv, loaders, error)) {
		g_prefix_error(error, "the file %s of the EFI system partition: ", csv);
		return NULL;
	}
	for (guint i = 0; !csv && i < found->len; i++)
		add_loader(loaders, found->pdata[i], g_strdup_printf("ironic%u", i + 1));
	return g_steal_pointer(&loaders);
}
