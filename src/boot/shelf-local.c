#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
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

struct content {
	const char *bytes;
	size_t length;
	const char *base;                 /* name of the file that has the same bytes; NULL: none */
	const struct boot_iso_fill *fill; /* NULL: none */
};

/* The file was replaced since its bytes were read if it differs where the places are. */
static bool has_the_places(int fd, const struct content *c)
{
	for (unsigned p = 0; p < BOOT_ISO_PIECES; p++) {
		uint64_t offset = c->fill->places[p].offset;
		size_t length = c->fill->places[p].length;
		g_autofree char *there = g_malloc(length + 1);

		if (length > 0 && (pread(fd, there, length, (off_t)offset) != (ssize_t)length ||
				   memcmp(there, c->bytes + offset, length) != 0))
			return false;
	}
	return true;
}

static bool copy_file(int from, int to, const struct content *c)
{
	struct stat st;
	size_t left = c->length;

	if (fstat(from, &st) < 0 || (uint64_t)st.st_size != c->length)
		return false;
	while (left > 0) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, left, 0);

		if (n <= 0)
			return false;
		left -= (size_t)n;
	}
	return has_the_places(to, c);
}

/* A copy by the kernel: on file systems that can, the two files share their blocks.  False if there is none,
 * and `to` is as empty as it was. */
static bool share_base(int root, int to, const struct content *c)
{
	const char *leaf;
	int folder = c->base ? open_parent(root, c->base, false, &leaf) : -1;
	int from = folder < 0 ? -1 : openat(folder, leaf, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	bool shared = from >= 0 && copy_file(from, to, c);

	if (from >= 0)
		close(from);
	if (folder >= 0)
		close(folder);
	if (!shared && (ftruncate(to, 0) != 0 || lseek(to, 0, SEEK_SET) != 0))
		return false;
	return shared;
}

static bool write_content(int root, int fd, const struct content *c)
{
	if (!share_base(root, fd, c) && !write_all(fd, c->bytes, c->length))
		return false;
	for (unsigned p = 0; c->fill && p < BOOT_ISO_PIECES; p++)
		if (lseek(fd, (off_t)c->fill->places[p].offset, SEEK_SET) < 0 ||
		    !write_all(fd, c->fill->places[p].bytes, c->fill->places[p].length))
			return false;
	return true;
}

/* Written beside its place, under a name that dnsmasq and nginx pass over (it begins with a dot), then
 * moved there. */
static bool put_in(int root, int folder, const char *leaf, mode_t mode,
		   const struct content *content)
{
	g_autofree char *new_leaf = g_strconcat(".", leaf, ".new", NULL);

	(void)unlinkat(folder, new_leaf, 0);
	int fd = openat(folder, new_leaf, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

	if (fd < 0)
		return false;
	bool written = write_content(root, fd, content) && fchmod(fd, mode) == 0;

	if (!written) {
		int saved = errno;

		close(fd);
		(void)unlinkat(folder, new_leaf, 0);
		errno = saved;
		return false;
	}
	return sync_and_close(fd) && renameat(folder, new_leaf, folder, leaf) == 0 &&
	       sync_folder(folder);
}

static bool put_content(const struct shelf *s, const char *name, const char *what,
			const struct content *content, GError **error)
{
	const char *leaf;
	int folder = open_parent(s->root_fd, name, true, &leaf);
	mode_t mode = g_str_has_prefix(name, PUBLIC_FIRST) ? MODE_PUBLIC : MODE_FILE;

	if (folder < 0 || !put_in(s->root_fd, folder, leaf, mode, content)) {
		int saved = errno;

		if (folder >= 0)
			close(folder);
		return inox_error_set_errno(error, saved, "boot host: write %s", what);
	}
	close(folder);
	return true;
}

static bool local_put(const struct shelf *s, const char *name, const char *what, const char *bytes,
		      size_t length, GError **error)
{
	const struct content content = {.bytes = bytes, .length = length};

	return put_content(s, name, what, &content, error);
}

static bool local_put_filled(const struct shelf *s, const char *name, const char *what,
			     const char *base, GBytes *bytes, const struct boot_iso_fill *fill,
			     GError **error)
{
	gsize length;
	const char *data = g_bytes_get_data(bytes, &length);
	const struct content content = {
		.bytes = data, .length = length, .base = base, .fill = fill};

	return put_content(s, name, what, &content, error);
}

/* Read, not mapped: a file that shrinks meanwhile must not end the process. */
static char *read_all(int fd, size_t limit, size_t *ret_length)
{
	struct stat st;
	size_t length = 0;

	if (fstat(fd, &st) < 0)
		return NULL;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size > limit) {
		errno = EFBIG;
		return NULL;
	}
	g_autofree char *bytes = g_malloc((gsize)st.st_size + 1);

	while (length < (size_t)st.st_size) {
		ssize_t n = read(fd, bytes + length, (size_t)st.st_size - length);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return NULL;
		length += n > 0 ? (size_t)n : 0;
	}
	*ret_length = length;
	return g_steal_pointer(&bytes);
}

static GBytes *local_load(const struct shelf *s, const char *name, const char *what, size_t limit,
			  GError **error)
{
	const char *leaf;
	size_t length = 0;
	int folder = open_parent(s->root_fd, name, false, &leaf);
	int fd = folder < 0 ? -1 : openat(folder, leaf, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *bytes = fd < 0 ? NULL : read_all(fd, limit, &length);
	int saved = errno;

	if (fd >= 0)
		close(fd);
	if (folder >= 0)
		close(folder);
	if (bytes)
		return g_bytes_new_take(bytes, length);
	inox_error_set_errno(error, saved, "boot host: read %s", what);
	return NULL;
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
	.put_filled = local_put_filled,
	.remove_folder = local_remove_folder,
};
