/* disk.h: the machine's disks as the agent protocol lists them (section "Hardware inventory", key
 * `disks`), read from sysfs and, where there is one, the udev database.  No udev daemon is needed.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct disk {
	char *name;   /* "/dev/sda": what is shown, whatever the root */
	char *path;   /* what is opened: below the root */
	char *kernel; /* "sda" */
	uint64_t size;
	unsigned logical_sector, physical_sector; /* bytes */
	bool rotational, read_only, removable;
	/* Texts below are NULL when unknown. */
	char *model, *vendor, *serial, *wwn, *wwn_with_extension, *wwn_vendor_extension;
	char *serial_long; /* udev's ID_SERIAL, with the model in front */
	char *hctl, *by_path, *tran;
};

/* Elements are struct disk, sorted by name (sda, sdb, ..., sdaa).  Left out: floppies, RAM, zram and optical
 * drives, empty drives, device-mapper other than multipath and the paths below it; loop devices too unless
 * `root` is not "/".  Errors: IO, NOT_FOUND (no sys/block). */
GPtrArray *disk_list(const char *root, GError **error);

/* One element of the inventory's `disks`.  New reference. */
json_t *disk_json(const struct disk *d);
/* "/dev/sda (479.6 GB), /dev/sdb (4.0 TB)", or "none"; for sentences.  The caller frees it. */
char *disk_list_text(const GPtrArray *disks);

/* Writes everything that is still in memory to all disks: before power off. */
void disk_flush_all(const char *root);

/* ---- for disk.c and disk_identity.c */

/* Fills the texts of a disk.  `sysfs` is the disk's resolved sysfs folder. */
void disk_identify(struct disk *d, const char *root, const char *sysfs);
/* First line of a file, stripped; NULL if there is none or it is empty.  The caller frees it. */
char *disk_read_attribute(const char *folder, const char *name);
