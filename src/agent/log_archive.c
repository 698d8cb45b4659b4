#include "log_archive.h"

#include <string.h>
#include <zlib.h>

#include "clocks.h"

#define BLOCK       512
#define GZIP_WINDOW (15 + 16) /* zlib's way to say: with gzip's head and tail */

struct log_archive {
	GByteArray *tar;
};

struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
	char link[100], magic[6], version[2], user[32], group[32], device[16], prefix[155],
		rest[12];
};

G_STATIC_ASSERT(sizeof(struct ustar) == BLOCK);

struct log_archive *log_archive_new(void)
{
	struct log_archive *archive = g_new0(struct log_archive, 1);

	archive->tar = g_byte_array_new();
	return archive;
}

/* Octal digits; the NUL behind them is there already. */
static void put_octal(char *field, size_t size, uint64_t value)
{
	for (size_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

static void put_checksum(struct ustar *head)
{
	const unsigned char *bytes = (const unsigned char *)head;
	unsigned sum = 0;

	memset(head->checksum, ' ', sizeof(head->checksum));
	for (size_t i = 0; i < sizeof(*head); i++)
		sum += bytes[i];
	head->checksum[sizeof(head->checksum) - 1] = '\0';
	put_octal(head->checksum, sizeof(head->checksum), sum);
}

void log_archive_add(struct log_archive *archive, const char *name, const char *text, size_t length)
{
	static const uint8_t zeros[BLOCK];
	struct ustar head = {.type = '0', .magic = "ustar", .version = {'0', '0'}};

	g_strlcpy(head.name, name, sizeof(head.name));
	put_octal(head.mode, sizeof(head.mode), 0600);
	put_octal(head.uid, sizeof(head.uid), 0);
	put_octal(head.gid, sizeof(head.gid), 0);
	put_octal(head.size, sizeof(head.size), length);
	put_octal(head.mtime, sizeof(head.mtime), (uint64_t)(wall_now().us / 1000000));
	put_checksum(&head);
	g_byte_array_append(archive->tar, (const uint8_t *)&head, sizeof(head));
	g_byte_array_append(archive->tar, (const uint8_t *)text, (guint)length);
	g_byte_array_append(archive->tar, zeros, (guint)((BLOCK - length % BLOCK) % BLOCK));
}

char *log_archive_print(struct log_archive *archive)
{
	static const uint8_t end[2 * BLOCK];
	z_stream z = {.next_in = NULL};

	g_byte_array_append(archive->tar, end, sizeof(end));
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		g_error("zlib has no memory");
	uLong bound = deflateBound(&z, archive->tar->len);
	g_autofree uint8_t *packed = g_malloc(bound);

	z.next_in = archive->tar->data;
	z.avail_in = archive->tar->len;
	z.next_out = packed;
	z.avail_out = (uInt)bound;
	int status = deflate(&z, Z_FINISH);

	g_assert(status == Z_STREAM_END);
	char *text = g_base64_encode(packed, z.total_out);

	deflateEnd(&z);
	return text;
}

void log_archive_free(struct log_archive *archive)
{
	if (!archive)
		return;
	g_byte_array_unref(archive->tar);
	g_free(archive);
}
