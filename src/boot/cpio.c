#include "cpio.h"

#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

/* The kernel tells hard links by inode number when nlink is over 1; here it never is, so that the number
 * can be the same for all. */
#define HEADER_FORMAT                                                    \
	"070701"                           /* magic */                   \
	"00000000%08X"                     /* inode, mode */             \
	"0000000000000000"                 /* owner, group */            \
	"00000001"                         /* links */                   \
	"00000000%08zX"                    /* time, size */              \
	"00000000000000000000000000000000" /* device and node numbers */ \
	"%08zX00000000"                    /* length of the name with its NUL, check sum */

static void pad(GByteArray *archive, unsigned to)
{
	static const uint8_t zeroes[512];

	if (archive->len % to)
		g_byte_array_append(archive, zeroes, to - archive->len % to);
}

static void add(GByteArray *archive, const char *path, unsigned mode, const char *bytes,
		size_t length)
{
	g_autofree char *header = g_strdup_printf(HEADER_FORMAT, mode, length, strlen(path) + 1);

	g_byte_array_append(archive, (const uint8_t *)header, (guint)strlen(header));
	g_byte_array_append(archive, (const uint8_t *)path, (guint)strlen(path) + 1);
	pad(archive, 4);
	g_byte_array_append(archive, (const uint8_t *)bytes, (guint)length);
	pad(archive, 4);
}

GByteArray *cpio_new(void)
{
	/* Grown never: a reallocation would leave a copy of a secret behind. */
	return g_byte_array_sized_new(4096);
}

void cpio_add_folder(GByteArray *archive, const char *path, unsigned mode)
{
	add(archive, path, S_IFDIR | mode, "", 0);
}

void cpio_add_file(GByteArray *archive, const char *path, unsigned mode, const char *bytes,
		   size_t length)
{
	add(archive, path, S_IFREG | mode, bytes, length);
}

void cpio_finish(GByteArray *archive)
{
	add(archive, "TRAILER!!!", 0, "", 0);
	pad(archive, 512);
}

char *cpio_print_conf(const struct secret *token)
{
	return g_strdup_printf("[DEFAULT]\nagent_token = %s\n", secret_peek(token));
}

static void add_conf(GByteArray *archive, const struct secret *token)
{
	char *text = cpio_print_conf(token);

	cpio_add_folder(archive, "etc/ironic-python-agent.d", 0755);
	cpio_add_file(archive, "etc/ironic-python-agent.d/inox.conf", 0600, text, strlen(text));
	secret_wipe_text(text);
}

GByteArray *cpio_of_token(const struct secret *token, bool stock)
{
	GByteArray *archive = cpio_new();

	cpio_add_folder(archive, "etc", 0755);
	cpio_add_folder(archive, "etc/inox", 0700);
	cpio_add_file(archive, "etc/inox/agent-token", 0600, secret_peek(token),
		      secret_length(token));
	if (stock)
		add_conf(archive, token);
	cpio_finish(archive);
	return archive;
}

void cpio_wipe_free(GByteArray *archive)
{
	if (!archive)
		return;
	explicit_bzero(archive->data, archive->len);
	g_byte_array_unref(archive);
}
