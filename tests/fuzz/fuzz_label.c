/* The start of an image: partition table and file system labels.  First byte: sector size and whether the
 * check sums are made right, so that the fields behind them are reached. */
#include <string.h>
#include <zlib.h>

#include "image_format.h"
#include "label.h"

#define DISK (64ULL << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void put_crc(uint8_t *p, uLong crc)
{
	for (unsigned i = 0; i < 4; i++, crc >>= 8)
		p[i] = (uint8_t)crc;
}

static void make_sums(uint8_t *head, unsigned sector)
{
	uint8_t *h = head + sector;

	memcpy(h, "EFI PART", 8);
	put_crc(h + 12, 92);
	put_crc(h + 88, crc32(0, head + 2 * sector, 128 * 128));
	put_crc(h + 16, 0);
	put_crc(h + 16, crc32(0, h, 92));
}

static void check(const struct label *l)
{
	g_assert_true(l->count > 0 && l->count <= LABEL_PARTITIONS);
	for (unsigned i = 0; i < l->count; i++) {
		g_assert_true(l->partitions[i].start <= DISK);
		g_assert_true(l->partitions[i].length <= DISK - l->partitions[i].start);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	static uint8_t head[LABEL_EDGE], tail[LABEL_EDGE];
	struct label_partition p;
	struct label l;

	if (length < 2)
		return 0;
	unsigned sector = data[0] & 1 ? 4096 : 512;

	memset(head, 0, sizeof(head));
	memcpy(head, data + 1, MIN(length - 1, sizeof(head)));
	if (data[0] & 2)
		make_sums(head, sector);
	g_free(label_probe_filesystem(data, length));
	image_format_detect(data, length);
	if (!label_read(head, DISK, sector, &l, NULL))
		return 0;
	check(&l);
	if (label_add_last(&l, head, 8 << 20, &p, NULL))
		check(&l);
	if (label_finish(&l, head, tail, NULL)) {
		struct label again;

		g_assert_true(label_read(head, DISK, sector, &again, NULL));
		g_assert_cmpuint(again.count, ==, l.count);
	}
	return 0;
}
