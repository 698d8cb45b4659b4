/* disk_identity.c: serial numbers, world wide names and paths of a disk, as udev's rules and lsblk would
 * name them, from sysfs alone; udev's own database wins where it exists.
 */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAA_DIGITS 16 /* hex digits of a 64-bit world wide name */

static void replace_text(char **text, char *with)
{
	if (!with)
		return;
	g_free(*text);
	*text = with;
}

/* Name at the end of a symbolic link; NULL if it is none. */
static char *read_link_name(const char *folder, const char *name)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	g_autofree char *target = g_file_read_link(path, NULL);

	return target ? g_path_get_basename(target) : NULL;
}

static char *read_first_entry(const char *folder, const char *name)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);

	return dir ? g_strdup(g_dir_read_name(dir)) : NULL;
}

/* SCSI Primary Commands, "Unit Serial Number VPD page": 4 bytes of head, then text. */
static char *read_vpd_serial(const char *sysfs)
{
	g_autofree char *path = g_build_filename(sysfs, "device/vpd_pg80", NULL);
	g_autofree char *page = NULL;
	gsize length;

	if (!g_file_get_contents(path, &page, &length, NULL) || length < 4)
		return NULL;

	size_t size = (size_t)((uint8_t)page[2] << 8 | (uint8_t)page[3]);
	g_autofree char *text = g_strndup(page + 4, MIN(size, length - 4));

	g_strstrip(text);
	return *text && g_str_is_ascii(text) ? g_steal_pointer(&text) : NULL;
}

/* "naa.600508b1001c16b4..." of SCSI; "eui...." or "nvme...." of NVMe. */
static void read_wwn(struct disk *d, const char *sysfs)
{
	g_autofree char *scsi = disk_read_attribute(sysfs, "device/wwid");
	char *nvme = disk_read_attribute(sysfs, "wwid");

	if (nvme) {
		d->wwn = nvme;
		return;
	}
	if (!scsi || !g_str_has_prefix(scsi, "naa.") || strlen(scsi) < 4 + NAA_DIGITS)
		return;
	const char *digits = scsi + 4;

	d->wwn = g_strdup_printf("0x%.*s", NAA_DIGITS, digits);
	d->wwn_with_extension = g_strdup_printf("0x%s", digits);
	if (strlen(digits) > NAA_DIGITS)
		d->wwn_vendor_extension = g_strdup_printf("0x%s", digits + NAA_DIGITS);
}

static char *find_tran(const char *sysfs)
{
	static const struct {
		const char *part, *tran;
	} table[] = {
		{"/usb", "usb"},       {"/ata", "sata"},      {"/end_device-", "sas"},
		{"/rport-", "fc"},     {"/session", "iscsi"}, {"/nvme", "nvme"},
		{"/virtio", "virtio"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (strstr(sysfs, table[i].part))
			return g_strdup(table[i].tran);
	return NULL;
}

/* ---- by-path names: what udev's path_id builds, for the buses that disks sit on */

static bool is_scsi_address(const char *name, unsigned part[static 4])
{
	char end;

	return sscanf(name, "%u:%u:%u:%u%c", &part[0], &part[1], &part[2], &part[3], &end) == 4;
}

/* Hosts of one adapter are numbered as they were found in this boot: count from the adapter's first. */
static unsigned first_host(const char *adapter, unsigned host)
{
	g_autoptr(GDir) dir = g_dir_open(adapter, 0, NULL);
	const char *entry;
	unsigned number, first = host;

	while (dir && (entry = g_dir_read_name(dir)))
		if (sscanf(entry, "host%u", &number) == 1 && number < first)
			first = number;
	return first;
}

/* .../0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0 gives "ata-1.0", parallel SCSI gives "scsi-0:0:0:0". */
static char *scsi_part(const char *folder, const unsigned part[static 4])
{
	g_autofree char *target = g_path_get_dirname(folder);
	g_autofree char *host = g_path_get_dirname(target);
	g_autofree char *adapter = g_path_get_dirname(host);
	g_autofree char *name = g_path_get_basename(adapter);

	if (g_str_has_prefix(name, "ata")) {
		g_autofree char *attribute = g_strdup_printf("ata_port/%s/port_no", name);
		g_autofree char *port = disk_read_attribute(adapter, attribute);

		return g_strdup_printf("ata-%s.%u", port ? port : name + 3, part[2]);
	}
	if (strstr(folder, "/rport-") || strstr(folder, "/end_device-") ||
	    strstr(folder, "/session"))
		return NULL;
	return g_strdup_printf("scsi-%u:%u:%u:%u", part[0] - first_host(adapter, part[0]), part[1],
			       part[2], part[3]);
}

/* The part that one folder on the way from the disk up to its adapter adds; NULL for none. */
static char *path_part(const char *sysfs, const char *folder)
{
	g_autofree char *subsystem = read_link_name(folder, "subsystem");
	g_autofree char *name = g_path_get_basename(folder);
	unsigned part[4];

	if (!subsystem)
		return NULL;
	if (g_str_equal(subsystem, "scsi") && is_scsi_address(name, part))
		return scsi_part(folder, part);
	if (g_str_equal(subsystem, "usb") && strchr(name, ':') && strchr(name, '-'))
		return g_strdup_printf("usb-0:%s", strchr(name, '-') + 1);
	if (g_str_equal(subsystem, "nvme")) {
		g_autofree char *id = disk_read_attribute(sysfs, "nsid");

		return id ? g_strdup_printf("nvme-%s", id) : NULL;
	}
	return g_str_equal(subsystem, "pci") ? g_strdup_printf("pci-%s", name) : NULL;
}

static char *make_by_path(const char *sysfs)
{
	g_autofree char *folder = g_path_get_dirname(sysfs);
	g_autofree char *text = NULL;

	if (strstr(sysfs, "/rport-") || strstr(sysfs, "/end_device-") || strstr(sysfs, "/session"))
		return NULL; /* names of these buses hold fabric addresses: only udev knows */
	while (strstr(folder, "/devices/")) {
		g_autofree char *part = path_part(sysfs, folder);
		char *up = g_path_get_dirname(folder);

		if (part)
			replace_text(&text,
				     text ? g_strdup_printf("%s-%s", part, text) : g_strdup(part));
		g_free(folder);
		folder = up;
		if (part && g_str_has_prefix(part, "pci-"))
			return g_strconcat("/dev/disk/by-path/", text, NULL);
	}
	return NULL;
}

/* A link in dev/disk/by-path that somebody made. */
static char *find_by_path(const char *root, const char *path)
{
	g_autofree char *folder = g_build_filename(root, "dev/disk/by-path", NULL);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	g_autofree char *wanted = dir ? realpath(path, NULL) : NULL;
	const char *entry;

	while (wanted && (entry = g_dir_read_name(dir))) {
		g_autofree char *link = g_build_filename(folder, entry, NULL);
		g_autofree char *resolved = realpath(link, NULL);

		if (g_strcmp0(resolved, wanted) == 0)
			return g_strconcat("/dev/disk/by-path/", entry, NULL);
	}
	return NULL;
}

/* ---- udev's database */

static void take_udev_property(struct disk *d, const char *key, const char *value)
{
	const struct {
		const char *key;
		char **text;
	} table[] = {
		{"ID_SERIAL_SHORT", &d->serial},
		{"ID_SCSI_SERIAL", &d->serial},
		{"ID_SERIAL", &d->serial_long},
		{"ID_WWN", &d->wwn},
		{"ID_WWN_WITH_EXTENSION", &d->wwn_with_extension},
		{"ID_WWN_VENDOR_EXTENSION", &d->wwn_vendor_extension},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (g_str_equal(table[i].key, key) && *value)
			replace_text(table[i].text, g_strdup(value));
}

static void read_udev(struct disk *d, const char *root, const char *sysfs)
{
	g_autofree char *number = disk_read_attribute(sysfs, "dev");
	g_autofree char *name = number ? g_strconcat("b", number, NULL) : NULL;
	g_autofree char *path = name ? g_build_filename(root, "run/udev/data", name, NULL) : NULL;
	g_autofree char *text = NULL;

	if (!path || !g_file_get_contents(path, &text, NULL, NULL))
		return;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		char *equals = strchr(*line, '=');

		if (g_str_has_prefix(*line, "S:disk/by-path/"))
			replace_text(&d->by_path, g_strconcat("/dev/", *line + 2, NULL));
		if (!g_str_has_prefix(*line, "E:") || !equals)
			continue;
		*equals = '\0';
		take_udev_property(d, *line + 2, equals + 1);
	}
	if (!d->serial)
		d->serial = g_strdup(d->serial_long);
}

void disk_identify(struct disk *d, const char *root, const char *sysfs)
{
	d->model = disk_read_attribute(sysfs, "device/model");
	d->vendor = disk_read_attribute(sysfs, "device/vendor");
	d->hctl = read_first_entry(sysfs, "device/scsi_device");
	d->serial = read_vpd_serial(sysfs);
	if (!d->serial)
		d->serial = disk_read_attribute(sysfs, "serial");
	if (!d->serial)
		d->serial = disk_read_attribute(sysfs, "device/serial");
	read_wwn(d, sysfs);
	d->tran = find_tran(sysfs);
	d->by_path = find_by_path(root, d->path);
	if (!d->by_path)
		d->by_path = make_by_path(sysfs);
	read_udev(d, root, sysfs);
}
