#include "virtual_media.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_options.h"
#include "disk.h"
#include "errors.h"
#include "label.h"
#include "secret.h"

#define MOUNT_POINT   "run/inox/media"
#define FILE_MOST     (64 * 1024)
#define FILES_MOST    64
#define USB_DISK_MOST ((4ULL << 30) / 512) /* sectors */
#define TRIES         5
#define PAUSE_US      1000000

/* ---- devices */

static bool is_usb_disk(const char *folder)
{
	g_autofree char *there = realpath(folder, NULL);
	g_autofree char *size = disk_read_attribute(folder, "size");
	guint64 sectors;

	return there && strstr(there, "/usb") && size &&
	       g_ascii_string_to_unsigned(size, 10, 1, USB_DISK_MOST - 1, &sectors, NULL);
}

GPtrArray *virtual_media_devices(const char *root)
{
	GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *sysfs = g_build_filename(root, "sys/block", NULL);
	g_autoptr(GDir) dir = g_dir_open(sysfs, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir))) {
		g_autofree char *folder = g_build_filename(sysfs, entry, NULL);

		if (g_str_has_prefix(entry, "sr") || is_usb_disk(folder))
			g_ptr_array_add(paths, g_build_filename(root, "dev", entry, NULL));
	}
	return paths;
}

/* The label of its file system, or NULL. */
static char *label_of(const char *path)
{
	g_autofree uint8_t *bytes = g_malloc0(LABEL_PROBE);
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd >= 0 ? pread(fd, bytes, LABEL_PROBE, 0) : -1;

	if (fd >= 0)
		close(fd);
	return n > 0 ? label_probe_filesystem(bytes, (size_t)n) : NULL;
}

static bool has_model(const char *root, const char *path)
{
	g_autofree char *name = g_path_get_basename(path);
	g_autofree char *folder = g_build_filename(root, "sys/block", name, "device", NULL);
	g_autofree char *model = disk_read_attribute(folder, "model");
	g_autofree char *lower = model ? g_ascii_strdown(model, -1) : NULL;

	return lower && strstr(lower, "virtual media");
}

/* Borrowed from `paths`; NULL if none has one of the labels. */
static const char *find_label(const GPtrArray *paths, const char *const *labels)
{
	for (guint i = 0; i < paths->len; i++) {
		g_autofree char *label = label_of(paths->pdata[i]);

		for (const char *const *wanted = labels; label && *wanted; wanted++)
			if (g_ascii_strcasecmp(label, *wanted) == 0)
				return paths->pdata[i];
	}
	return NULL;
}

static const char *find_floppy(const char *root, const GPtrArray *paths)
{
	static const char *const labels[] = {"ir-vfd-dev", NULL};
	const char *found = find_label(paths, labels);

	for (guint i = 0; !found && i < paths->len; i++) {
		/* also the name of drives without a medium, and of those with the CD */
		g_autofree char *label = label_of(paths->pdata[i]);

		if (label && has_model(root, paths->pdata[i]))
			found = paths->pdata[i];
	}
	return found;
}

/* ---- files */

static bool read_text(const char *path, char **ret_text, GError **error)
{
	g_autoptr(GError) reason = NULL;
	g_autofree char *text = NULL;
	gsize length;

	if (!g_file_get_contents(path, &text, &length, &reason))
		return inox_error_set(error, INOX_ERROR_IO, "%s", reason->message);
	if (length > FILE_MOST || strlen(text) != length) {
		secret_wipe_text(g_steal_pointer(&text));
		return inox_error_set(error, INOX_ERROR_LIMIT, "%s is no text of at most %d bytes",
				      path, FILE_MOST);
	}
	*ret_text = g_steal_pointer(&text);
	return true;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static GPtrArray *names_in(const char *folder)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *entry;

	while (dir && names->len < FILES_MOST && (entry = g_dir_read_name(dir)))
		g_ptr_array_add(names, g_strdup(entry));
	g_ptr_array_sort(names, compare_names);
	return names;
}

GPtrArray *virtual_media_files(const char *folder, GPtrArray *ret_names, GError **error)
{
	g_autoptr(GPtrArray) texts =
		g_ptr_array_new_with_free_func((GDestroyNotify)secret_wipe_text);
	g_autoptr(GPtrArray) names = names_in(folder);

	for (guint i = 0; i < names->len; i++) {
		g_autofree char *path = g_build_filename(folder, names->pdata[i], NULL);
		char *text;

		if (!g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
			inox_error_set(error, INOX_ERROR_INVALID, "%s is no plain file", path);
			return NULL;
		}
		if (!read_text(path, &text, error))
			return NULL;
		g_ptr_array_add(texts, text);
		if (ret_names)
			g_ptr_array_add(ret_names, g_strdup(names->pdata[i]));
	}
	return g_steal_pointer(&texts);
}

/* Certificates, which the configuration files name by their path. */
static bool copy_files(const char *root, const char *mounted, GError **error)
{
	g_autofree char *from = g_build_filename(mounted, "etc/ironic-python-agent", NULL);
	g_autofree char *to = g_build_filename(root, "etc/ironic-python-agent", NULL);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) texts = virtual_media_files(from, names, error);

	if (texts && texts->len > 0)
		(void)g_mkdir_with_parents(to, 0700);
	for (guint i = 0; texts && i < texts->len; i++) {
		g_autofree char *path = g_build_filename(to, names->pdata[i], NULL);
		g_autoptr(GError) reason = NULL;

		if (!g_file_set_contents_full(path, texts->pdata[i], -1,
					      G_FILE_SET_CONTENTS_CONSISTENT, 0600, &reason))
			return inox_error_set(error, INOX_ERROR_IO, "%s", reason->message);
	}
	return texts != NULL;
}

/* ---- mounted */

static GPtrArray *take_configuration(const char *root, const char *mounted, GError **error)
{
	g_autofree char *folder = g_build_filename(mounted, "etc/ironic-python-agent.d", NULL);

	return copy_files(root, mounted, error) ? virtual_media_files(folder, NULL, error) : NULL;
}

static bool take_parameters(const char *mounted, GHashTable *words, GError **error)
{
	g_autofree char *path = g_build_filename(mounted, "parameters.txt", NULL);
	char *text, *name, *value;
	GHashTableIter i;

	if (!g_file_test(path, G_FILE_TEST_EXISTS))
		return true;
	if (!read_text(path, &text, error))
		return false;
	g_autoptr(GHashTable) read = agent_options_split(text);

	secret_wipe_text(text);
	g_hash_table_iter_init(&i, read);
	while (g_hash_table_iter_next(&i, (gpointer *)&name, (gpointer *)&value))
		g_hash_table_insert(words, g_strdup(name), g_strdup(value));
	return true;
}

/* The place it is mounted at, which the caller gives to leave(). */
static char *enter(const char *root, const char *path, GError **error)
{
	static const char *const kinds[] = {"iso9660", "vfat"};
	g_autofree char *folder = g_build_filename(root, MOUNT_POINT, NULL);

	(void)g_mkdir_with_parents(folder, 0700);
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (mount(path, folder, kinds[i], MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  NULL) == 0)
			return g_steal_pointer(&folder);
	inox_error_set_errno(error, errno, "mount the virtual media %s", path);
	return NULL;
}

static void leave(char *folder)
{
	(void)umount2(folder, MNT_DETACH);
	g_free(folder);
}

static bool read_floppy(const char *root, const char *path, GHashTable *words, GError **error)
{
	char *folder = enter(root, path, error);
	bool good = folder && take_parameters(folder, words, error);

	if (folder)
		leave(folder);
	return good;
}

static GPtrArray *read_cd(const char *root, const char *path, GError **error)
{
	char *folder = enter(root, path, error);
	GPtrArray *texts = folder ? take_configuration(root, folder, error) : NULL;

	if (folder)
		leave(folder);
	return texts;
}

GPtrArray *virtual_media_read(const char *root, GHashTable *words, GError **error)
{
	static const char *const labels[] = {"config-2", "VMEDIA_BOOT_ISO", NULL};
	unsigned tries = g_str_equal(root, "/") ? TRIES : 1;
	const char *cd = NULL, *floppy = NULL;
	g_autoptr(GPtrArray) paths = NULL;

	if (g_strcmp0(g_hash_table_lookup(words, "boot_method"), "vmedia") != 0)
		return g_ptr_array_new();
	/* A drive of a BMC may take a moment until it is there. */
	for (; tries > 0 && !cd && !floppy; tries--) {
		if (paths)
			g_usleep(PAUSE_US);
		g_clear_pointer(&paths, g_ptr_array_unref);
		paths = virtual_media_devices(root);
		floppy = find_floppy(root, paths);
		cd = find_label(paths, labels);
	}
	if (floppy && !read_floppy(root, floppy, words, error))
		return NULL;
	return cd ? read_cd(root, cd, error) : g_ptr_array_new();
}
