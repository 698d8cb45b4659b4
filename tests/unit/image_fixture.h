/* image_fixture.h: what the tests of the image pipeline share: a folder that plays a machine's root with
 * one disk, and a small GPT image.
 */
#pragma once

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define MIB (1024 * 1024)

static inline char *fixture_folder(void)
{
	char *folder = g_dir_make_tmp("inox-image-XXXXXX", NULL);

	g_assert_nonnull(folder);
	return folder;
}

static inline void fixture_remove(const char *folder)
{
	const char *const argv[] = {"rm", "-rf", folder, NULL};

	g_assert_true(g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
				   NULL, NULL, NULL, NULL, NULL));
}

static inline void fixture_write(const char *folder, const char *name, const void *bytes,
				 size_t length)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	g_autofree char *parent = g_path_get_dirname(path);

	g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
	g_assert_true(g_file_set_contents(path, bytes, (gssize)length, NULL));
}

static inline void fixture_text(const char *folder, const char *name, const char *text)
{
	fixture_write(folder, name, text, strlen(text));
}

/* A regular file full of 0xaa: what an old disk holds. */
static inline char *fixture_disk(const char *folder, size_t size)
{
	char *path = g_build_filename(folder, "disk", NULL);
	g_autofree uint8_t *old = g_malloc(size);

	memset(old, 0xaa, size);
	g_assert_true(g_file_set_contents(path, (char *)old, (gssize)size, NULL));
	return path;
}

static inline uint8_t *fixture_read(const char *path, size_t *ret_size)
{
	char *bytes;
	gsize size;

	g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
	*ret_size = size;
	return (uint8_t *)bytes;
}

static inline void fixture_put(uint8_t *p, unsigned bytes, uint64_t value)
{
	for (unsigned i = 0; i < bytes; i++, value >>= 8)
		p[i] = (uint8_t)value;
}

static inline void fixture_gpt_sums(uint8_t *image, unsigned sector)
{
	uint8_t *h = image + sector;

	fixture_put(h + 88, 4, crc32(0, image + 2 * sector, 128 * 128));
	fixture_put(h + 16, 4, 0);
	fixture_put(h + 16, 4, crc32(0, h, 92));
}

/* A GPT with one partition from 1 MiB to `size` - 1 MiB, and a signature 0x12345678 in its MBR. */
static inline void fixture_gpt(uint8_t *image, size_t size, unsigned sector)
{
	uint8_t *h = image + sector, *e = image + 2 * sector;

	fixture_put(image + 440, 4, 0x12345678);
	image[446 + 4] = 0xee;
	fixture_put(image + 446 + 8, 4, 1);
	fixture_put(image + 446 + 12, 4, size / sector - 1);
	image[510] = 0x55;
	image[511] = 0xaa;
	memcpy(h, "EFI PART\0\0\1\0", 12);
	fixture_put(h + 12, 4, 92);
	fixture_put(h + 24, 8, 1);
	fixture_put(h + 32, 8, size / sector - 1);
	fixture_put(h + 40, 8, 34);
	fixture_put(h + 48, 8, size / sector - 34);
	fixture_put(h + 72, 8, 2);
	fixture_put(h + 80, 4, 128);
	fixture_put(h + 84, 4, 128);
	memset(e, 7, 32);
	fixture_put(e + 32, 8, MIB / sector);
	fixture_put(e + 40, 8, (size - MIB) / sector - 1);
	fixture_gpt_sums(image, sector);
}

/* `size` bytes: GPT, some random content, a long run of zeros, random content. */
static inline uint8_t *fixture_image(size_t size)
{
	uint8_t *image = g_malloc0(size);
	GRand *random = g_rand_new_with_seed(7);

	for (size_t i = MIB; i < size; i += 4)
		if (i < 2 * MIB || i > size - MIB)
			fixture_put(image + i, 4, g_rand_int(random));
	g_rand_free(random);
	fixture_gpt(image, size, 512);
	return image;
}
