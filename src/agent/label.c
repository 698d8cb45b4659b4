#include "label.h"

#include <openssl/rand.h>
#include <string.h>
#include <zlib.h>

#include "errors.h"

#define GPT_SIGNATURE  "EFI PART"
#define GPT_ENTRY_MIN  128
#define MBR_SLOTS      4
#define MBR_AT         446
#define MBR_SLOT_BYTES 16
#define MBR_FAT32_LBA  0x0c
#define MBR_PROTECTIVE 0xee
/* "2 TiB": MBR entries count 32 bits of sectors. */
#define MBR_SECTORS 0xffffffffULL
#define ALIGNMENT   (1U << 20)

/* Offsets in the GPT header, UEFI specification table 5-5. */
enum {
	GPT_HEADER_SIZE = 12,
	GPT_HEADER_CRC = 16,
	GPT_MY_LBA = 24,
	GPT_ALTERNATE_LBA = 32,
	GPT_FIRST_USABLE = 40,
	GPT_LAST_USABLE = 48,
	GPT_ENTRIES_LBA = 72,
	GPT_ENTRY_COUNT = 80,
	GPT_ENTRY_SIZE = 84,
	GPT_ENTRIES_CRC = 88,
	GPT_HEADER_MIN = 92,
};

/* 0FC63DAF-8483-4772-8E79-3D69D8477DE4, "Linux filesystem", as stored. */
static const uint8_t type_linux[16] = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
				       0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};

static uint64_t get_little(const uint8_t *p, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | p[bytes];
	return value;
}

static void put_little(uint8_t *p, unsigned bytes, uint64_t value)
{
	for (unsigned i = 0; i < bytes; i++, value >>= 8)
		p[i] = (uint8_t)value;
}

static uint32_t crc_of(const uint8_t *bytes, size_t length)
{
	return (uint32_t)crc32(0, bytes, (uInt)length);
}

static uint32_t header_crc(const uint8_t *header, size_t length)
{
	uint8_t copy[512];

	memcpy(copy, header, length);
	put_little(copy + GPT_HEADER_CRC, 4, 0);
	return crc_of(copy, length);
}

static uint64_t total_sectors(const struct label *l)
{
	return l->disk_size / l->sector;
}

/* ---- GPT */

static bool refuse_gpt(GError **error, const char *reason)
{
	return inox_error_set(error, INOX_ERROR_INVALID, "the GPT of the image is invalid: %s",
			      reason);
}

/* False also when there is no header at all; then *error stays unset. */
static bool find_header(const uint8_t *head, unsigned sector, GError **error)
{
	static const unsigned sizes[] = {512, 4096};

	if (memcmp(head + sector, GPT_SIGNATURE, 8) == 0)
		return true;
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		if (sizes[i] != sector && memcmp(head + sizes[i], GPT_SIGNATURE, 8) == 0)
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"the image is made for disks with sectors of %u bytes, "
				"but the sectors of this disk have %u",
				sizes[i], sector);
	return false;
}

static bool take_entry(struct label *l, const uint8_t *entry, unsigned number, GError **error)
{
	static const uint8_t unused[16];
	uint64_t first = get_little(entry + 32, 8), last = get_little(entry + 40, 8);

	if (memcmp(entry, unused, sizeof(unused)) == 0)
		return true;
	if (first > last)
		return refuse_gpt(error, "a partition ends before it begins");
	if (last >= total_sectors(l))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "partition %u of the image ends at sector %" G_GUINT64_FORMAT
				      ", but the disk has only %" G_GUINT64_FORMAT " sectors",
				      number, last, total_sectors(l));
	l->partitions[l->count++] =
		(struct label_partition){number, first * l->sector, (last - first + 1) * l->sector};
	return true;
}

static bool read_gpt(struct label *l, const uint8_t *head, GError **error)
{
	const uint8_t *header = head + l->sector;
	uint64_t size = get_little(header + GPT_HEADER_SIZE, 4);
	uint64_t entries_lba = get_little(header + GPT_ENTRIES_LBA, 8);
	uint64_t count = get_little(header + GPT_ENTRY_COUNT, 4);
	uint64_t entry_size = get_little(header + GPT_ENTRY_SIZE, 4);

	if (size < GPT_HEADER_MIN || size > 512)
		return refuse_gpt(error, "its header has a wrong size");
	if (header_crc(header, size) != get_little(header + GPT_HEADER_CRC, 4))
		return refuse_gpt(error, "the check sum of its header is wrong");
	if (entry_size < GPT_ENTRY_MIN || entry_size > 4096 || entry_size % 8 != 0 || count == 0 ||
	    count > LABEL_PARTITIONS)
		return refuse_gpt(error, "it has a wrong number or size of entries");
	if (entries_lba < 2 || entries_lba > LABEL_EDGE / l->sector ||
	    entries_lba * l->sector + count * entry_size > LABEL_EDGE)
		return refuse_gpt(error, "its entries are not behind its header");
	l->entries_at = entries_lba * l->sector;
	l->entry_size = (unsigned)entry_size;
	l->entry_count = (unsigned)count;
	l->first_usable = get_little(header + GPT_FIRST_USABLE, 8);
	if (l->first_usable > total_sectors(l))
		return refuse_gpt(error, "its first usable sector is outside the disk");
	l->first_usable *= l->sector;
	if (crc_of(head + l->entries_at, count * entry_size) !=
	    get_little(header + GPT_ENTRIES_CRC, 4))
		return refuse_gpt(error, "the check sum of its entries is wrong");
	for (unsigned i = 0; i < l->entry_count; i++)
		if (!take_entry(l, head + l->entries_at + (uint64_t)i * entry_size, i + 1, error))
			return false;
	return true;
}

/* ---- MBR */

static uint8_t *mbr_slot(uint8_t *head, unsigned i)
{
	return head + MBR_AT + i * MBR_SLOT_BYTES;
}

/* A boot sector of a file system ends in 55 AA too: entries that make no sense mean that this is no table. */
static void read_mbr(struct label *l, const uint8_t *head)
{
	for (unsigned i = 0; i < MBR_SLOTS; i++) {
		const uint8_t *slot = head + MBR_AT + i * MBR_SLOT_BYTES;
		uint64_t start = get_little(slot + 8, 4), length = get_little(slot + 12, 4);

		if ((slot[0] & 0x7f) != 0 || start + length > total_sectors(l)) {
			l->count = 0;
			return;
		}
		if (slot[4] != 0 && length > 0)
			l->partitions[l->count++] = (struct label_partition){
				i + 1, start * l->sector, length * l->sector};
	}
}

bool label_read(const uint8_t *head, uint64_t disk_size, unsigned sector, struct label *ret_label,
		GError **error)
{
	struct label l = {.sector = sector, .disk_size = disk_size};
	GError *reason = NULL;

	l.gpt = find_header(head, sector, &reason);
	if (reason) {
		g_propagate_error(error, reason);
		return false;
	}
	if (l.gpt && !read_gpt(&l, head, error))
		return false;
	if (!l.gpt && head[510] == 0x55 && head[511] == 0xaa)
		read_mbr(&l, head);
	if (l.count == 0)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND,
				      "the image holds no partition table with partitions in it");
	*ret_label = l;
	return true;
}

/* ---- changes */

static uint64_t end_of_partitions(const struct label *l)
{
	uint64_t end = l->gpt ? l->first_usable : ALIGNMENT;

	for (unsigned i = 0; i < l->count; i++)
		end = MAX(end, l->partitions[i].start + l->partitions[i].length);
	return end;
}

static uint64_t backup_bytes(const struct label *l)
{
	uint64_t entries = (uint64_t)l->entry_count * l->entry_size;

	return (entries + l->sector - 1) / l->sector * l->sector + l->sector;
}

static bool add_gpt(struct label *l, uint8_t *head, struct label_partition *p, GError **error)
{
	static const uint8_t unused[16];
	uint8_t *entry = head + l->entries_at;
	unsigned i = 0;

	while (i < l->entry_count && memcmp(entry, unused, sizeof(unused)) != 0) {
		entry += l->entry_size;
		i++;
	}
	if (i == l->entry_count)
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "the image's partition table has no free entry");
	memset(entry, 0, l->entry_size);
	memcpy(entry, type_linux, sizeof(type_linux));
	if (RAND_bytes(entry + 16, 16) != 1)
		return inox_error_set(error, INOX_ERROR_IO, "the random source failed");
	entry[16 + 7] = (uint8_t)((entry[16 + 7] & 0x0f) | 0x40); /* RFC 9562, version 4 */
	entry[16 + 8] = (uint8_t)((entry[16 + 8] & 0x3f) | 0x80);
	put_little(entry + 32, 8, p->start / l->sector);
	put_little(entry + 40, 8, (p->start + p->length) / l->sector - 1);
	p->number = i + 1;
	return true;
}

static bool add_mbr(struct label *l, uint8_t *head, struct label_partition *p, GError **error)
{
	/* Not active, no CHS addresses. */
	static const uint8_t fresh[MBR_SLOT_BYTES] = {0,    0xff, 0xff, 0xff, MBR_FAT32_LBA,
						      0xff, 0xff, 0xff};

	for (unsigned i = 0; i < MBR_SLOTS; i++) {
		uint8_t *slot = mbr_slot(head, i);

		if (slot[4] != 0)
			continue;
		memcpy(slot, fresh, MBR_SLOT_BYTES);
		put_little(slot + 8, 4, p->start / l->sector);
		put_little(slot + 12, 4, p->length / l->sector);
		p->number = i + 1;
		return true;
	}
	return inox_error_set(
		error, INOX_ERROR_CONFLICT,
		"the image has four primary partitions, so there is none left for the "
		"config drive");
}

bool label_add_last(struct label *l, uint8_t *head, uint64_t length,
		    struct label_partition *ret_partition, GError **error)
{
	uint64_t end = l->gpt ? l->disk_size - backup_bytes(l)
			      : MIN(l->disk_size, MBR_SECTORS * l->sector);
	uint64_t used = end_of_partitions(l);
	struct label_partition p = {.length = length};

	if (end < length || (end - length) / ALIGNMENT * ALIGNMENT < used)
		return inox_error_set(
			error, INOX_ERROR_CONFLICT,
			"there is no room for a partition of %" G_GUINT64_FORMAT
			" bytes: the image's partitions end at byte %" G_GUINT64_FORMAT
			" of %" G_GUINT64_FORMAT,
			length, used, l->disk_size);
	p.start = (end - length) / ALIGNMENT * ALIGNMENT;
	if (l->count == LABEL_PARTITIONS ||
	    !(l->gpt ? add_gpt(l, head, &p, error) : add_mbr(l, head, &p, error)))
		return false;
	l->partitions[l->count++] = p;
	*ret_partition = p;
	return true;
}

static void finish_header(uint8_t *header, uint64_t mine, uint64_t other, uint64_t entries)
{
	size_t size = (size_t)get_little(header + GPT_HEADER_SIZE, 4);

	put_little(header + GPT_MY_LBA, 8, mine);
	put_little(header + GPT_ALTERNATE_LBA, 8, other);
	put_little(header + GPT_ENTRIES_LBA, 8, entries);
	put_little(header + GPT_HEADER_CRC, 4, header_crc(header, size));
}

bool label_finish(const struct label *l, uint8_t *head, uint8_t *tail, GError **error)
{
	uint64_t last = total_sectors(l) - 1;
	uint64_t backup_entries = last + 1 - backup_bytes(l) / l->sector;
	size_t entries_bytes = (size_t)l->entry_count * l->entry_size;
	uint8_t *header = head + l->sector;

	if (!l->gpt)
		return true;
	if (backup_bytes(l) > LABEL_EDGE || end_of_partitions(l) > backup_entries * l->sector)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the image's last partition reaches into the end of the disk, "
			"where the backup of the GPT belongs");
	put_little(header + GPT_LAST_USABLE, 8, backup_entries - 1);
	put_little(header + GPT_ENTRIES_CRC, 4, crc_of(head + l->entries_at, entries_bytes));
	finish_header(header, 1, last, l->entries_at / l->sector);

	/* The tail ends where the disk ends, also when that is not a whole sector. */
	uint64_t tail_start = l->disk_size - LABEL_EDGE;
	uint8_t *backup = tail + ((backup_entries * l->sector) - tail_start);

	memset(backup, 0, backup_bytes(l));
	memcpy(backup, head + l->entries_at, entries_bytes);
	memcpy(tail + (last * l->sector - tail_start), header, 512);
	finish_header(tail + (last * l->sector - tail_start), last, 1, backup_entries);

	uint8_t *protective = mbr_slot(head, 0);

	if (protective[4] == MBR_PROTECTIVE)
		put_little(protective + 12, 4, MIN(last, MBR_SECTORS));
	return true;
}

/* ---- small readers */

char *label_disk_id(const uint8_t *head)
{
	return g_strdup_printf("0x%08x", (unsigned)get_little(head + 440, 4));
}

bool label_is_iso(const uint8_t *bytes, size_t length)
{
	return length >= 32768 + 2048 && memcmp(bytes + 32769, "CD001", 5) == 0;
}

static char *label_text(const uint8_t *bytes, size_t length)
{
	g_autofree char *text = g_strndup((const char *)bytes, length);

	g_strchomp(text);
	return *text && g_utf8_validate(text, -1, NULL) ? g_steal_pointer(&text) : NULL;
}

char *label_probe_filesystem(const uint8_t *bytes, size_t length)
{
	if (label_is_iso(bytes, length))
		return label_text(bytes + 32768 + 40, 32);
	if (length >= 0x488 && bytes[0x438] == 0x53 && bytes[0x439] == 0xef)
		return label_text(bytes + 0x478, 16);
	if (length < 512 || bytes[510] != 0x55 || bytes[511] != 0xaa)
		return NULL;
	if (memcmp(bytes + 82, "FAT32", 5) == 0)
		return label_text(bytes + 71, 11);
	if (memcmp(bytes + 54, "FAT1", 4) == 0)
		return label_text(bytes + 43, 11);
	return NULL;
}
