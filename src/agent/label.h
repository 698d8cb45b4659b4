/* label.h: partition tables, GPT (UEFI specification 2.10, chapter 5) and MBR, read and changed in memory:
 * the first LABEL_EDGE bytes of a disk and the last ones.  Nothing here does I/O.
 *
 * Own code and not libfdisk: the agent changes the table before it is on the disk (the head is written last),
 * which libfdisk cannot do, and it saves the ramdisk a library.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define LABEL_EDGE       (1U << 20)
#define LABEL_PARTITIONS 256 /* most entries that are looked at */

struct label_partition {
	unsigned number;
	uint64_t start, length; /* bytes */
};

struct label {
	bool gpt;
	unsigned sector; /* logical sector of the disk, bytes */
	uint64_t disk_size;
	unsigned count;
	struct label_partition partitions[LABEL_PARTITIONS];
	uint64_t entries_at; /* GPT: where the entries begin in the head */
	unsigned entry_size, entry_count;
	uint64_t first_usable; /* GPT: byte */
};

/* Reads the table in the first LABEL_EDGE bytes of a disk.  Errors: NOT_FOUND (no table or no partition in
 * it), INVALID (wrong check sum, wrong sector size, outside the disk), with a sentence. */
bool label_read(const uint8_t *head, uint64_t disk_size, unsigned sector, struct label *ret_label,
		GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Adds a partition of `length` bytes at the end of the disk: GPT type "Linux filesystem" with a random
 * identifier, MBR type 0x0c.  Changes `head`; the check sums are label_finish()'s.  Errors: CONFLICT (no
 * room there, no free entry). */
bool label_add_last(struct label *l, uint8_t *head, uint64_t length,
		    struct label_partition *ret_partition,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* GPT: moves the backup to the end of the disk, with new check sums in `head` and the backup's bytes in
 * `tail`, the last LABEL_EDGE bytes of the disk.  MBR: nothing.  Error: INVALID (a partition lies where
 * the backup belongs). */
bool label_finish(const struct label *l, uint8_t *head, uint8_t *tail,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* "0x8f2a11c3": the disk signature of the MBR. */
char *label_disk_id(const uint8_t *head);
/* "config-2", "rootfs", ...: the label of an ISO 9660, FAT or ext file system, from its first
 * LABEL_PROBE bytes; NULL if there is none.  The caller frees it. */
#define LABEL_PROBE (64 * 1024)
char *label_probe_filesystem(const uint8_t *bytes, size_t length);
bool label_is_iso(const uint8_t *bytes, size_t length);
