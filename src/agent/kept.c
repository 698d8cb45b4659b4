#include "kept.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "secret.h"

#define FOLDER    "run/inox"
#define FILE_MOST (64 * 1024)

static bool write_all(int fd, const char *text)
{
	size_t length = strlen(text);

	while (length > 0) {
		ssize_t n = write(fd, text, length);

		if (n <= 0)
			return false;
		text += n;
		length -= (size_t)n;
	}
	return true;
}

char *kept_path(const char *root, const char *name)
{
	return g_build_filename(root, FOLDER, name, NULL);
}

void kept_write(const char *root, const char *name, const char *text)
{
	g_autofree char *folder = g_build_filename(root, FOLDER, NULL);
	g_autofree char *path = kept_path(root, name);
	g_autofree char *fresh = g_strconcat(path, ".new", NULL);

	(void)g_mkdir_with_parents(folder, 0700);
	(void)unlink(fresh);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool good = fd >= 0 && write_all(fd, text);

	if (fd >= 0)
		close(fd);
	if (!good || rename(fresh, path) != 0)
		log_warn(NULL, "a file that a restart needs cannot be written",
			 F_STR("path", path));
}

static bool is_ours(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & 0077) == 0 && st.st_size <= FILE_MOST;
}

char *kept_read(const char *root, const char *name)
{
	g_autofree char *path = kept_path(root, name);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	char *text = is_ours(fd) ? g_malloc0(FILE_MOST + 1) : NULL;
	ssize_t n = text ? read(fd, text, FILE_MOST) : -1;

	close(fd);
	if (n > 0)
		return text;
	g_free(text);
	return NULL;
}
