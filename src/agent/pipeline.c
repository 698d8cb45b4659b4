#include "pipeline.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "errors.h"
#include "image_format.h"
#include "unpack.h"

#define NS_PER_S 1000000000L
#define QUEUE_WAIT_NS \
	(200L * 1000 * 1000) /* how often a waiting stage looks whether it was cancelled */
#define MEMORY_LIMIT_MAX (160ULL << 20)
#define MEMORY_LIMIT_MIN (8ULL << 20)

struct buffer {
	struct queue *home; /* where it is free */
	size_t length;
	uint8_t *bytes;
};

/* A bounded queue: its buffers are either free, under way or in somebody's hands. */
struct queue {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct buffer buffers[PIPELINE_BUFFERS];
	struct buffer *free[PIPELINE_BUFFERS];
	unsigned free_count;
	/* Under way: of both queues' buffers, as raw images pass through without a copy. */
	struct buffer *full[2 * PIPELINE_BUFFERS];
	unsigned first, full_count;
	bool ended;
};

struct pipeline {
	const struct pipeline_plan *plan;
	struct queue compressed, image;
	pthread_mutex_t lock; /* guards failed and error */
	bool failed;
	struct agent_error error;
	/* Each is one thread's until the threads have ended. */
	uint64_t downloaded, written;
	bool detected;
	enum unpack_format format;
	struct digest *downloaded_digest, *image_digest;
};

/* ---- giving up */

static void fail(struct pipeline *p, enum agent_error_class class, const GError *reason)
{
	pthread_mutex_lock(&p->lock);
	bool download =
		class == AGENT_ERROR_IMAGE_DOWNLOAD || class == AGENT_ERROR_IMAGE_DOWNLOAD_TIMEOUT;

	if (!p->failed && download)
		agent_error_set(&p->error, class, "Download of image %s failed: %s",
				p->plan->image_id, reason->message);
	else if (!p->failed)
		agent_error_set_reason(&p->error, class, reason);
	p->failed = true;
	if (p->plan->stop)
		g_atomic_int_set(p->plan->stop, 1);
	pthread_mutex_unlock(&p->lock);
}

static bool has_failed(struct pipeline *p)
{
	pthread_mutex_lock(&p->lock);
	bool failed = p->failed;
	pthread_mutex_unlock(&p->lock);

	if (!failed && p->plan->cancelled && p->plan->cancelled(p->plan->ctx)) {
		g_autoptr(GError) reason = NULL;

		inox_error_set(&reason, INOX_ERROR_BUSY, "the agent is about to end");
		fail(p, AGENT_ERROR_EXECUTION, reason);
		failed = true;
	}
	return failed;
}

/* ---- queues */

static void queue_init(struct queue *q)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&q->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&q->lock, NULL);
	for (unsigned i = 0; i < PIPELINE_BUFFERS; i++) {
		q->buffers[i].home = q;
		q->buffers[i].bytes = aligned_alloc(TARGET_ALIGN, PIPELINE_BUFFER);
		g_assert(q->buffers[i].bytes);
		q->free[q->free_count++] = &q->buffers[i];
	}
}

static void queue_clear(struct queue *q)
{
	for (unsigned i = 0; i < PIPELINE_BUFFERS; i++)
		free(q->buffers[i].bytes);
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->lock);
}

/* With q->lock held. */
static void queue_wait(struct queue *q)
{
	struct timespec due;

	clock_gettime(CLOCK_MONOTONIC, &due);
	due.tv_nsec += QUEUE_WAIT_NS;
	if (due.tv_nsec >= NS_PER_S) {
		due.tv_nsec -= NS_PER_S;
		due.tv_sec++;
	}
	pthread_cond_timedwait(&q->changed, &q->lock, &due);
}

/* NULL when the pipeline has failed. */
static struct buffer *take_free(struct pipeline *p, struct queue *q)
{
	struct buffer *b = NULL;

	while (!b && !has_failed(p)) {
		pthread_mutex_lock(&q->lock);
		if (q->free_count == 0)
			queue_wait(q);
		if (q->free_count > 0)
			b = q->free[--q->free_count];
		if (b)
			b->length = 0;
		pthread_mutex_unlock(&q->lock);
	}
	return b;
}

static void give_back(struct buffer *b)
{
	struct queue *q = b->home;

	pthread_mutex_lock(&q->lock);
	q->free[q->free_count++] = b;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
}

static void push(struct queue *q, struct buffer *b)
{
	pthread_mutex_lock(&q->lock);
	q->full[(q->first + q->full_count++) % G_N_ELEMENTS(q->full)] = b;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
}

static void push_end(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->ended = true;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
}

/* NULL at the end, or when the pipeline has failed. */
static struct buffer *pull(struct pipeline *p, struct queue *q)
{
	struct buffer *b = NULL;
	bool ended = false;

	while (!b && !ended && !has_failed(p)) {
		pthread_mutex_lock(&q->lock);
		if (q->full_count == 0 && !q->ended)
			queue_wait(q);
		if (q->full_count > 0) {
			b = q->full[q->first];
			q->first = (q->first + 1) % G_N_ELEMENTS(q->full);
			q->full_count--;
		} else {
			ended = q->ended;
		}
		pthread_mutex_unlock(&q->lock);
	}
	return b;
}

/* ---- first stage: download */

static enum agent_error_class class_of_read(const GError *reason)
{
	return g_error_matches(reason, INOX_ERROR, INOX_ERROR_TIMEOUT)
		       ? AGENT_ERROR_IMAGE_DOWNLOAD_TIMEOUT
		       : AGENT_ERROR_IMAGE_DOWNLOAD;
}

/* Fills the buffer unless the source ends. */
static bool fill(struct pipeline *p, struct buffer *b, GError **error)
{
	const struct pipeline_plan *plan = p->plan;
	size_t got = 1;

	for (b->length = 0; b->length < PIPELINE_BUFFER && got > 0; b->length += got)
		if (!plan->read(plan->source, b->bytes + b->length, PIPELINE_BUFFER - b->length,
				&got, error))
			return false;
	return true;
}

static void report(struct pipeline *p, const char *phase, uint64_t done)
{
	const struct pipeline_plan *plan = p->plan;

	if (plan->progress)
		plan->progress(plan->ctx, phase, done, plan->total > 0 ? (uint64_t)plan->total : 0);
}

static void *run_download(void *ctx)
{
	struct pipeline *p = ctx;
	struct buffer *b;
	bool more = true;

	while (more && (b = take_free(p, &p->compressed))) {
		g_autoptr(GError) reason = NULL;

		if (!fill(p, b, &reason)) {
			fail(p, class_of_read(reason), reason);
			give_back(b);
			break;
		}
		more = b->length == PIPELINE_BUFFER;
		p->downloaded += b->length;
		report(p, "downloading", p->downloaded);
		push(&p->compressed, b);
	}
	push_end(&p->compressed);
	return NULL;
}

/* ---- second stage: hash what was downloaded, decompress */

static uint64_t read_available_memory(void)
{
	g_autofree char *text = NULL;
	unsigned long long kib = 0;

	if (g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
		const char *line = strstr(text, "MemAvailable:");

		if (line)
			kib = g_ascii_strtoull(line + strlen("MemAvailable:"), NULL, 10);
	}
	return kib << 10;
}

static uint64_t decompressor_limit(const struct pipeline_plan *plan)
{
	if (plan->memory_limit > 0)
		return plan->memory_limit;
	return CLAMP(read_available_memory() / 4 * 3, MEMORY_LIMIT_MIN, MEMORY_LIMIT_MAX);
}

/* Images in a format that is not copied byte by byte are refused, by name. */
static bool check_format(const uint8_t *bytes, size_t length, GError **error)
{
	const char *name = image_format_detect(bytes, length);

	if (!name)
		return true;
	if (g_str_equal(name, "html"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the server sent a web page instead of an image");
	return inox_error_set(
		error, INOX_ERROR_UNSUPPORTED,
		"the image is in the format %s, which is not supported: convert it to "
		"raw (it may be compressed)",
		name);
}

/* Everything that one buffer of compressed bytes gives (none: what is left at the end); `*out` is the
 * buffer being filled. */
static bool unpack_buffer(struct pipeline *p, struct unpack *u, const uint8_t *in, size_t length,
			  struct buffer **out, GError **error)
{
	bool at_end = length == 0;

	while (*out || (*out = take_free(p, &p->image))) {
		struct buffer *b = *out;
		size_t used, got;

		if (!unpack_step(u, in, length, &used, b->bytes + b->length,
				 PIPELINE_BUFFER - b->length, &got, error))
			return false;
		in += used;
		length -= used;
		b->length += got;
		if (b->length == PIPELINE_BUFFER) {
			push(&p->image, b);
			*out = NULL;
		}
		/* What the decoder still holds comes with the next input, or at the end. */
		if (length == 0 && (!at_end || got == 0))
			return true;
		if (used == 0 && got == 0)
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"the compressed data is damaged: bytes behind its end");
	}
	return true; /* has_failed() knows why */
}

/* The last buffer, and whether the compressed stream was whole. */
static bool unpack_end(struct pipeline *p, struct unpack *u, struct buffer **out, GError **error)
{
	if (!unpack_buffer(p, u, NULL, 0, out, error) || !unpack_finish(u, error))
		return false;
	if (*out && (*out)->length > 0)
		push(&p->image, g_steal_pointer(out));
	return true;
}

static bool check_size(const struct pipeline_plan *plan, GError **error)
{
	uint64_t size = target_size(plan->target);

	if (plan->total < 0 || (uint64_t)plan->total <= size)
		return true;
	return inox_error_set(error, INOX_ERROR_LIMIT,
			      "the image is larger than the disk: the disk has %" G_GUINT64_FORMAT
			      " bytes, the image %" G_GINT64_FORMAT,
			      size, plan->total);
}

/* True while there is something to do. */
static bool pass_on(struct pipeline *p, struct buffer *b, struct unpack **u, struct buffer **out,
		    GError **error)
{
	if (p->downloaded_digest)
		digest_add(p->downloaded_digest, b->bytes, b->length);
	if (!p->detected) {
		p->detected = true;
		p->format = unpack_detect(b->bytes, b->length);
		if (p->format != UNPACK_NONE)
			*u = unpack_new(p->format, decompressor_limit(p->plan));
		else if (!check_size(p->plan, error)) {
			give_back(b);
			return false;
		}
	}
	if (!*u) {
		push(&p->image, b);
		return true;
	}

	bool ok = b->length == 0 || unpack_buffer(p, *u, b->bytes, b->length, out, error);

	give_back(b);
	return ok;
}

static enum agent_error_class class_of_unpack(const GError *reason)
{
	return g_error_matches(reason, INOX_ERROR, INOX_ERROR_LIMIT) ? AGENT_ERROR_IMAGE_WRITE
								     : AGENT_ERROR_INVALID_IMAGE;
}

static void *run_unpack(void *ctx)
{
	struct pipeline *p = ctx;
	g_autoptr(unpack) u = NULL;
	g_autoptr(GError) reason = NULL;
	struct buffer *b, *out = NULL;

	while (!reason && (b = pull(p, &p->compressed)))
		if (!pass_on(p, b, &u, &out, &reason))
			break;
	if (!reason && u && !has_failed(p))
		unpack_end(p, u, &out, &reason);
	if (reason)
		fail(p, class_of_unpack(reason), reason);
	if (out)
		give_back(out);
	push_end(&p->image);
	return NULL;
}

/* ---- third stage, in the caller's thread: hash the image, write */

/* False with the class and the reason set. */
static bool write_buffer(struct pipeline *p, const struct buffer *b, enum agent_error_class *class,
			 GError **error)
{
	*class = AGENT_ERROR_INVALID_IMAGE;
	if (p->written == 0 && !check_format(b->bytes, b->length, error))
		return false;
	if (p->image_digest)
		digest_add(p->image_digest, b->bytes, b->length);
	*class = AGENT_ERROR_IMAGE_WRITE;
	if (!target_write(p->plan->target, p->written, b->bytes, b->length, error))
		return false;
	p->written += b->length;
	return true;
}

static void run_write(struct pipeline *p)
{
	g_autoptr(GError) reason = NULL;
	enum agent_error_class class = AGENT_ERROR_IMAGE_WRITE;
	struct buffer *b;

	while (!reason && (b = pull(p, &p->image))) {
		if (!write_buffer(p, b, &class, &reason))
			fail(p, class, reason);
		give_back(b);
	}
}

/* ---- the end: all bytes there, and the right ones */

static bool check_digest(struct pipeline *p, struct digest *d, const struct digest_wanted *wanted,
			 const char *what)
{
	g_autofree char *hex = NULL;

	if (!d || digest_check(d, &hex))
		return true;
	agent_error_set(&p->error, AGENT_ERROR_IMAGE_CHECKSUM,
			"Image failed to verify against checksum. location: %s; image ID: %s; "
			"image checksum: %s; verification checksum: %s",
			what, p->plan->image_id, wanted->hex, hex);
	return false;
}

static bool finish(struct pipeline *p)
{
	g_autoptr(GError) reason = NULL;

	if (p->failed)
		return false;
	report(p, "verifying", p->downloaded);
	if (p->written == 0) {
		inox_error_set(&reason, INOX_ERROR_INVALID, "the image is empty");
		fail(p, AGENT_ERROR_INVALID_IMAGE, reason);
		return false;
	}
	if (!check_digest(p, p->downloaded_digest, &p->plan->downloaded, "the downloaded bytes") ||
	    !check_digest(p, p->image_digest, &p->plan->image, "the decompressed image"))
		return false;
	if (!target_flush(p->plan->target, &reason))
		fail(p, AGENT_ERROR_IMAGE_WRITE, reason);
	return !reason;
}

bool pipeline_run(const struct pipeline_plan *plan, struct pipeline_result *ret_result,
		  struct agent_error *error)
{
	struct pipeline p = {.plan = plan};
	bool ok;

	pthread_mutex_init(&p.lock, NULL);
	queue_init(&p.compressed);
	queue_init(&p.image);
	if (plan->downloaded.algorithm[0])
		p.downloaded_digest = digest_new(&plan->downloaded);
	if (plan->image.algorithm[0])
		p.image_digest = digest_new(&plan->image);

	GThread *download = g_thread_new("download", run_download, &p);
	GThread *unpacking = g_thread_new("unpack", run_unpack, &p);

	run_write(&p);
	g_thread_join(download);
	g_thread_join(unpacking);
	ok = finish(&p);
	if (ok)
		*ret_result = (struct pipeline_result){p.downloaded, p.written,
						       unpack_format_text(p.format)};
	else
		*error = p.error;
	digest_free(p.downloaded_digest);
	digest_free(p.image_digest);
	queue_clear(&p.image);
	queue_clear(&p.compressed);
	pthread_mutex_destroy(&p.lock);
	return ok;
}
