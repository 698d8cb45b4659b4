/* write_image.c: the deploy step write_image, from arguments to a disk that boots.
 *
 *  1. arguments, disk, config drive and checksum file are checked: the disk is untouched until all fit
 *  2. conceal: zeros over both ends of the disk, flushed: what was there before boots no more
 *  3. download, decompress, hash, write (pipeline.h); size and digest must match; flush
 *  4. partition table read from the head in memory; config drive written behind it, still concealed
 *  5. backup of the GPT moved to the end of the disk, flush, head, flush: now it boots
 *  6. the kernel reads the new table
 *
 * A failure or a power cut anywhere before the last write of 5 leaves a disk without partition table and
 * boot sector.
 */
#include "write_image.h"

#include <string.h>

#include "agent_options.h"
#include "config_drive.h"
#include "disk.h"
#include "errors.h"
#include "fetch.h"
#include "hints.h"
#include "image_info.h"
#include "jsons.h"
#include "label.h"
#include "pipeline.h"
#include "reread.h"
#include "target.h"

#define WAIT_SLICE_US (200 * 1000)

/* Kernel arguments, with the stock agent's names and defaults where it has them. */
struct image_options {
	bool insecure, allow_weak;
	char *ca_file;
	unsigned stall_s, retries, retry_pause_s;
	unsigned disk_tries, disk_pause_s;
};

struct work {
	struct command_context *context;
	struct image_options options;
	int stop; /* set when a stage of the pipeline failed */
};

/* ---- kernel arguments */

static unsigned read_unsigned(const char *text, unsigned otherwise)
{
	guint64 value;

	return g_ascii_string_to_unsigned(text, 10, 0, 1000000, &value, NULL) ? (unsigned)value
									      : otherwise;
}

static bool is_true(const char *text)
{
	return g_str_equal(text, "1") || g_ascii_strcasecmp(text, "true") == 0 ||
	       g_ascii_strcasecmp(text, "yes") == 0;
}

static void take_arguments(struct image_options *o, GHashTable *arguments)
{
	const struct {
		const char *name;
		unsigned *number;
		bool *flag;
		char **text;
	} table[] = {
		{"ipa-insecure", .flag = &o->insecure},
		{"ipa-md5-enabled", .flag = &o->allow_weak},
		{"inox-ca-file", .text = &o->ca_file},
		{"ipa-image-download-connection-timeout", .number = &o->stall_s},
		{"ipa-image-download-connection-retries", .number = &o->retries},
		{"ipa-image-download-connection-retry-interval", .number = &o->retry_pause_s},
		{"ipa-disk-wait-attempts", .number = &o->disk_tries},
		{"ipa-disk-wait-delay", .number = &o->disk_pause_s},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		const char *value = g_hash_table_lookup(arguments, table[i].name);

		if (value && table[i].number)
			*table[i].number = read_unsigned(value, *table[i].number);
		if (value && table[i].flag)
			*table[i].flag = is_true(value);
		if (value && table[i].text)
			*table[i].text = g_strdup(value);
	}
}

static void read_options(struct image_options *o, const char *root)
{
	g_autofree char *path = g_build_filename(root, "proc/cmdline", NULL);
	g_autofree char *text = NULL;

	*o = (struct image_options){.stall_s = 60, .retries = 9, .retry_pause_s = 10};
	o->disk_tries = g_str_equal(root, "/") ? 10 : 1;
	o->disk_pause_s = 3;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return;
	g_autoptr(GHashTable) arguments = agent_options_split(text);

	take_arguments(o, arguments);
}

static bool is_cancelled(void *ctx)
{
	struct work *w = ctx;

	return g_atomic_int_get(&w->stop) != 0 || command_is_cancelled(w->context);
}

static struct fetch_options fetch_options_of(struct work *w, const struct image_info *info)
{
	return (struct fetch_options){
		.ca_file = w->options.ca_file,
		.insecure = w->options.insecure,
		.authorization = secret_peek(info->authorization),
		.proxy = info->proxy,
		.stall_s = w->options.stall_s,
		.retries = w->options.retries,
		.retry_pause_ms = w->options.retry_pause_s * 1000,
		.cancelled = is_cancelled,
		.ctx = w,
	};
}

/* ---- the disk */

static bool pause_for_disks(struct work *w)
{
	for (uint64_t us = 0; us < (uint64_t)w->options.disk_pause_s * G_USEC_PER_SEC;
	     us += WAIT_SLICE_US) {
		if (is_cancelled(w))
			return false;
		g_usleep(WAIT_SLICE_US);
	}
	return true;
}

/* Disks may still be on their way when the agent is already up.  Returns the list, which owns *ret_disk. */
static GPtrArray *find_disk(struct work *w, const json_t *node, const struct disk **ret_disk,
			    struct agent_error *error)
{
	const json_t *hints = hints_of_node(node);

	for (unsigned tries = 1;; tries++) {
		g_autoptr(GError) reason = NULL;
		g_autoptr(GPtrArray) disks = disk_list(command_peek_root(w->context), &reason);
		const struct disk *d = disks ? hints_choose(hints, disks, &reason) : NULL;

		if (d) {
			*ret_disk = d;
			return g_steal_pointer(&disks);
		}
		if (g_error_matches(reason, INOX_ERROR, INOX_ERROR_INVALID) ||
		    tries >= w->options.disk_tries || !pause_for_disks(w)) {
			agent_error_set_reason(error, AGENT_ERROR_DEVICE_NOT_FOUND, reason);
			return NULL;
		}
	}
}

static struct target *open_disk(struct work *w, const struct disk *d, struct agent_error *error)
{
	g_autofree char *sysfs =
		g_build_filename(command_peek_root(w->context), "sys/block", d->kernel, NULL);
	const struct target_place place = {.name = d->name, .path = d->path, .sysfs = sysfs};
	g_autoptr(GError) reason = NULL;
	g_autoptr(target) t = target_open(&place, &reason);

	if (t && target_conceal(t, &reason))
		return g_steal_pointer(&t);
	agent_error_set_reason(error, AGENT_ERROR_IMAGE_WRITE, reason);
	return NULL;
}

/* ---- the image */

static bool read_fetch(void *source, void *buffer, size_t length, size_t *ret_got, GError **error)
{
	return fetch_read(source, buffer, length, ret_got, error);
}

static void report(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	struct work *w = ctx;

	command_progress(w->context, phase, done, total);
}

/* The first URL that answers; a server that refuses ends it. */
static struct fetch *open_image(struct work *w, const struct image_info *info,
				struct agent_error *error)
{
	const struct fetch_options options = fetch_options_of(w, info);
	g_autoptr(GError) reason = NULL;
	struct fetch *f = NULL;

	for (char **url = info->urls; *url && !f; url++) {
		bool again = !reason || g_error_matches(reason, INOX_ERROR, INOX_ERROR_TIMEOUT) ||
			     g_error_matches(reason, INOX_ERROR, INOX_ERROR_UNAVAILABLE);

		if (!again)
			break;
		g_clear_error(&reason);
		f = fetch_open(*url, &options, &reason);
	}
	if (!f)
		agent_error_set(error,
				g_error_matches(reason, INOX_ERROR, INOX_ERROR_TIMEOUT)
					? AGENT_ERROR_IMAGE_DOWNLOAD_TIMEOUT
					: AGENT_ERROR_IMAGE_DOWNLOAD,
				"Download of image %s failed: %s", info->id,
				reason ? reason->message : "it has no URL");
	return f;
}

static bool write_content(struct work *w, const struct image_info *info, struct target *t,
			  struct agent_error *error)
{
	g_autoptr(fetch) f = open_image(w, info, error);
	struct pipeline_result result;

	if (!f)
		return false;

	const struct pipeline_plan plan = {
		.read = read_fetch,
		.source = f,
		.total = fetch_total(f),
		.target = t,
		.downloaded = info->downloaded,
		.image = info->image,
		.image_id = info->id,
		.stop = &w->stop,
		.cancelled = is_cancelled,
		.progress = report,
		.ctx = w,
	};

	return pipeline_run(&plan, &result, error);
}

/* Steps 4 to 6.  The disk is concealed until target_reveal(). */
static bool complete(struct work *w, struct target *t, const struct disk *d,
		     const struct config_drive *drive, struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	g_autofree struct label *l = g_new0(struct label, 1);

	if (!label_read(target_peek_head(t), target_size(t), target_sector(t), l, &reason)) {
		agent_error_set(error, AGENT_ERROR_DEPLOYMENT,
				"No partitions found on the device %s after writing the image: %s.",
				d->name, reason->message);
		return false;
	}
	if (drive) {
		command_progress(w->context, "config drive", 0, config_drive_size(drive));
		if (!config_drive_write(drive, t, l, &reason)) {
			agent_error_set(error, AGENT_ERROR_DEPLOYMENT,
					"The config drive cannot be written to %s: %s", d->name,
					reason->message);
			return false;
		}
	}
	if (!label_finish(l, target_peek_head(t), target_peek_tail(t), &reason) ||
	    !target_reveal(t, &reason)) {
		agent_error_set_reason(error, AGENT_ERROR_IMAGE_WRITE, reason);
		return false;
	}
	if (!reread_partitions(target_peek_fd(t), l, &reason)) {
		agent_error_set(error, AGENT_ERROR_DEPLOYMENT,
				"The partitions of %s cannot be read after writing the image: %s.",
				d->name, reason->message);
		return false;
	}
	return true;
}

static json_t *make_result(struct work *w, const struct image_info *info, const struct disk *d,
			   const uint8_t *head)
{
	g_autofree char *root_uuid = label_disk_id(head);
	g_autofree char *sentence =
		g_strdup_printf("prepare_image: image (%s) written to device %s root_uuid=%s",
				info->id, d->name, root_uuid);

	command_record_partitions(w->context, json_pack("{s:s}", "root uuid", root_uuid));
	return json_pack("{s:s}", "result", sentence);
}

/* The config drive is loaded before the disk is touched.  *ret_drive is NULL if there is none. */
static bool load_drive(struct work *w, const struct image_info *info, const json_t *args,
		       struct config_drive **ret_drive, struct agent_error *error)
{
	const char *text = json_peek_string(args, "configdrive");
	struct fetch_options options = fetch_options_of(w, info);
	g_autoptr(GError) reason = NULL;

	options.proxy = NULL;
	options.authorization = NULL;
	if (!text)
		text = info->config_drive;
	*ret_drive = NULL;
	if (!text || !*text)
		return true;
	*ret_drive = config_drive_load(text, &options, &reason);
	if (!*ret_drive)
		agent_error_set(error, AGENT_ERROR_DEPLOYMENT,
				"The config drive cannot be used: %s", reason->message);
	return *ret_drive != NULL;
}

static json_t *write_image(struct work *w, const json_t *args, const json_t *node,
			   struct agent_error *error)
{
	g_auto(image_info) info = {.id = NULL};
	g_autoptr(config_drive) drive = NULL;
	g_autoptr(GPtrArray) disks = NULL;
	g_autoptr(target) t = NULL;
	const struct disk *d;

	if (!image_info_parse(json_object_get(args, "image_info"), w->options.allow_weak, &info,
			      error))
		return NULL;
	disks = find_disk(w, node, &d, error);
	if (!disks || !load_drive(w, &info, args, &drive, error))
		return NULL;

	const struct fetch_options options = fetch_options_of(w, &info);

	if (!image_info_resolve(&info, &options, error))
		return NULL;
	t = open_disk(w, d, error);
	if (!t)
		return NULL;
	if (!write_content(w, &info, t, error) || !complete(w, t, d, drive, error)) {
		/* What is reported as failed must not boot, even if only the very last step failed. */
		(void)!target_conceal(t, NULL);
		return NULL;
	}
	return make_result(w, &info, d, target_peek_head(t));
}

json_t *step_write_image(struct command_context *context, const json_t *args, const json_t *node,
			 struct agent_error *error)
{
	struct work w = {.context = context};
	json_t *result;

	read_options(&w.options, command_peek_root(context));
	result = write_image(&w, args, node, error);
	g_free(w.options.ca_file);
	return result;
}
