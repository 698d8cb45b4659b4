#include "media_base.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"

#define PIECE (256 * 1024)
/* Files that are remembered: nodes may have an ISO of their own each. */
#define REMEMBERED 4096

struct seen {
	struct media_identity identity;
	uint64_t used; /* grows: the least one goes first */
	uint8_t digest[MEDIA_DIGEST_BYTES];
};

struct media_bases {
	int root_fd;
	GArray *seen; /* of struct seen */
	uint64_t uses;
};

struct media_bases *media_bases_new(int root_fd)
{
	struct media_bases *b = g_new0(struct media_bases, 1);

	b->root_fd = root_fd;
	b->seen = g_array_new(FALSE, FALSE, sizeof(struct seen));
	return b;
}

void media_bases_free(struct media_bases *b)
{
	if (!b)
		return;
	g_array_unref(b->seen);
	g_free(b);
}

int media_open(int folder, const char *name)
{
	g_auto(GStrv) elements = g_strsplit(name, "/", -1);
	int at = fcntl(folder, F_DUPFD_CLOEXEC, 0);

	for (unsigned i = 0; at >= 0 && elements[i]; i++) {
		/* A FIFO must not stop the program. */
		int kind = elements[i + 1] ? O_DIRECTORY : O_NONBLOCK;
		int next = openat(at, elements[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC | kind);
		int saved = errno;

		close(at);
		errno = saved;
		at = next;
	}
	return at;
}

static bool identify(int fd, struct media_identity *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return false;
	}
	*ret = (struct media_identity){st.st_dev, st.st_ino, st.st_size, st.st_ctim, st.st_mtim};
	return true;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct media_identity *a, const struct media_identity *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       same_time(&a->changed, &b->changed) && same_time(&a->modified, &b->modified);
}

static bool read_all(int fd, uint64_t offset, uint8_t *buffer, size_t length)
{
	while (length > 0) {
		ssize_t n = pread(fd, buffer, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? ENODATA : errno;
			return false;
		}
		buffer += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return true;
}

static bool digest_file(int fd, uint64_t size, uint8_t ret[static MEDIA_DIGEST_BYTES])
{
	g_autofree uint8_t *buffer = g_malloc(PIECE);
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	bool good = EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;

	for (uint64_t at = 0; good && at < size; at += PIECE) {
		size_t length = (size_t)MIN(size - at, (uint64_t)PIECE);

		good = read_all(fd, at, buffer, length) &&
		       EVP_DigestUpdate(digest, buffer, length) == 1;
	}
	int saved = errno;

	good = good && EVP_DigestFinal_ex(digest, ret, NULL) == 1;
	EVP_MD_CTX_free(digest);
	errno = saved;
	return good;
}

static const struct seen *find_seen(struct media_bases *b, const struct media_identity *id)
{
	for (guint i = 0; i < b->seen->len; i++) {
		struct seen *s = &g_array_index(b->seen, struct seen, i);

		if (is_same(&s->identity, id)) {
			s->used = ++b->uses;
			return s;
		}
	}
	return NULL;
}

/* Where the next one is remembered. */
static struct seen *find_place(struct media_bases *b)
{
	guint least = 0;

	if (b->seen->len < REMEMBERED) {
		g_array_set_size(b->seen, b->seen->len + 1);
		return &g_array_index(b->seen, struct seen, b->seen->len - 1);
	}
	for (guint i = 1; i < b->seen->len; i++)
		if (g_array_index(b->seen, struct seen, i).used <
		    g_array_index(b->seen, struct seen, least).used)
			least = i;
	return &g_array_index(b->seen, struct seen, least);
}

/* NULL with errno; EAGAIN if it was written to meanwhile. */
static const struct seen *look_at(struct media_bases *b, int fd, const struct media_identity *id)
{
	struct seen found = {.identity = *id, .used = ++b->uses};
	struct media_identity after;

	if (!digest_file(fd, (uint64_t)id->size, found.digest) || !identify(fd, &after))
		return NULL;
	if (!is_same(id, &after)) {
		errno = EAGAIN;
		return NULL;
	}
	struct seen *place = find_place(b);

	*place = found;
	return place;
}

static const struct seen *find_or_look(struct media_bases *b, int fd,
				       const struct media_identity *id)
{
	const struct seen *s = find_seen(b, id);

	return s ? s : look_at(b, fd, id);
}

static bool replaced(const struct media_record *r, GError **error)
{
	return inox_error_set(error, INOX_ERROR_CONFLICT,
			      "the base ISO '%s' is not the one this boot was made for: it was "
			      "replaced",
			      r->base);
}

static bool check_base(struct media_bases *b, const struct media_record *r, struct media_base *base,
		       GError **error)
{
	if (!identify(base->fd, &base->identity))
		return inox_error_set_errno(error, errno, "look at the base ISO '%s'", r->base);
	if ((uint64_t)base->identity.size != r->size)
		return replaced(r, error);
	const struct seen *s = find_or_look(b, base->fd, &base->identity);

	if (!s)
		return inox_error_set_errno(error, errno, "read the base ISO '%s'", r->base);
	memcpy(base->digest, s->digest, MEDIA_DIGEST_BYTES);
	return memcmp(s->digest, r->digest, MEDIA_DIGEST_BYTES) == 0 || replaced(r, error);
}

bool media_bases_open(struct media_bases *b, const struct media_record *r, struct media_base *ret,
		      GError **error)
{
	struct media_base base = {.bases = b, .fd = media_open(b->root_fd, r->base)};

	if (base.fd < 0)
		return inox_error_set_errno(error, errno, "open the base ISO '%s'", r->base);
	if (!check_base(b, r, &base, error)) {
		media_base_close(&base);
		return false;
	}
	*ret = base;
	return true;
}

void media_base_close(struct media_base *base)
{
	if (base->fd >= 0)
		close(base->fd);
	base->fd = -1;
}

/* A file that lost its name or changed its owner has other times, and the same bytes.  All who read it ask, and one looks. */
static bool is_still(struct media_base *base, const struct media_identity *now)
{
	if (base->identity.size != now->size ||
	    !same_time(&base->identity.modified, &now->modified))
		return false;
	const struct seen *s = find_or_look(base->bases, base->fd, now);

	if (!s)
		return errno == EAGAIN; /* changed once more: the caller sees how */
	if (memcmp(s->digest, base->digest, sizeof(base->digest)) != 0)
		return false;
	base->identity = *now;
	return true;
}

/* Looked at after it was read: what is sent on is from before any change. */
bool media_base_read(struct media_base *base, uint64_t offset, uint8_t *buffer, size_t length,
		     GError **error)
{
	struct media_identity now;

	do {
		if (!read_all(base->fd, offset, buffer, length) || !identify(base->fd, &now))
			return inox_error_set_errno(error, errno, "read the base ISO");
		if (is_same(&base->identity, &now))
			return true;
	} while (is_still(base, &now));
	return inox_error_set(error, INOX_ERROR_CONFLICT,
			      "the base ISO was written to while it was read");
}
