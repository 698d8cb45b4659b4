#include "boot.h"

#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "delivery.h"
#include "errors.h"
#include "log.h"
#include "plain.h"
#include "pool.h"

#define LANES 4
/* Requests that may wait: far more than nodes boot at a time, little enough memory. */
#define QUEUE_MAX 16384

struct job {
	struct message request;
	GError *error;
};

struct boot_worker {
	struct loop *l;
	struct channel *channel;
	struct shelf *shelf;
	struct script_site site;
	char *http_url, *kernel, *ramdisk, *iso, *gateway;
	struct lane {
		struct boot_worker *worker;
		struct pool *pool; /* of one thread */
		struct loop_watch *watch;
	} lanes[LANES];
	GHashTable *jobs; /* all that are in a lane */
};

static void job_free(void *data)
{
	struct job *j = data;

	message_clear(&j->request);
	g_clear_error(&j->error);
	g_free(j);
}

/* In a lane's thread. */
static void job_run(void *data, void *ctx)
{
	struct job *j = data;
	struct boot_worker *w = ctx;

	bool good =
		j->request.type == MESSAGE_boot_publish
			? delivery_publish(w->shelf, &w->site, &j->request.boot_publish, &j->error)
			: delivery_withdraw(w->shelf, &j->request.boot_withdraw, &j->error);

	g_assert(good == !j->error);
}

/* The same request may succeed later without anybody changing anything but the boot host. */
static bool may_pass(const GError *error)
{
	static const enum inox_error codes[] = {INOX_ERROR_IO, INOX_ERROR_TIMEOUT,
						INOX_ERROR_UNAVAILABLE, INOX_ERROR_BUSY,
						INOX_ERROR_PEER};

	for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++)
		if (g_error_matches(error, INOX_ERROR, (int)codes[i]))
			return true;
	return false;
}

/* Both kinds of request begin with the same three fields. */
static struct message_boot_reply reply_to(const struct message *request, const GError *error)
{
	bool publish = request->type == MESSAGE_boot_publish;

	return (struct message_boot_reply){
		.request = publish ? request->boot_publish.request : request->boot_withdraw.request,
		.node = publish ? request->boot_publish.node : request->boot_withdraw.node,
		.epoch = publish ? request->boot_publish.epoch : request->boot_withdraw.epoch,
		.result = error ? (uint32_t)error->code + 1 : 0,
		.retry = error && may_pass(error),
		.reason = error ? error->message : NULL,
	};
}

static void answer(struct boot_worker *w, const struct message *request, const GError *error)
{
	struct message m = {.type = MESSAGE_boot_reply, .boot_reply = reply_to(request, error)};
	g_autoptr(GError) failure = NULL;
	const char *node = m.boot_reply.node.s;
	const char *verb = request->type == MESSAGE_boot_publish ? "publish" : "withdraw";

	if (error)
		log_warn(node, "boot data failed", F_STR("request", verb),
			 F_INT("epoch", m.boot_reply.epoch), F_ERR(error));
	else
		log_info(node, "boot data done", F_STR("request", verb),
			 F_INT("epoch", m.boot_reply.epoch));
	if (!channel_send(w->channel, &m, &failure))
		log_error(node, "boot reply cannot be sent", F_ERR(failure));
}

static void on_done(void *ctx, bool readable, bool writable)
{
	struct lane *lane = ctx;
	struct job *j;

	(void)readable, (void)writable;
	while ((j = pool_take(lane->pool))) {
		answer(lane->worker, &j->request, j->error);
		g_hash_table_remove(lane->worker->jobs, j);
	}
}

static void enqueue(struct boot_worker *w, struct message *m, const struct uuid *node)
{
	g_autoptr(GError) error = NULL;

	if (g_hash_table_size(w->jobs) >= QUEUE_MAX) {
		inox_error_set(&error, INOX_ERROR_BUSY, "%d requests wait for the boot host",
			       QUEUE_MAX);
		answer(w, m, error);
		return;
	}
	struct job *j = g_new0(struct job, 1);
	unsigned lane = g_str_hash(node->s) % LANES;

	j->request = *m;
	*m = (struct message){.type = MESSAGE_NONE};
	g_hash_table_add(w->jobs, j);
	pool_push(w->lanes[lane].pool, j);
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct boot_worker *w = ctx;

	if (fd >= 0)
		close(fd);
	if (m->type == MESSAGE_boot_publish)
		enqueue(w, m, &m->boot_publish.node);
	else if (m->type == MESSAGE_boot_withdraw)
		enqueue(w, m, &m->boot_withdraw.node);
	else
		log_error(NULL, "unexpected message", F_STR("type", message_type_text(m->type)));
}

static void on_closed(void *ctx, const GError *error)
{
	struct boot_worker *w = ctx;

	if (error)
		log_error(NULL, "channel to the conductor broke", F_ERR(error));
	loop_stop(w->l);
}

static bool set_gateway(struct boot_worker *w, const char *text, GError **error)
{
	struct endpoint e;

	w->gateway = g_strdup(text);
	w->site.gateway = w->gateway;
	return !*text || endpoint_parse(text, 1, &e, NULL) ||
	       inox_error_set(error, INOX_ERROR_INVALID,
			      "[boot]media_gateway '%s' is not a numeric address", text);
}

static bool set_site(struct boot_worker *w, const struct config *c, GError **error)
{
	w->http_url = g_strdup(config_text(c, OPTION_boot_http_url));
	while (g_str_has_suffix(w->http_url, "/"))
		w->http_url[strlen(w->http_url) - 1] = '\0';
	w->kernel = g_strdup(config_text(c, OPTION_boot_kernel));
	w->ramdisk = g_strdup(config_text(c, OPTION_boot_ramdisk));
	w->iso = g_strdup(config_text(c, OPTION_boot_iso));
	w->site = (struct script_site){.http_url = w->http_url,
				       .kernel = w->kernel,
				       .ramdisk = w->ramdisk,
				       .iso = w->iso,
				       .prefix = (unsigned)config_int(c, OPTION_boot_media_prefix)};
	if (*w->http_url && !plain_is_url(w->http_url))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "[boot]http_url '%s' is not a plain http:// URL",
				      w->http_url);
	if (!plain_is_path(w->kernel))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "[boot]kernel '%s' is not a plain relative path", w->kernel);
	if (!plain_is_path(w->ramdisk))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "[boot]ramdisk '%s' is not a plain relative path",
				      w->ramdisk);
	if (!plain_is_path(w->iso))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "[boot]iso '%s' is not a plain relative path", w->iso);
	return set_gateway(w, config_text(c, OPTION_boot_media_gateway), error);
}

struct boot_worker *boot_worker_new(struct loop *l, const struct config *c, int channel_fd,
				    GError **error)
{
	g_autoptr(boot_worker) w = g_new0(struct boot_worker, 1);

	w->l = l;
	w->channel = channel_new(l, channel_fd, on_message, on_closed, w);
	w->jobs = g_hash_table_new_full(NULL, NULL, job_free, NULL);
	w->shelf = shelf_new(c, error);
	if (!w->shelf || !set_site(w, c, error))
		return NULL;
	for (unsigned i = 0; i < LANES; i++) {
		struct lane *lane = &w->lanes[i];

		lane->worker = w;
		lane->pool = pool_new(1, job_run, w);
		lane->watch = loop_watch_new(l, pool_fd(lane->pool), on_done, lane);
		loop_watch_set(lane->watch, true, false);
	}
	return g_steal_pointer(&w);
}

void boot_worker_free(struct boot_worker *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < LANES && w->lanes[i].pool; i++) {
		loop_watch_free(w->lanes[i].watch);
		pool_free(w->lanes[i].pool);
	}
	g_hash_table_unref(w->jobs);
	channel_free(w->channel);
	shelf_free(w->shelf);
	g_free(w->http_url);
	g_free(w->kernel);
	g_free(w->ramdisk);
	g_free(w->iso);
	g_free(w->gateway);
	g_free(w);
}
