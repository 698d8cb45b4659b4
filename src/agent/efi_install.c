#include "efi_install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "efi_loaders.h"
#include "errors.h"
#include "label.h"
#include "log.h"

#define VARIABLES    "sys/firmware/efi/efivars"
#define MOUNT_POINT  "run/inox/esp"
#define GPT_TYPE     0 /* offsets in an entry */
#define GPT_UNIQUE   16
#define GPT_ID       16 /* bytes */
#define MBR_ID       440
#define MBR_TABLE    446
#define MBR_ENTRY    16
#define MBR_TYPE     4
#define MBR_TYPE_ESP 0xef
#define MBR_PRIMARY  4

/* C12A7328-F81F-11D2-BA4B-00A0C93EC93B, "EFI System Partition", as stored */
static const uint8_t type_esp[GPT_ID] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
					 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

bool efi_install_is_possible(const char *root)
{
	g_autofree char *vars = g_build_filename(root, VARIABLES, NULL);
	g_autoptr(GDir) dir = g_dir_open(vars, 0, NULL);

	/* the folder is there without the file system, too */
	return dir && g_dir_read_name(dir);
}

/* ---- the partition */

static bool take_gpt(const uint8_t *head, const struct label *l, unsigned number,
		     struct efi_partition *p)
{
	uint64_t at = l->entries_at + (uint64_t)(number - 1) * l->entry_size;

	if (at + GPT_UNIQUE + GPT_ID > LABEL_EDGE ||
	    memcmp(head + at + GPT_TYPE, type_esp, GPT_ID) != 0)
		return false;
	memcpy(p->signature, head + at + GPT_UNIQUE, GPT_ID);
	return true;
}

static bool take_mbr(const uint8_t *head, unsigned number, struct efi_partition *p)
{
	size_t at = MBR_TABLE + (size_t)(number - 1) * MBR_ENTRY;

	if (number > MBR_PRIMARY || head[at + MBR_TYPE] != MBR_TYPE_ESP)
		return false;
	memcpy(p->signature, head + MBR_ID, 4);
	return true;
}

bool efi_install_find(const uint8_t *head, const struct disk *d,
		      struct efi_partition *ret_partition, GError **error)
{
	g_autofree struct label *l = g_new0(struct label, 1);

	if (!label_read(head, d->size, d->logical_sector, l, error))
		return false;
	for (unsigned i = 0; i < l->count; i++) {
		const struct label_partition *listed = &l->partitions[i];
		struct efi_partition p = {
			.number = listed->number,
			.start = listed->start / l->sector,
			.length = listed->length / l->sector,
			.gpt = l->gpt,
		};

		if (l->gpt ? !take_gpt(head, l, p.number, &p) : !take_mbr(head, p.number, &p))
			continue;
		*ret_partition = p;
		return true;
	}
	return inox_error_set(error, INOX_ERROR_NOT_FOUND,
			      "the disk %s has no EFI system partition", d->name);
}

static bool find_partition(const struct disk *d, struct efi_partition *ret_partition,
			   GError **error)
{
	g_autofree uint8_t *head = g_malloc0(LABEL_EDGE);
	int fd = open(d->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? pread(fd, head, LABEL_EDGE, 0) : -1;
	int number = n < 0 ? errno : EIO;

	if (fd >= 0)
		close(fd);
	if (n != LABEL_EDGE)
		return inox_error_set_errno(error, number, "read the table of %s", d->name);
	return efi_install_find(head, d, ret_partition, error);
}

/* "/dev/sda1", "/dev/nvme0n1p1"; the caller frees it. */
static char *node_of(const char *root, const struct disk *d, unsigned number)
{
	g_autofree char *sysfs = g_build_filename(root, "sys/block", d->kernel, NULL);
	g_autoptr(GDir) dir = g_dir_open(sysfs, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir))) {
		g_autofree char *folder = g_build_filename(sysfs, entry, NULL);
		g_autofree char *text = disk_read_attribute(folder, "partition");

		if (text && strtoul(text, NULL, 10) == number)
			return g_build_filename(root, "dev", entry, NULL);
	}
	return NULL;
}

/* ---- its loaders */

static GPtrArray *look_into(const char *root, const char *node, GError **error)
{
	g_autofree char *folder = g_build_filename(root, MOUNT_POINT, NULL);

	(void)g_mkdir_with_parents(folder, 0700);
	if (mount(node, folder, "vfat", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
		inox_error_set_errno(error, errno, "mount the EFI system partition %s", node);
		return NULL;
	}
	GPtrArray *loaders = efi_loaders_find(folder, error);

	(void)umount2(folder, MNT_DETACH);
	return loaders;
}

static bool install_one(const char *root, const struct efi_partition *p, const struct efi_loader *l,
			GError **error)
{
	g_autofree char *vars = g_build_filename(root, VARIABLES, NULL);
	g_autoptr(GByteArray) entry = efi_entry_make(p, l->path, l->label, error);

	if (!entry || !efi_boot_install(vars, l->label, entry, error))
		return false;
	log_notice(NULL, "boot entry made", F_STR("label", l->label), F_STR("loader", l->path));
	return true;
}

bool efi_install_entries(const char *root, const struct disk *d, unsigned *ret_count,
			 GError **error)
{
	struct efi_partition p;

	if (!find_partition(d, &p, error))
		return false;
	g_autofree char *node = node_of(root, d, p.number);

	if (!node)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND,
				      "the kernel does not show partition %u of %s", p.number,
				      d->name);
	g_autoptr(GPtrArray) loaders = look_into(root, node, error);

	for (guint i = 0; loaders && i < loaders->len; i++)
		if (!install_one(root, &p, loaders->pdata[i], error))
			return false;
	if (loaders)
		*ret_count = loaders->len;
	return loaders != NULL;
}
