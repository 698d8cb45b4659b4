#include "image_fixture.h"

#include "errors.h"
#include "label.h"

#define DISK (64ULL * MIB)

static uint8_t *new_head(void)
{
	uint8_t *head = g_malloc0(LABEL_EDGE);

	fixture_gpt(head, 16 * MIB, 512);
	return head;
}

static void test_reads_gpt(void)
{
	g_autofree uint8_t *head = new_head();
	struct label l;

	g_assert_true(label_read(head, DISK, 512, &l, NULL));
	g_assert_true(l.gpt);
	g_assert_cmpuint(l.count, ==, 1);
	g_assert_cmpuint(l.partitions[0].number, ==, 1);
	g_assert_cmpuint(l.partitions[0].start, ==, MIB);
	g_assert_cmpuint(l.partitions[0].length, ==, 14 * MIB);
	g_autofree char *id = label_disk_id(head);
	g_assert_cmpstr(id, ==, "0x12345678");
}

static void refuse(const uint8_t *head, unsigned sector, int code, const char *words)
{
	g_autoptr(GError) error = NULL;
	struct label l;

	g_assert_false(label_read(head, DISK, sector, &l, &error));
	g_assert_error(error, INOX_ERROR, code);
	if (!strstr(error->message, words))
		g_error("'%s' lacks '%s'", error->message, words);
}

static void test_refuses(void)
{
	g_autofree uint8_t *empty = g_malloc0(LABEL_EDGE);
	g_autofree uint8_t *head = new_head();

	refuse(empty, 512, INOX_ERROR_NOT_FOUND, "no partition table");
	head[512 + 56]++;
	refuse(head, 512, INOX_ERROR_INVALID, "check sum of its header");
	head[512 + 56]--;
	head[1024 + 20]++;
	refuse(head, 512, INOX_ERROR_INVALID, "check sum of its entries");
	head[1024 + 20]--;
	refuse(head, 4096, INOX_ERROR_INVALID, "sectors of 512 bytes");
	fixture_put(head + 1024 + 40, 8, DISK / 512);
	fixture_gpt_sums(head, 512);
	refuse(head, 512, INOX_ERROR_INVALID, "the disk has only");
	fixture_put(head + 1024 + 40, 8, 5);
	fixture_gpt_sums(head, 512);
	refuse(head, 512, INOX_ERROR_INVALID, "ends before it begins");
	fixture_put(head + 512 + 80, 4, 0x40000000);
	fixture_gpt_sums(head, 512);
	refuse(head, 512, INOX_ERROR_INVALID, "number or size of entries");
}

/* The backup at the end of the disk must be a mirror of the head. */
static void test_finish(void)
{
	g_autofree uint8_t *head = new_head();
	g_autofree uint8_t *tail = g_malloc0(LABEL_EDGE);
	struct label_partition p;
	struct label l, again;
	uint64_t sectors = DISK / 512;

	g_assert_true(label_read(head, DISK, 512, &l, NULL));
	g_assert_true(label_add_last(&l, head, 8 * MIB, &p, NULL));
	g_assert_cmpuint(p.number, ==, 2);
	g_assert_cmpuint(p.start % MIB, ==, 0);
	g_assert_cmpuint(p.start + p.length, <=, DISK - 33 * 512);
	g_assert_cmpuint(p.start + p.length, >, DISK - 2 * MIB);
	g_assert_true(label_finish(&l, head, tail, NULL));
	g_assert_true(label_read(head, DISK, 512, &again, NULL));
	g_assert_cmpuint(again.count, ==, 2);
	g_assert_cmpuint(again.partitions[1].start, ==, p.start);
	g_assert_cmpuint(again.partitions[1].length, ==, p.length);
	g_assert_cmpmem(tail + LABEL_EDGE - 33 * 512, 128 * 128, head + 1024, 128 * 128);

	const uint8_t *backup = tail + LABEL_EDGE - 512;
	uint8_t field[8];

	g_assert_cmpmem(backup, 8, "EFI PART", 8);
	fixture_put(field, 8, sectors - 1);
	g_assert_cmpmem(backup + 24, 8, field, 8);
	g_assert_cmpmem(head + 512 + 32, 8, field, 8);
	fixture_put(field, 8, 1);
	g_assert_cmpmem(backup + 32, 8, field, 8);
	fixture_put(field, 8, sectors - 33);
	g_assert_cmpmem(backup + 72, 8, field, 8);
}

static void test_no_room(void)
{
	g_autofree uint8_t *head = new_head();
	g_autoptr(GError) error = NULL;
	struct label_partition p;
	struct label l;

	g_assert_true(label_read(head, DISK, 512, &l, NULL));
	g_assert_false(label_add_last(&l, head, 60 * MIB, &p, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_CONFLICT);
	g_assert_nonnull(strstr(error->message, "no room"));
}

static void put_slot(uint8_t *head, unsigned i, uint8_t type, uint32_t start, uint32_t length)
{
	uint8_t *slot = head + 446 + 16 * i;

	slot[4] = type;
	fixture_put(slot + 8, 4, start);
	fixture_put(slot + 12, 4, length);
	head[510] = 0x55;
	head[511] = 0xaa;
}

static void test_mbr(void)
{
	g_autofree uint8_t *head = g_malloc0(LABEL_EDGE);
	g_autofree uint8_t *tail = g_malloc0(LABEL_EDGE);
	g_autoptr(GError) error = NULL;
	struct label_partition p;
	struct label l;

	put_slot(head, 0, 0x83, 2048, 2048);
	put_slot(head, 1, 0x83, 4096, 2048);
	g_assert_true(label_read(head, DISK, 512, &l, NULL));
	g_assert_false(l.gpt);
	g_assert_cmpuint(l.count, ==, 2);
	g_assert_true(label_add_last(&l, head, 8 * MIB, &p, NULL));
	g_assert_cmpuint(p.number, ==, 3);
	g_assert_cmpuint(p.start, ==, DISK - 8 * MIB);
	g_assert_cmpuint(head[446 + 32 + 4], ==, 0x0c);
	g_assert_true(label_finish(&l, head, tail, NULL));
	put_slot(head, 2, 0x83, 6144, 2048);
	put_slot(head, 3, 0x83, 8192, 2048);
	g_assert_true(label_read(head, DISK, 512, &l, NULL));
	g_assert_false(label_add_last(&l, head, MIB, &p, &error));
	g_assert_nonnull(strstr(error->message, "four primary"));
}

static void test_boot_sector_is_no_table(void)
{
	g_autofree uint8_t *head = g_malloc0(LABEL_EDGE);

	memset(head + 446, 0x4d, 64);
	head[510] = 0x55;
	head[511] = 0xaa;
	refuse(head, 512, INOX_ERROR_NOT_FOUND, "no partition table");
}

static void test_file_systems(void)
{
	g_autofree uint8_t *bytes = g_malloc0(LABEL_PROBE);

	g_assert_null(label_probe_filesystem(bytes, LABEL_PROBE));
	memcpy(bytes + 32769, "CD001", 5);
	memcpy(bytes + 32768 + 40, "config-2                        ", 32);
	g_autofree char *iso = label_probe_filesystem(bytes, LABEL_PROBE);
	g_assert_cmpstr(iso, ==, "config-2");
	g_assert_true(label_is_iso(bytes, LABEL_PROBE));
	g_assert_null(label_probe_filesystem(bytes, 32768));
	memset(bytes, 0, LABEL_PROBE);
	bytes[510] = 0x55;
	bytes[511] = 0xaa;
	memcpy(bytes + 54, "FAT16   ", 8);
	memcpy(bytes + 43, "CONFIG-2   ", 11);
	g_autofree char *fat = label_probe_filesystem(bytes, 512);
	g_assert_cmpstr(fat, ==, "CONFIG-2");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/label/a GPT is read", test_reads_gpt);
	g_test_add_func("/label/damaged and foreign tables are refused by name", test_refuses);
	g_test_add_func("/label/the backup moves to the end of the disk, with the new partition",
			test_finish);
	g_test_add_func("/label/no partition is added where the image's lie", test_no_room);
	g_test_add_func("/label/an MBR is read and extended", test_mbr);
	g_test_add_func("/label/the boot sector of a file system is no partition table",
			test_boot_sector_is_no_table);
	g_test_add_func("/label/labels of file systems are found", test_file_systems);
	return g_test_run();
}
