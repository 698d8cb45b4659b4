#include "config_drive.h"

#include <string.h>

#include "errors.h"
#include "limit.h"
#include "unpack.h"

#define TEXT_PIECE   (48 * 1024)
#define MEMORY_LIMIT (1ULL << 20)
#define ISO_SECTOR   2048

struct config_drive {
	char *fetched;    /* body of the URL; NULL: none */
	const char *text; /* base64, or bytes if `binary` */
	size_t length;
	bool binary; /* not base64 */
	bool packed; /* gzip */
	bool iso;
	uint64_t size;
};

/* Where decompressed bytes go. */
struct sink {
	bool (*take)(struct sink *s, const uint8_t *bytes, size_t length, GError **error);
	uint64_t offset; /* bytes so far */
	struct target *target;
	uint64_t start; /* of the partition */
	uint8_t *probe; /* the first LABEL_PROBE bytes */
};

void config_drive_free(struct config_drive *d)
{
	if (!d)
		return;
	g_free(d->fetched);
	g_free(d);
}

uint64_t config_drive_size(const struct config_drive *d)
{
	return d->size;
}

/* ---- decoding in pieces */

static bool drain(struct unpack *u, const uint8_t *in, size_t length, struct sink *s,
		  GError **error)
{
	uint8_t out[16 * 1024];
	bool at_end = length == 0;
	size_t used, got;

	do {
		if (!unpack_step(u, in, length, &used, out, sizeof(out), &got, error) ||
		    !s->take(s, out, got, error))
			return false;
		in += used;
		length -= used;
		s->offset += got;
		if (used == 0 && got == 0 && length > 0)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "there are bytes behind the end of its gzip data");
	} while (length > 0 || (at_end && got > 0));
	return true;
}

static bool pass_piece(const struct config_drive *d, struct unpack *u, const uint8_t *bytes,
		       size_t length, struct sink *s, GError **error)
{
	if (length == 0)
		return true;
	if (d->packed)
		return drain(u, bytes, length, s, error);
	if (!s->take(s, bytes, length, error))
		return false;
	s->offset += length;
	return true;
}

static bool decode(const struct config_drive *d, struct sink *s, GError **error)
{
	g_autoptr(unpack) u = unpack_new(UNPACK_GZIP, MEMORY_LIMIT);
	g_autofree uint8_t *piece = g_malloc(TEXT_PIECE);
	int state = 0;
	unsigned save = 0;

	for (size_t at = 0; at < d->length; at += TEXT_PIECE) {
		size_t length = MIN(TEXT_PIECE, d->length - at);
		const uint8_t *bytes = (const uint8_t *)d->text + at;

		if (!d->binary) {
			length = g_base64_decode_step(d->text + at, length, piece, &state, &save);
			bytes = piece;
		}
		if (!pass_piece(d, u, bytes, length, s, error))
			return false;
	}
	return !d->packed || (drain(u, NULL, 0, s, error) && unpack_finish(u, error));
}

/* ---- first pass: is it whole, how large is it, what is it */

static bool take_probe(struct sink *s, const uint8_t *bytes, size_t length, GError **error)
{
	if (s->offset < LABEL_PROBE)
		memcpy(s->probe + s->offset, bytes, MIN(length, LABEL_PROBE - s->offset));
	if (s->offset + length > CONFIG_DRIVE_PARTITION)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "it is larger than %" G_GUINT64_FORMAT " bytes",
				      (uint64_t)CONFIG_DRIVE_PARTITION);
	return true;
}

static bool is_base64(const char *text, size_t length)
{
	size_t digits = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/\r\n");
	size_t end = digits + strspn(text + digits, "=\r\n");

	return length > 0 && end == length;
}

static bool classify(struct config_drive *d, GError **error)
{
	const uint8_t *bytes = (const uint8_t *)d->text;

	d->binary = !is_base64(d->text, d->length);
	if (d->binary && !d->fetched)
		return inox_error_set(error, INOX_ERROR_INVALID, "it is not valid base64");
	d->packed = !d->binary || unpack_detect(bytes, d->length) == UNPACK_GZIP;
	return true;
}

static bool inspect(struct config_drive *d, GError **error)
{
	g_autofree uint8_t *probe = g_malloc0(LABEL_PROBE);
	struct sink s = {.take = take_probe, .probe = probe};

	if (!classify(d, error) || !decode(d, &s, error))
		return false;
	if (s.offset == 0)
		return inox_error_set(error, INOX_ERROR_INVALID, "it is empty");
	d->size = s.offset;
	d->iso = label_is_iso(probe, (size_t)MIN(s.offset, LABEL_PROBE));
	return true;
}

struct config_drive *config_drive_load(const char *text, const struct fetch_options *options,
				       GError **error)
{
	g_autoptr(config_drive) d = g_new0(struct config_drive, 1);

	d->text = text;
	d->length = strlen(text);
	if (g_ascii_strncasecmp(text, "http://", 7) == 0 ||
	    g_ascii_strncasecmp(text, "https://", 8) == 0) {
		d->fetched = fetch_text(text, options, LIMIT_AGENT_REQUEST, &d->length, error);
		d->text = d->fetched;
		if (!d->fetched)
			return NULL;
	}
	return inspect(d, error) ? g_steal_pointer(&d) : NULL;
}

/* ---- second pass: onto the disk */

static bool take_write(struct sink *s, const uint8_t *bytes, size_t length, GError **error)
{
	return target_write(s->target, s->start + s->offset, bytes, length, error);
}

static bool is_config_drive(struct target *t, const struct label_partition *p, uint8_t *probe,
			    bool *ret_is, GError **error)
{
	size_t length = (size_t)MIN(p->length, LABEL_PROBE);

	if (!target_read(t, p->start, probe, length, error))
		return false;
	g_autofree char *name = label_probe_filesystem(probe, length);

	*ret_is = name && g_ascii_strcasecmp(name, CONFIG_DRIVE_LABEL) == 0;
	return true;
}

/* *ret_found is NULL if the image has none. */
static bool find_partition(struct target *t, const struct label *l,
			   const struct label_partition **ret_found, GError **error)
{
	g_autofree uint8_t *probe = g_malloc(LABEL_PROBE);
	const struct label_partition *found = NULL;

	for (unsigned i = 0; i < l->count; i++) {
		bool is;

		if (!is_config_drive(t, &l->partitions[i], probe, &is, error))
			return false;
		if (is && found)
			return inox_error_set(
				error, INOX_ERROR_CONFLICT,
				"the image has two partitions labelled %s (%u and %u)",
				CONFIG_DRIVE_LABEL, found->number, l->partitions[i].number);
		if (is)
			found = &l->partitions[i];
	}
	*ret_found = found;
	return true;
}

bool config_drive_write(const struct config_drive *d, struct target *t, struct label *l,
			GError **error)
{
	const struct label_partition *found = NULL;
	struct label_partition p;

	if (d->iso && target_sector(t) > ISO_SECTOR)
		return inox_error_set(
			error, INOX_ERROR_UNSUPPORTED,
			"an ISO image cannot be mounted from a disk with sectors of %u "
			"bytes",
			target_sector(t));
	if (!find_partition(t, l, &found, error))
		return false;
	if (found)
		p = *found;
	else if (!label_add_last(l, target_peek_head(t), CONFIG_DRIVE_PARTITION, &p, error))
		return false;
	if (d->size > p.length)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "it has %" G_GUINT64_FORMAT
				      " bytes, but the image's own partition for it only "
				      "%" G_GUINT64_FORMAT,
				      d->size, p.length);

	struct sink s = {.take = take_write, .target = t, .start = p.start};

	return decode(d, &s, error);
}
