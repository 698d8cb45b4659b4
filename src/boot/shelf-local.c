#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash_point.h"
#include "errors.h"
#include "limit.h"
#include "shelf-backend.h"

/* What nodes read goes to the group of the HTTP server, which the folders hand down (setgid), and to
 * nobody else on the host: it holds tokens.  Reservations are no secret, and dnsmasq is another user. */
#define MODE_FOLDER  0750
#define MODE_FILE    0640
#define MODE_PUBLIC  0644
#define PUBLIC_FIRST "dhcp-hosts/"

static bool sync_and_close(int fd)
{
	bool good = fsync(fd) == 0;
	int saved = errno;

	close(fd);
	errno = saved;
	return good;
}

static bool sync_folder(int folder)
{
	return fsync(folder) == 0;
}

/* Opens the folder of `name`, making what is missing; *ret_leaf points into `name`.  No link is
 * followed below the root. */
static int open_parent(int root, const char *name, bool create, const char **ret_leaf)
{
	g_auto(GStrv) elements = g_strsplit(name, "/", -1);
	int folder = fcntl(root, F_DUPFD_CLOEXEC, 0);

	for (unsigned i = 0; folder >= 0 && elements[i] && elements[i + 1]; i++) {
		if (create && mkdirat(folder, elements[i], MODE_FOLDER) == 0)
			(void)sync_folder(folder);
		int next = openat(folder, elements[i],
				  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int saved = errno;

		close(folder);
		errno = saved;
		folder = next;
	}
	const char *slash = strrchr(name, '/');

	*ret_leaf = slash ? slash + 1 : name;
	return folder;
}

static bool write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
		}
	}
	return true;
}

/* Written beside its place, under a name that dnsmasq and nginx pass over (it begins with a dot), then
 * moved there. */
static bool put_in(int folder, const char *leaf, mode_t mode, const char *bytes, size_t length)
{
	g_autofree char *new_leaf = g_strconcat(".", leaf, ".new", NULL);

	(void)unlinkat(folder, new_leaf, 0);
	int fd = openat(folder, new_leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			mode);

	if (fd < 0)
		return false;
	if (!write_all(fd, bytes, length) || fchmod(fd, mode) < 0) {
		int saved = errno;

		close(fd);
		(void)unlinkat(folder, new_leaf, 0);
		errno = saved;
		return false;
	}
	crash_point("put/new");
	bool placed = sync_and_close(fd) && renameat(folder, new_leaf, folder, leaf) == 0 &&
		      sync_folder(folder);

	crash_point("put/placed");
	return placed;
}

static bool local_put(const struct shelf *s, const char *name, const char *what, const char *bytes,
		      size_t length, GError **error)
{
	const char *leaf;
	int folder = open_parent(s->root_fd, name, true, &leaf);
	mode_t mode = g_str_has_prefix(name, PUBLIC_FIRST) ? MODE_PUBLIC : MODE_FILE;

	if (folder < 0 || !put_in(folder, leaf, mode, bytes, length)) {
		int saved = errno;

		if (folder >= 0)
			close(folder);
		return inox_error_set_errno(error, saved, "boot host: write %s", what);
	}
	close(folder);
	return true;
}

/* Read, not mapped: a file that shrinks meanwhile must not end the process. */
static char *read_all(int fd, size_t size, size_t *ret_length)
{
	size_t length = 0;
	g_autofree char *bytes = g_malloc(size + 1);

	while (length < size) {
		ssize_t n = read(fd, bytes + length, size - length);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return NULL;
		length += n > 0 ? (size_t)n : 0;
	}
	*ret_length = length;
	return g_steal_pointer(&bytes);
}

/* Another file, or one that was written to, has another tag. */
static char *print_tag(const struct stat *st)
{
	return g_strdup_printf("%ju-%ju-%jd-%jd.%09ld-%jd.%09ld", (uintmax_t)st->st_dev,
			       (uintmax_t)st->st_ino, (intmax_t)st->st_size,
			       (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
			       (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

static bool load_fd(int fd, const char *what, const char *known, char **ret_tag, GBytes **ret_bytes,
		    GError **error)
{
	struct stat st;
	size_t length = 0;

	if (fstat(fd, &st) < 0)
		return inox_error_set_errno(error, errno, "boot host: look at %s", what);
	if (!S_ISREG(st.st_mode))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "boot host: what is in the place of %s is no regular file",
				      what);
	if (st.st_size > LIMIT_MEDIA_ISO)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "boot host: %s has %jd bytes: %d are taken", what,
				      (intmax_t)st.st_size, LIMIT_MEDIA_ISO);
	g_autofree char *tag = print_tag(&st);

	*ret_bytes = NULL;
	if (g_strcmp0(tag, known) == 0)
		return true;
	char *bytes = read_all(fd, (size_t)st.st_size, &length);

	if (!bytes)
		return inox_error_set_errno(error, errno, "boot host: read %s", what);
	*ret_tag = g_steal_pointer(&tag);
	*ret_bytes = g_bytes_new_take(bytes, length);
	return true;
}

static bool local_load(const struct shelf *s, const char *name, const char *what, const char *known,
		       char **ret_tag, GBytes **ret_bytes, GError **error)
{
	const char *leaf;
	int folder = open_parent(s->root_fd, name, false, &leaf);
	/* A FIFO must not stop the lane. */
	int fd = folder < 0 ? -1
			    : openat(folder, leaf, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	bool good = fd >= 0 ? load_fd(fd, what, known, ret_tag, ret_bytes, error)
			    : inox_error_set_errno(error, errno, "boot host: open %s", what);

	if (fd >= 0)
		close(fd);
	if (folder >= 0)
		close(folder);
	return good;
}

static bool empty_folder(int fd)
{
	DIR *folder = fdopendir(fd);
	struct dirent *entry;
	bool good = folder != NULL;

	while (good && (entry = readdir(folder)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			good = unlinkat(dirfd(folder), entry->d_name, 0) == 0 || errno == ENOENT;
	int saved = errno;

	if (folder)
		closedir(folder);
	else
		close(fd);
	errno = saved;
	return good;
}

static bool remove_folder_in(int parent, const char *leaf)
{
	int fd = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	return empty_folder(fd) && (unlinkat(parent, leaf, AT_REMOVEDIR) == 0 || errno == ENOENT) &&
	       sync_folder(parent);
}

static bool local_remove_folder(const struct shelf *s, const char *name, const char *what,
				GError **error)
{
	const char *leaf;
	int parent = open_parent(s->root_fd, name, false, &leaf);

	if (parent < 0)
		return errno == ENOENT ||
		       inox_error_set_errno(error, errno, "boot host: remove %s", what);
	bool good = remove_folder_in(parent, leaf);
	int saved = errno;

	close(parent);
	return good || inox_error_set_errno(error, saved, "boot host: remove %s", what);
}

bool shelf_local_open(struct shelf *s, const char *root, GError **error)
{
	s->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0)
		return inox_error_set_errno(error, errno, "[boot]root '%s'", root);
	s->backend = &shelf_local;
	return true;
}

const struct shelf_backend shelf_local = {
	.put = local_put,
	.load = local_load,
	.remove_folder = local_remove_folder,
};
