#include "key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"

bool key_file_read_fd(int fd, const char *name, uint8_t bytes[static KEY_FILE_BYTES],
		      GError **error)
{
	struct stat st;
	uint8_t more;

	if (fstat(fd, &st) < 0)
		return inox_error_set_errno(error, errno, "look at '%s'", name);
	if (st.st_mode & 077)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"The key file '%s' can be read by others (mode %03o); it must be 0600.",
			name, st.st_mode & 0777u);
	if (read(fd, bytes, KEY_FILE_BYTES) != KEY_FILE_BYTES || read(fd, &more, 1) != 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "'%s' is not a key file: it does not hold %d bytes.", name,
				      KEY_FILE_BYTES);
	return true;
}

bool key_file_read(const char *path, uint8_t bytes[static KEY_FILE_BYTES], GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return inox_error_set_errno(error, errno, "open the key file '%s'", path);
	bool good = key_file_read_fd(fd, path, bytes, error);

	close(fd);
	return good;
}

bool key_file_write_new(const char *path, const uint8_t bytes[static KEY_FILE_BYTES],
			GError **error)
{
	g_autofree char *temporary = g_strdup_printf("%s.%d.new", path, (int)getpid());
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return inox_error_set_errno(error, errno, "create '%s'", temporary);
	bool ok = write(fd, bytes, KEY_FILE_BYTES) == KEY_FILE_BYTES && fsync(fd) == 0;
	int saved = errno;

	close(fd);
	/* link() fails if another process was faster: its key stays. */
	if (ok && link(temporary, path) < 0 && errno != EEXIST) {
		ok = false;
		saved = errno;
	}
	unlink(temporary);
	return ok || inox_error_set_errno(error, saved, "write the key file '%s'", path);
}
