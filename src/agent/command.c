#include "command.h"

#include <pthread.h>
#include <stdatomic.h>

/* Shared by the loop's thread, the command thread and the stages of the image pipeline.  POSIX locks, so
 * that ThreadSanitizer sees them. */
struct command_context {
	char *root;
	atomic_bool cancelled;
	pthread_mutex_t lock; /* guards what follows */
	const char *phase;
	uint64_t done, total;
	json_t *partitions;
};

struct command_context *command_context_new(const char *root)
{
	struct command_context *context = g_new0(struct command_context, 1);

	context->root = g_strdup(root);
	context->partitions = json_object();
	pthread_mutex_init(&context->lock, NULL);
	return context;
}

void command_context_free(struct command_context *context)
{
	if (!context)
		return;
	pthread_mutex_destroy(&context->lock);
	json_decref(context->partitions);
	g_free(context->root);
	g_free(context);
}

const char *command_peek_root(const struct command_context *context)
{
	return context->root;
}

bool command_is_cancelled(const struct command_context *context)
{
	return atomic_load(&context->cancelled);
}

void command_context_cancel(struct command_context *context)
{
	atomic_store(&context->cancelled, true);
}

void command_progress(struct command_context *context, const char *phase, uint64_t done,
		      uint64_t total)
{
	pthread_mutex_lock(&context->lock);
	context->phase = phase;
	context->done = done;
	context->total = total;
	pthread_mutex_unlock(&context->lock);
}

void command_context_read_progress(struct command_context *context, const char **ret_phase,
				   uint64_t *ret_done, uint64_t *ret_total)
{
	pthread_mutex_lock(&context->lock);
	*ret_phase = context->phase;
	*ret_done = context->done;
	*ret_total = context->total;
	pthread_mutex_unlock(&context->lock);
}

void command_record_partitions(struct command_context *context, json_t *partition_uuids)
{
	pthread_mutex_lock(&context->lock);
	json_decref(context->partitions);
	context->partitions = partition_uuids;
	pthread_mutex_unlock(&context->lock);
}

json_t *command_context_partitions(struct command_context *context)
{
	pthread_mutex_lock(&context->lock);
	json_t *copy = json_deep_copy(context->partitions);
	pthread_mutex_unlock(&context->lock);
	return copy;
}
