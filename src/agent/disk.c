#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"

#define SECTOR 512 /* the unit of sysfs, whatever the disk's own */

static void disk_free(void *p)
{
	struct disk *d = p;

	g_free(d->name);
	g_free(d->path);
	g_free(d->kernel);
	g_free(d->model);
	g_free(d->vendor);
	g_free(d->serial);
	g_free(d->serial_long);
	g_free(d->wwn);
	g_free(d->wwn_with_extension);
	g_free(d->wwn_vendor_extension);
	g_free(d->hctl);
	g_free(d->by_path);
	g_free(d->tran);
	g_free(d);
}

char *disk_read_attribute(const char *folder, const char *name)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	g_autofree char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	g_strstrip(text);
	return *text ? g_steal_pointer(&text) : NULL;
}

static uint64_t read_number(const char *folder, const char *name, uint64_t otherwise)
{
	g_autofree char *text = disk_read_attribute(folder, name);
	guint64 value;

	if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64 / SECTOR, &value, NULL))
		return otherwise;
	return value;
}

static bool has_entry_with_prefix(const char *folder, const char *name, const char *prefix)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir)))
		if (g_str_has_prefix(entry, prefix))
			return true;
	return false;
}

static bool is_multipath(const char *sysfs)
{
	g_autofree char *uuid = disk_read_attribute(sysfs, "dm/uuid");

	return uuid && g_str_has_prefix(uuid, "mpath-");
}

/* Multipath members are reached through the map above them. */
static bool is_multipath_member(const char *root, const char *sysfs)
{
	g_autofree char *path = g_build_filename(sysfs, "holders", NULL);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir))) {
		g_autofree char *holder = g_build_filename(root, "sys/block", entry, NULL);

		if (is_multipath(holder))
			return true;
	}
	return false;
}

static bool is_left_out(const char *root, const char *kernel, const char *sysfs)
{
	static const char *const prefixes[] = {"fd", "ram", "zram", "sr"};

	for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++)
		if (g_str_has_prefix(kernel, prefixes[i]))
			return true;
	if (g_str_has_prefix(kernel, "loop"))
		return g_str_equal(root, "/");
	if (g_str_has_prefix(kernel, "dm-"))
		return !is_multipath(sysfs);
	if (read_number(sysfs, "hidden", 0) != 0)
		return true;
	return has_entry_with_prefix(sysfs, "holders", "dm-") && is_multipath_member(root, sysfs);
}

/* NULL if it is none of the disks that are listed. */
static struct disk *read_disk(const char *root, const char *kernel)
{
	g_autofree char *link = g_build_filename(root, "sys/block", kernel, NULL);
	g_autofree char *resolved = realpath(link, NULL);
	uint64_t size = resolved ? read_number(resolved, "size", 0) * SECTOR : 0;

	if (size == 0 || is_left_out(root, kernel, resolved))
		return NULL;

	struct disk *d = g_new0(struct disk, 1);

	d->kernel = g_strdup(kernel);
	/* A '/' in a kernel name is written as '!' in sysfs. */
	g_autofree char *plain = g_strdelimit(g_strdup(kernel), "!", '/');

	d->name = g_strconcat("/dev/", plain, NULL);
	d->path = g_build_filename(root, "dev", plain, NULL);
	d->size = size;
	d->logical_sector = (unsigned)read_number(resolved, "queue/logical_block_size", SECTOR);
	d->physical_sector = (unsigned)read_number(resolved, "queue/physical_block_size", SECTOR);
	d->rotational = read_number(resolved, "queue/rotational", 0) != 0;
	d->read_only = read_number(resolved, "ro", 0) != 0;
	d->removable = read_number(resolved, "removable", 0) != 0;
	disk_identify(d, root, resolved);
	return d;
}

/* sda < sdb < sdaa; nvme2n1 < nvme10n1: shorter names of a family first. */
static int compare_names(const void *a, const void *b)
{
	const struct disk *x = *(struct disk *const *)a, *y = *(struct disk *const *)b;

	size_t n = strlen(x->kernel), m = strlen(y->kernel);

	if (strncmp(x->kernel, y->kernel, 2) == 0 && n != m)
		return n < m ? -1 : 1;
	return strcmp(x->kernel, y->kernel);
}

GPtrArray *disk_list(const char *root, GError **error)
{
	g_autofree char *path = g_build_filename(root, "sys/block", NULL);
	g_autoptr(GPtrArray) disks = g_ptr_array_new_with_free_func(disk_free);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *kernel;

	if (!dir) {
		inox_error_set_errno(error, errno, "list the disks in '%s'", path);
		return NULL;
	}
	while ((kernel = g_dir_read_name(dir))) {
		struct disk *d = read_disk(root, kernel);

		if (d)
			g_ptr_array_add(disks, d);
	}
	g_ptr_array_sort(disks, compare_names);
	return g_steal_pointer(&disks);
}

json_t *disk_json(const struct disk *d)
{
	return json_pack(
		"{s:s, s:s?, s:I, s:b, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:i, s:i, "
		"s:s?}",
		"name", d->name, "model", d->model, "size", (json_int_t)d->size, "rotational",
		d->rotational, "wwn", d->wwn, "serial", d->serial, "vendor", d->vendor,
		"wwn_with_extension", d->wwn_with_extension, "wwn_vendor_extension",
		d->wwn_vendor_extension, "hctl", d->hctl, "by_path", d->by_path, "logical_sectors",
		(int)d->logical_sector, "physical_sectors", (int)d->physical_sector, "tran",
		d->tran);
}

char *disk_list_text(const GPtrArray *disks)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < disks->len; i++) {
		const struct disk *d = disks->pdata[i];
		g_autofree char *size = g_format_size(d->size);
		/* g_format_size() puts a no-break space before the unit. */
		g_auto(GStrv) words = g_strsplit(size, "\u00a0", 2);
		g_autofree char *spaced = g_strjoinv(" ", words);

		g_string_append_printf(text, "%s%s (%s%s)", i > 0 ? ", " : "", d->name, spaced,
				       d->read_only ? ", read-only" : "");
	}
	if (disks->len == 0)
		g_string_append(text, "none");
	return g_string_free(text, FALSE);
}

void disk_flush_all(const char *root)
{
	g_autoptr(GPtrArray) disks = disk_list(root, NULL);

	sync();
	for (unsigned i = 0; disks && i < disks->len; i++) {
		const struct disk *d = disks->pdata[i];
		int fd = open(d->path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		fsync(fd);
		close(fd);
	}
}
