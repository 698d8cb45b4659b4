/* erase.c: wiping disks.  A disk that cannot be wiped is never passed over in silence: the step goes on with
 * the others, so that as little as possible is left, and then fails with the names of all that failed. */
#include "erase.h"

#include <linux/fs.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "disk.h"
#include "erase_options.h"
#include "errors.h"
#include "hints.h"
#include "jsons.h"
#include "label.h"
#include "log.h"
#include "reread.h"
#include "secure_erase.h"
#include "target.h"

#define PIECE         (64ULL << 20) /* between two looks at cancellation; flushed and read back */
#define CHUNK         (1U << 20)
#define PROBE         4096
#define SECTOR        512 /* the unit of sysfs */
#define DISK_TRIES    10
#define DISK_PAUSE_MS 3000
#define SLICE_MS      200
#define MARKS         3
#define CIPHER_KEY    32 /* bytes, AES-256 */
#define CIPHER_START  16

struct erasure {
	struct command_context *context;
	const json_t *node;
	struct erase_options options;
	uint64_t done, total;   /* bytes of all disks and passes */
	uint8_t *zeros, *chunk; /* CHUNK bytes each; the second one aligned */
	EVP_CIPHER_CTX *stream; /* random bytes, as fast as a disk takes them */
	uint8_t marks[MARKS][PROBE];
};

typedef bool (*wipe_fn)(struct erasure *e, struct target *t, const struct disk *d, GError **error);

static bool check_cancelled(const struct erasure *e, GError **error)
{
	return !command_is_cancelled(e->context) ||
	       inox_error_set(error, INOX_ERROR_IO, "the agent is ending");
}

/* ---- zeros */

static bool put_zeros(struct erasure *e, struct target *t, uint64_t start, uint64_t end,
		      GError **error)
{
	for (; start < end; start += MIN(CHUNK, end - start))
		if (!target_write(t, start, e->zeros, (size_t)MIN(CHUNK, end - start), error))
			return false;
	return true;
}

/* First and last MiB: file systems, LVM and RAID keep what they are found by there. */
static bool wipe_partition(struct erasure *e, struct target *t, uint64_t start, uint64_t length,
			   GError **error)
{
	uint64_t size = target_size(t);

	if (start >= size || length > size - start)
		return true; /* a table that lies is wiped with the disk */
	uint64_t edge = MIN(length, CHUNK);

	return put_zeros(e, t, start, start + edge, error) &&
	       put_zeros(e, t, start + length - edge, start + length, error);
}

static bool wipe_listed(struct erasure *e, struct target *t, GError **error)
{
	g_autofree struct label *l = g_new0(struct label, 1);

	if (!target_load_head(t, error))
		return false;
	if (!label_read(target_peek_head(t), target_size(t), target_sector(t), l, NULL))
		return true; /* no table that can be read */
	for (unsigned i = 0; i < l->count; i++)
		if (!wipe_partition(e, t, l->partitions[i].start, l->partitions[i].length, error))
			return false;
	return true;
}

static bool read_sectors(const char *folder, const char *name, uint64_t *ret_bytes)
{
	g_autofree char *text = disk_read_attribute(folder, name);
	guint64 sectors;

	if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64 / SECTOR, &sectors, NULL))
		return false;
	*ret_bytes = sectors * SECTOR;
	return true;
}

/* What the kernel knows: logical partitions, and those of a table that only its backup still has. */
static bool wipe_known(struct erasure *e, struct target *t, const struct disk *d, GError **error)
{
	g_autofree char *sysfs =
		g_build_filename(command_peek_root(e->context), "sys/block", d->kernel, NULL);
	g_autoptr(GDir) dir = g_dir_open(sysfs, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir))) {
		g_autofree char *folder = g_build_filename(sysfs, entry, NULL);
		g_autofree char *number = disk_read_attribute(folder, "partition");
		uint64_t start, length;

		if (number && read_sectors(folder, "start", &start) &&
		    read_sectors(folder, "size", &length) &&
		    !wipe_partition(e, t, start, length, error))
			return false;
	}
	return true;
}

/* Partitions first: as long as the table is there, a step that was cut off can be done again. */
static bool wipe_metadata(struct erasure *e, struct target *t, const struct disk *d, GError **error)
{
	return check_cancelled(e, error) && wipe_listed(e, t, error) &&
	       wipe_known(e, t, d, error) && target_flush(t, error) && target_conceal(t, error);
}

/* Where a disk can forget for good, it does; then zeros are written anyway, which every disk can. */
static bool discard_securely(struct target *t, uint64_t start, uint64_t end)
{
	uint64_t range[2] = {start, end - start};
	struct stat st;

	return fstat(target_peek_fd(t), &st) == 0 && S_ISBLK(st.st_mode) &&
	       ioctl(target_peek_fd(t), BLKSECDISCARD, range) == 0;
}

static bool check_zero(struct target *t, const struct disk *d, uint64_t offset, GError **error)
{
	uint8_t bytes[PROBE];

	if (!target_read(t, offset, bytes, sizeof(bytes), error))
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++)
		if (bytes[i])
			return inox_error_set(error, INOX_ERROR_IO,
					      "the disk %s does not read as zeros after it was "
					      "erased, at byte %" G_GUINT64_FORMAT,
					      d->name, offset + i);
	return true;
}

static void note_progress(struct erasure *e, uint64_t bytes)
{
	e->done += bytes;
	command_progress(e->context, "erase", e->done, e->total);
}

/* ---- random bytes */

static bool start_stream(struct erasure *e, GError **error)
{
	uint8_t seed[CIPHER_KEY + CIPHER_START];

	e->stream = EVP_CIPHER_CTX_new();
	return (e->stream && RAND_bytes(seed, sizeof(seed)) == 1 &&
		EVP_EncryptInit_ex(e->stream, EVP_aes_256_ctr(), NULL, seed, seed + CIPHER_KEY) ==
			1) ||
	       inox_error_set(error, INOX_ERROR_IO, "there are no random bytes");
}

static const uint8_t *next_chunk(struct erasure *e)
{
	int length;
	int good = EVP_EncryptUpdate(e->stream, e->chunk, &length, e->zeros, CHUNK);

	g_assert(good == 1 && length == CHUNK);
	return e->chunk;
}

static bool put_random(struct erasure *e, struct target *t, uint64_t start, uint64_t end,
		       GError **error)
{
	for (; start < end; start += MIN(CHUNK, end - start))
		if (!target_write(t, start, next_chunk(e), (size_t)MIN(CHUNK, end - start), error))
			return false;
	return true;
}

static bool pass_of_random(struct erasure *e, struct target *t, GError **error)
{
	uint64_t size = target_size(t);

	for (uint64_t start = 0; start < size; start += MIN(PIECE, size - start)) {
		uint64_t end = start + MIN(PIECE, size - start);

		if (!check_cancelled(e, error) || !put_random(e, t, start, end, error) ||
		    !target_flush(t, error))
			return false;
		note_progress(e, end - start);
	}
	/* Chance must not make a boot sector. */
	memset(target_peek_head(t) + SECTOR - 2, 0, 2);
	return target_reveal(t, error);
}

static bool pass_of_zeros(struct erasure *e, struct target *t, const struct disk *d, GError **error)
{
	uint64_t size = target_size(t);
	bool discards = true;

	for (uint64_t start = 0; start < size; start += MIN(PIECE, size - start)) {
		uint64_t end = start + MIN(PIECE, size - start);

		if (!check_cancelled(e, error))
			return false;
		discards = discards && discard_securely(t, start, end);
		if (!put_zeros(e, t, start, end, error) || !target_flush(t, error) ||
		    !check_zero(t, d, end - PROBE, error) || !check_zero(t, d, start, error))
			return false;
		note_progress(e, end - start);
	}
	return true;
}

/* The edges are zeros between and behind the passes: no part of an old table, and no chance of a new one. */
static bool overwrite(struct erasure *e, struct target *t, const struct disk *d, GError **error)
{
	for (unsigned i = 0; i < e->options.iterations; i++)
		if (!pass_of_random(e, t, error) || !target_conceal(t, error))
			return false;
	if (e->options.zeroize && !pass_of_zeros(e, t, d, error))
		return false;
	/* Again: the secure discard of their pieces may have brought anything. */
	return target_conceal(t, error);
}

/* ---- disks that forget by themselves */

static uint64_t place_of_mark(const struct target *t, unsigned i)
{
	return target_size(t) / (MARKS + 1) * (i + 1) / PROBE * PROBE;
}

/* Drives are known that say they erased themselves and did not. */
static bool put_marks(struct erasure *e, struct target *t, GError **error)
{
	for (unsigned i = 0; i < MARKS; i++) {
		memcpy(e->marks[i], next_chunk(e), PROBE);
		if (!target_write(t, place_of_mark(t, i), e->marks[i], PROBE, error))
			return false;
	}
	return target_flush(t, error);
}

static bool check_marks(struct erasure *e, struct target *t, const struct disk *d, GError **error)
{
	uint8_t bytes[PROBE];

	(void)ioctl(target_peek_fd(t), BLKFLSBUF, 0);
	for (unsigned i = 0; i < MARKS; i++) {
		if (!target_read(t, place_of_mark(t, i), bytes, PROBE, error))
			return false;
		if (memcmp(bytes, e->marks[i], PROBE) == 0)
			return inox_error_set(error, INOX_ERROR_IO,
					      "the disk %s says that it erased itself, and still "
					      "has the old bytes at %" G_GUINT64_FORMAT,
					      d->name, place_of_mark(t, i));
	}
	return true;
}

/* Whether nvme0n1 is the only namespace of nvme0. */
static bool is_alone(const struct erasure *e, const struct disk *d)
{
	const char *namespace = strrchr(d->kernel, 'n');
	size_t length = namespace ? (size_t)(namespace - d->kernel) + 1 : 0;
	g_autofree char *sysfs = g_build_filename(command_peek_root(e->context), "sys/block", NULL);
	g_autoptr(GDir) dir = g_dir_open(sysfs, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir)))
		if (strncmp(entry, d->kernel, length) == 0 && !g_str_equal(entry, d->kernel))
			return false;
	return true;
}

/* *ret_done is false, without an error, for a disk that has no such command or may not be asked. */
static bool erase_itself(struct erasure *e, struct target *t, const struct disk *d, bool *ret_done,
			 GError **error)
{
	bool nvme = g_str_has_prefix(d->kernel, "nvme");
	const struct secure_disk disk = {.fd = target_peek_fd(t),
					 .name = d->name,
					 .alone = is_alone(e, d),
					 .call = secure_erase_ioctl};

	*ret_done = nvme;
	if (nvme ? !e->options.nvme : !e->options.ata) {
		*ret_done = false;
		return true;
	}
	command_progress(e->context, "secure erase", e->done, e->total);
	if (!put_marks(e, t, error) ||
	    !(nvme ? secure_erase_nvme(&disk, error) : secure_erase_ata(&disk, ret_done, error)))
		return false;
	if (!*ret_done)
		return true;
	log_notice(NULL, "the disk has erased itself", F_STR("disk", d->name),
		   F_STR("by", nvme ? "NVMe format" : "ATA security erase"));
	return check_marks(e, t, d, error) && target_conceal(t, error);
}

static bool wipe_all(struct erasure *e, struct target *t, const struct disk *d, GError **error)
{
	g_autoptr(GError) reason = NULL;
	unsigned passes = e->options.iterations + e->options.zeroize;
	bool done = false;

	if (!check_cancelled(e, error) || !target_conceal(t, error))
		return false;
	if (!erase_itself(e, t, d, &done, &reason)) {
		if (!e->options.go_on) {
			g_propagate_error(error, g_steal_pointer(&reason));
			return false;
		}
		done = false;
		log_warn(NULL, "a disk could not erase itself, and is overwritten",
			 F_STR("disk", d->name), F_ERR(reason));
	}
	if (!done)
		return overwrite(e, t, d, error);
	note_progress(e, passes * d->size);
	return true;
}

/* ---- which disks */

static bool is_virtual_floppy(const struct erasure *e, const struct disk *d)
{
	const char *root = command_peek_root(e->context);
	g_autofree char *link = g_build_filename(root, "dev/disk/by-label/ir-vfd-dev", NULL);
	g_autofree char *there = g_file_read_link(link, NULL);
	g_autofree char *name = there ? g_path_get_basename(there) : NULL;

	return name && g_str_equal(name, d->kernel);
}

/* A list of hints that is no such list must not end in a wiped disk: it is an error. */
static bool check_skip_list(const json_t *list, GError **error)
{
	if (list && !json_is_null(list) && !json_is_array(list))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "properties.skip_block_devices is not a list");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!hints_check(json_array_get(list, i), error)) {
			g_prefix_error(error, "properties.skip_block_devices[%zu]: ", i);
			return false;
		}
	return true;
}

static const json_t *skip_list(const struct erasure *e)
{
	return json_object_get(json_object_get(e->node, "properties"), "skip_block_devices");
}

static bool is_skipped(const struct erasure *e, const struct disk *d)
{
	const json_t *list = skip_list(e);

	for (size_t i = 0; i < json_array_size(list); i++)
		if (hints_match(json_array_get(list, i), d))
			return true;
	return is_virtual_floppy(e, d);
}

static bool pause_for_disks(const struct erasure *e)
{
	for (unsigned ms = 0; ms < DISK_PAUSE_MS; ms += SLICE_MS) {
		if (command_is_cancelled(e->context))
			return false;
		g_usleep((gulong)SLICE_MS * 1000);
	}
	return true;
}

/* Disks may still be on their way when the agent is already up, and none wiped is no success. */
static GPtrArray *find_disks(const struct erasure *e, GError **error)
{
	const char *root = command_peek_root(e->context);
	unsigned tries = g_str_equal(root, "/") ? DISK_TRIES : 1;

	for (;;) {
		g_autoptr(GPtrArray) disks = disk_list(root, error);

		if (!disks || disks->len > 0)
			return g_steal_pointer(&disks);
		if (--tries == 0 || !pause_for_disks(e))
			break;
	}
	inox_error_set(error, INOX_ERROR_NOT_FOUND, "the machine has no disk to erase");
	return NULL;
}

/* ---- one after the other */

static bool erase_disk(struct erasure *e, const struct disk *d, wipe_fn wipe, GError **error)
{
	g_autofree char *sysfs =
		g_build_filename(command_peek_root(e->context), "sys/block", d->kernel, NULL);
	const struct target_place place = {.name = d->name, .path = d->path, .sysfs = sysfs};
	g_autoptr(target) t = target_open(&place, error);
	g_autofree struct label *empty = g_new0(struct label, 1);

	if (!t || !wipe(e, t, d, error))
		return false;
	/* The disk is wiped, whether or not the kernel gives up its partitions at once. */
	(void)!reread_partitions(target_peek_fd(t), empty, NULL);
	return true;
}

static void note_failure(GString *failures, const char *sentence)
{
	g_string_append_printf(failures, "%s%s", failures->len ? "; " : "", sentence);
}

/* The read-only disks are left out, or named in `failures`. */
static GPtrArray *choose(struct erasure *e, const GPtrArray *disks, bool refuse_read_only,
			 GString *failures)
{
	GPtrArray *chosen = g_ptr_array_new();
	unsigned passes = e->options.iterations + e->options.zeroize;

	for (guint i = 0; i < disks->len; i++) {
		struct disk *d = disks->pdata[i];
		g_autofree char *sentence = g_strdup_printf("the disk %s is read-only", d->name);

		if (is_skipped(e, d))
			continue;
		if (d->read_only && refuse_read_only)
			note_failure(failures, sentence);
		if (d->read_only)
			continue;
		g_ptr_array_add(chosen, d);
		e->total += passes * d->size;
	}
	return chosen;
}

/* {"/dev/sda": null, ...} */
static json_t *erase_all(struct erasure *e, wipe_fn wipe, bool refuse_read_only,
			 struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	g_autoptr(GPtrArray) disks = NULL;
	g_autoptr(json_t) done = json_object();

	if (!check_skip_list(skip_list(e), &reason)) {
		agent_error_set_reason(error, AGENT_ERROR_INVALID_PARAMS, reason);
		return NULL;
	}
	disks = find_disks(e, &reason);
	if (!disks) {
		agent_error_set_reason(error, AGENT_ERROR_DEVICE_NOT_FOUND, reason);
		return NULL;
	}
	GString *failures = g_string_new(NULL);
	g_autoptr(GPtrArray) chosen = choose(e, disks, refuse_read_only, failures);

	for (guint i = 0; i < chosen->len; i++) {
		const struct disk *d = chosen->pdata[i];
		g_autoptr(GError) failure = NULL;

		if (erase_disk(e, d, wipe, &failure))
			json_object_set_new(done, d->name, json_null());
		else
			note_failure(failures, failure->message);
	}
	bool good = failures->len == 0;

	if (!good)
		agent_error_set(error, AGENT_ERROR_ERASE, "%s", failures->str);
	g_string_free(failures, TRUE);
	return good ? g_steal_pointer(&done) : NULL;
}

static json_t *run(struct command_context *context, const json_t *node,
		   const struct erase_options *options, wipe_fn wipe, bool refuse_read_only,
		   struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	g_autofree uint8_t *zeros = g_malloc0(CHUNK);
	struct erasure e = {
		.context = context,
		.node = node,
		.options = *options,
		.zeros = zeros,
		.chunk = aligned_alloc(TARGET_ALIGN, CHUNK),
	};
	json_t *done = NULL;

	g_assert(e.chunk);
	if (start_stream(&e, &reason))
		done = erase_all(&e, wipe, refuse_read_only, error);
	else
		agent_error_set_reason(error, AGENT_ERROR_ERASE, reason);
	EVP_CIPHER_CTX_free(e.stream);
	free(e.chunk);
	return done;
}

json_t *step_erase_devices_metadata(struct command_context *context, const json_t *args,
				    const json_t *node, struct agent_error *error)
{
	const struct erase_options options = {.zeroize = true};
	json_t *done = run(context, node, &options, wipe_metadata, false, error);

	(void)args;
	if (!done)
		return NULL;
	json_decref(done);
	return json_null();
}

json_t *step_erase_devices(struct command_context *context, const json_t *args, const json_t *node,
			   struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	struct erase_options options;

	(void)args;
	if (erase_options_read(node, &options, &reason))
		return run(context, node, &options, wipe_all, !options.skip_read_only, error);
	agent_error_set_reason(error, AGENT_ERROR_INVALID_PARAMS, reason);
	return NULL;
}
