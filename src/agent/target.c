#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"

#define PIECE    (128 * 1024) /* unit in which zeros are looked for */
#define ZERO_MAX (1024 * 1024)

struct target {
	int fd;
	char *name, *sysfs;
	uint64_t size;
	unsigned sector; /* logical */
	unsigned unit; /* offsets and lengths of direct I/O are multiples of it; 1: buffered I/O */
	bool punch;    /* holes read as zeros */
	uint64_t written;
	uint64_t zero_start, zero_end; /* a run of zeros that is not on the disk yet */
	uint8_t *head, *tail, *zeros, *bounce;
};

static void *new_aligned(size_t length)
{
	void *p = aligned_alloc(TARGET_ALIGN, length);

	g_assert(p);
	memset(p, 0, length);
	return p;
}

void target_free(struct target *t)
{
	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	free(t->head);
	free(t->tail);
	free(t->zeros);
	free(t->bounce);
	g_free(t->name);
	g_free(t->sysfs);
	g_free(t);
}

uint64_t target_size(const struct target *t)
{
	return t->size;
}

unsigned target_sector(const struct target *t)
{
	return t->sector;
}

uint64_t target_written(const struct target *t)
{
	return t->written;
}

int target_peek_fd(const struct target *t)
{
	return t->fd;
}

uint8_t *target_peek_head(struct target *t)
{
	return t->head;
}

uint8_t *target_peek_tail(struct target *t)
{
	return t->tail;
}

/* ---- opening */

static int open_place(const struct target_place *place, int flags)
{
	int fd = place->no_direct ? -1 : open(place->path, flags | O_DIRECT);

	if (fd < 0 && (place->no_direct || errno == EINVAL))
		fd = open(place->path, flags);
	return fd;
}

static bool measure(struct target *t, GError **error)
{
	struct stat st;
	uint64_t size = 0;
	int sector = 0, flags = fcntl(t->fd, F_GETFL);

	if (fstat(t->fd, &st) != 0)
		return inox_error_set_errno(error, errno, "look at %s", t->name);
	if (S_ISREG(st.st_mode)) {
		size = (uint64_t)st.st_size;
		sector = 512;
	} else if (!S_ISBLK(st.st_mode)) {
		return inox_error_set(error, INOX_ERROR_INVALID, "%s is not a block device",
				      t->name);
	} else if (ioctl(t->fd, BLKGETSIZE64, &size) != 0 ||
		   ioctl(t->fd, BLKSSZGET, &sector) != 0) {
		return inox_error_set_errno(error, errno, "ask %s for its size", t->name);
	}
	if (size < 4 * TARGET_EDGE)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "%s has only %" G_GUINT64_FORMAT
				      " bytes: too small for an image",
				      t->name, size);
	t->size = size;
	t->sector = (unsigned)sector;
	t->unit = S_ISREG(st.st_mode) ? TARGET_ALIGN : t->sector;
	if ((flags & O_DIRECT) && size % t->unit != 0)
		fcntl(t->fd, F_SETFL, flags & ~O_DIRECT);
	if (!(fcntl(t->fd, F_GETFL) & O_DIRECT))
		t->unit = 1;
	return true;
}

struct target *target_open(const struct target_place *place, GError **error)
{
	g_autoptr(target) t = g_new0(struct target, 1);
	struct stat st;
	/* Exclusive on a block device: refused while it is mounted or part of something that runs. */
	int exclusive = stat(place->path, &st) == 0 && S_ISBLK(st.st_mode) ? O_EXCL : 0;

	t->name = g_strdup(place->name);
	t->sysfs = g_strdup(place->sysfs);
	t->fd = open_place(place, O_RDWR | O_CLOEXEC | exclusive);
	if (t->fd < 0 && errno == EBUSY)
		inox_error_set(error, INOX_ERROR_BUSY,
			       "the disk %s is in use (mounted, or part of a running array)",
			       t->name);
	else if (t->fd < 0)
		inox_error_set_errno(error, errno, "cannot open the disk %s", t->name);
	if (t->fd < 0 || !measure(t, error))
		return NULL;
	t->punch = true;
	t->head = new_aligned(TARGET_EDGE);
	t->tail = new_aligned(TARGET_EDGE);
	t->zeros = new_aligned(ZERO_MAX);
	t->bounce = new_aligned(TARGET_ALIGN);
	return g_steal_pointer(&t);
}

/* ---- plain input and output */

static bool is_gone(const struct target *t, int number)
{
	return number == ENXIO || number == ENODEV ||
	       (t->sysfs && !g_file_test(t->sysfs, G_FILE_TEST_EXISTS));
}

static bool refuse_io(const struct target *t, int number, const char *doing, uint64_t offset,
		      GError **error)
{
	if (is_gone(t, number))
		return inox_error_set(error, INOX_ERROR_IO,
				      "the disk %s vanished while byte %" G_GUINT64_FORMAT
				      " was %s",
				      t->name, offset, doing);
	return inox_error_set(error, INOX_ERROR_IO,
			      "the disk %s failed when byte %" G_GUINT64_FORMAT " was %s: %s",
			      t->name, offset, doing, g_strerror(number));
}

static bool put_aligned(struct target *t, uint64_t offset, const uint8_t *bytes, size_t length,
			GError **error)
{
	while (length > 0) {
		ssize_t n = pwrite(t->fd, bytes, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return refuse_io(t, n < 0 ? errno : EIO, "written", offset, error);
		offset += (uint64_t)n;
		bytes += n;
		length -= (size_t)n;
	}
	return true;
}

static bool get_aligned(struct target *t, uint64_t offset, uint8_t *bytes, size_t length,
			GError **error)
{
	while (length > 0) {
		ssize_t n = pread(t->fd, bytes, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return refuse_io(t, n < 0 ? errno : EIO, "read", offset, error);
		offset += (uint64_t)n;
		bytes += n;
		length -= (size_t)n;
	}
	return true;
}

/* At most one unit, which is read, changed and written back. */
static bool put_part(struct target *t, uint64_t offset, const uint8_t *bytes, size_t length,
		     GError **error)
{
	uint64_t start = offset / t->unit * t->unit;

	if (length < t->unit && !get_aligned(t, start, t->bounce, t->unit, error))
		return false;
	memcpy(t->bounce + (offset - start), bytes, length);
	return put_aligned(t, start, t->bounce, t->unit, error);
}

/* Any offset, length and address; whole units at aligned addresses go without a copy. */
static bool put(struct target *t, uint64_t offset, const uint8_t *bytes, size_t length,
		GError **error)
{
	t->written += length;
	while (length > 0) {
		bool direct = t->unit == 1 || (uintptr_t)bytes % TARGET_ALIGN == 0;
		size_t inside = (size_t)(offset % t->unit);
		size_t whole = inside == 0 && direct ? length / t->unit * t->unit : 0;
		size_t part = whole > 0 ? whole : MIN(length, t->unit - inside);
		bool ok = whole > 0 ? put_aligned(t, offset, bytes, part, error)
				    : put_part(t, offset, bytes, part, error);

		if (!ok)
			return false;
		offset += part;
		bytes += part;
		length -= part;
	}
	return true;
}

/* ---- zeros */

/* False when the disk cannot do it: then zeros are written. */
static bool punch(struct target *t, uint64_t start, uint64_t end)
{
	/* On a block device too this is refused unless the disk guarantees zeros afterwards. */
	if (!t->punch || fallocate(t->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
				   (off_t)(end - start)) == 0)
		return t->punch;
	t->punch = false;
	return false;
}

static bool put_zeros(struct target *t, GError **error)
{
	uint64_t start = t->zero_start, end = t->zero_end;
	uint64_t first = (start + TARGET_ALIGN - 1) / TARGET_ALIGN * TARGET_ALIGN;
	uint64_t last = end / TARGET_ALIGN * TARGET_ALIGN;

	t->zero_start = t->zero_end = 0;
	if (last > first && punch(t, first, last)) {
		if (!put(t, start, t->zeros, (size_t)(first - start), error))
			return false;
		start = last;
	}
	for (; start < end; start += MIN(ZERO_MAX, end - start))
		if (!put(t, start, t->zeros, (size_t)MIN(ZERO_MAX, end - start), error))
			return false;
	return true;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return length > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

static bool add_zeros(struct target *t, uint64_t offset, size_t length, GError **error)
{
	if (t->zero_end != offset || t->zero_end == 0) {
		if (!put_zeros(t, error))
			return false;
		t->zero_start = offset;
	}
	t->zero_end = offset + length;
	return true;
}

/* Between the edges. */
static bool write_middle(struct target *t, uint64_t offset, const uint8_t *bytes, size_t length,
			 GError **error)
{
	while (length > 0) {
		size_t part = MIN(length, PIECE);
		bool zero = is_zero(bytes, part);

		while (!zero && part < length && !is_zero(bytes + part, MIN(length - part, PIECE)))
			part += MIN(length - part, PIECE);
		if (zero ? !add_zeros(t, offset, part, error)
			 : !put_zeros(t, error) || !put(t, offset, bytes, part, error))
			return false;
		offset += part;
		bytes += part;
		length -= part;
	}
	return true;
}

/* ---- reading and writing anywhere */

/* Which of head, middle and tail holds `offset`: the bytes of it that are in one place, and the place. */
static size_t find_part(struct target *t, uint64_t offset, size_t length, uint8_t **ret_edge)
{
	uint64_t tail = t->size - TARGET_EDGE, end;

	if (offset < TARGET_EDGE) {
		*ret_edge = t->head + offset;
		end = TARGET_EDGE;
	} else if (offset < tail) {
		*ret_edge = NULL;
		end = tail;
	} else {
		*ret_edge = t->tail + (offset - tail);
		end = t->size;
	}
	return (size_t)MIN(length, end - offset);
}

static bool check_range(const struct target *t, uint64_t offset, size_t length, GError **error)
{
	if (offset <= t->size && length <= t->size - offset)
		return true;
	return inox_error_set(error, INOX_ERROR_LIMIT,
			      "the image is larger than the disk: %s has %" G_GUINT64_FORMAT
			      " bytes, the image has at least %" G_GUINT64_FORMAT,
			      t->name, t->size, offset + length);
}

bool target_write(struct target *t, uint64_t offset, const void *bytes, size_t length,
		  GError **error)
{
	const uint8_t *p = bytes;

	if (!check_range(t, offset, length, error))
		return false;
	while (length > 0) {
		uint8_t *edge;
		size_t part = find_part(t, offset, length, &edge);

		if (edge)
			memcpy(edge, p, part);
		else if (!write_middle(t, offset, p, part, error))
			return false;
		offset += part;
		p += part;
		length -= part;
	}
	return true;
}

static bool read_middle(struct target *t, uint64_t offset, uint8_t *bytes, size_t length,
			GError **error)
{
	while (length > 0) {
		uint64_t start = offset / TARGET_ALIGN * TARGET_ALIGN;
		size_t inside = (size_t)(offset - start);
		size_t whole = (size_t)MIN(TARGET_ALIGN, t->size - start);
		size_t part = MIN(length, whole - inside);

		if (!get_aligned(t, start, t->bounce, whole, error))
			return false;
		memcpy(bytes, t->bounce + inside, part);
		offset += part;
		bytes += part;
		length -= part;
	}
	return true;
}

bool target_read(struct target *t, uint64_t offset, void *bytes, size_t length, GError **error)
{
	uint8_t *p = bytes;

	if (!check_range(t, offset, length, error) || !put_zeros(t, error))
		return false;
	while (length > 0) {
		uint8_t *edge;
		size_t part = find_part(t, offset, length, &edge);

		if (edge)
			memcpy(p, edge, part);
		else if (!read_middle(t, offset, p, part, error))
			return false;
		offset += part;
		p += part;
		length -= part;
	}
	return true;
}

/* ---- order */

static bool sync_disk(struct target *t, GError **error)
{
	if (fdatasync(t->fd) == 0)
		return true;

	int number = errno;

	return inox_error_set(error, INOX_ERROR_IO,
			      is_gone(t, number) ? "the disk %s vanished while it was flushed: %s"
						 : "the disk %s could not be flushed: %s",
			      t->name, g_strerror(number));
}

bool target_flush(struct target *t, GError **error)
{
	return put_zeros(t, error) && sync_disk(t, error);
}

bool target_conceal(struct target *t, GError **error)
{
	memset(t->head, 0, TARGET_EDGE);
	memset(t->tail, 0, TARGET_EDGE);
	return put(t, 0, t->head, TARGET_EDGE, error) &&
	       put(t, t->size - TARGET_EDGE, t->tail, TARGET_EDGE, error) && sync_disk(t, error);
}

bool target_load_head(struct target *t, GError **error)
{
	return get_aligned(t, 0, t->head, TARGET_EDGE, error);
}

bool target_reveal(struct target *t, GError **error)
{
	return target_flush(t, error) &&
	       put(t, t->size - TARGET_EDGE, t->tail, TARGET_EDGE, error) && sync_disk(t, error) &&
	       put(t, 0, t->head, TARGET_EDGE, error) && sync_disk(t, error);
}
