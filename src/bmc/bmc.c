#include "bmc.h"

#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "clocks.h"
#include "driver.h"
#include "errors.h"
#include "log.h"
#include "pool.h"

#define TIMEOUT_DEFAULT_S 30u
#define TIMEOUT_MOST_S    600u
/* Requests that wait: more is a conductor that does not wait for answers. */
#define JOBS_MAX 262144u

struct bmc_worker {
	struct loop *l;
	struct channel *channel;
	struct loop_watch *watch;
	struct pool *pool;
	GHashTable *nodes; /* UUID -> GQueue of jobs; the head is under way */
	unsigned jobs;
	const struct network *allowed;
	unsigned allowed_count;
};

struct job {
	struct message request; /* bmc_request */
	/* written by the thread */
	GError *error;
	enum power_state power;
	enum boot_mode boot_mode;
};

static void job_free(struct job *j)
{
	message_clear(&j->request);
	g_clear_error(&j->error);
	g_free(j);
}

static void jobs_free(void *queue)
{
	g_queue_free_full(queue, (GDestroyNotify)job_free);
}

/* ---- in a thread */

/* What the conductor waits for after a change; if it cannot be read in the rest of the time, it asks
 * by itself. */
static void look_again(struct job *j, const struct driver *d, const struct bmc_target *t,
		       struct mono began)
{
	uint64_t used_s = (mono_now().us - began.us) / 1000000;
	struct bmc_target rest = *t;

	if (used_s >= t->timeout_s)
		return;
	rest.timeout_s = t->timeout_s - (unsigned)used_s;
	if (!d->get_power(&rest, &j->power, &j->boot_mode, NULL))
		j->power = POWER_UNKNOWN;
}

static bool insert_media(const struct driver *d, const struct bmc_target *t, const char *url,
			 GError **error)
{
	if (!g_str_has_prefix(url, "http://") && !g_str_has_prefix(url, "https://"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the medium's URL is not http:// or https://");
	return d->insert_media(t, url, error);
}

static bool carry_out(struct job *j, const struct driver *d, const struct bmc_target *t,
		      GError **error)
{
	const struct message_bmc_request *rq = &j->request.bmc_request;
	struct mono began = mono_now();

	switch ((enum bmc_operation)rq->operation) {
	case BMC_GET_POWER: return d->get_power(t, &j->power, &j->boot_mode, error);
	case BMC_SET_BOOT:
		return d->set_boot(t, (enum boot_device)rq->device, rq->persistent,
				   (enum boot_mode)rq->boot_mode, error);
	case BMC_INSERT_MEDIA: return insert_media(d, t, rq->media_url, error);
	case BMC_EJECT_MEDIA: return d->eject_media(t, error);
	case BMC_SET_POWER:
		if (!d->set_power(t, (enum power_target)rq->power, error))
			return false;
		look_again(j, d, t, began);
		return true;
	}
	return inox_error_set(error, INOX_ERROR_INVALID, "%u is no BMC operation", rq->operation);
}

static void run_job(void *data, void *ctx)
{
	const struct bmc_worker *w = ctx;
	struct job *j = data;
	const struct message_bmc_request *rq = &j->request.bmc_request;
	const struct driver *d = driver_find(rq->driver);
	struct bmc_target t = {
		.node = rq->node.s,
		.address = rq->address,
		.system = rq->system,
		.username = rq->username,
		.password = rq->password,
		.verify = rq->verify,
		.auth = (enum bmc_auth)rq->auth,
		.allowed = w->allowed,
		.allowed_count = w->allowed_count,
		.timeout_s = rq->timeout_s ? MIN(rq->timeout_s, TIMEOUT_MOST_S) : TIMEOUT_DEFAULT_S,
	};

	if (!d)
		inox_error_set(&j->error, INOX_ERROR_INVALID, "there is no driver %s", rq->driver);
	else
		(void)carry_out(j, d, &t, &j->error);
}

/* ---- on the loop */

static void reply(struct bmc_worker *w, const struct job *j)
{
	const struct message_bmc_request *rq = &j->request.bmc_request;
	g_autoptr(GError) error = NULL;
	struct message m = {.type = MESSAGE_bmc_reply};

	m.bmc_reply = (struct message_bmc_reply){
		.request = rq->request,
		.node = rq->node,
		.result = j->error ? (uint32_t)j->error->code + 1 : 0,
		.retry = j->error && driver_error_is_transient(j->error),
		.power = j->power,
		.boot_mode = j->boot_mode,
		.reason = j->error ? j->error->message : NULL,
	};
	log_debug(rq->node.s, "BMC request finished",
		  F_STR("operation", bmc_operation_text(rq->operation)),
		  F_STR("power", power_state_text(j->power)), F_ERR(j->error));
	if (!channel_send(w->channel, &m, &error))
		log_error(rq->node.s, "BMC reply not sent", F_ERR(error));
}

static void finish(struct bmc_worker *w, struct job *j)
{
	GQueue *jobs = g_hash_table_lookup(w->nodes, j->request.bmc_request.node.s);

	reply(w, j);
	g_assert(g_queue_peek_head(jobs) == j);
	g_queue_pop_head(jobs);
	w->jobs--;
	if (g_queue_is_empty(jobs))
		g_hash_table_remove(w->nodes, j->request.bmc_request.node.s);
	else
		pool_push(w->pool, g_queue_peek_head(jobs));
	job_free(j);
}

static void on_wake(void *ctx, bool readable, bool writable)
{
	struct bmc_worker *w = ctx;
	struct job *j;

	(void)readable;
	(void)writable;
	while ((j = pool_take(w->pool)))
		finish(w, j);
}

/* Takes the fields of the message. */
static void accept_request(struct bmc_worker *w, struct message *m)
{
	struct job *j = g_new0(struct job, 1);

	j->request = *m;
	*m = (struct message){.type = MESSAGE_NONE};
	if (w->jobs >= JOBS_MAX) {
		inox_error_set(&j->error, INOX_ERROR_BUSY, "%u BMC requests are waiting", w->jobs);
		reply(w, j);
		job_free(j);
		return;
	}
	const char *node = j->request.bmc_request.node.s;
	GQueue *jobs = g_hash_table_lookup(w->nodes, node);

	if (!jobs) {
		jobs = g_queue_new();
		g_hash_table_insert(w->nodes, g_strdup(node), jobs);
	}
	g_queue_push_tail(jobs, j);
	w->jobs++;
	if (g_queue_get_length(jobs) == 1)
		pool_push(w->pool, j);
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct bmc_worker *w = ctx;

	if (fd >= 0)
		close(fd);
	if (m->type == MESSAGE_bmc_request)
		accept_request(w, m);
	else
		log_warn(NULL, "message is not for this worker",
			 F_STR("type", message_type_text(m->type)));
}

static void on_closed(void *ctx, const GError *error)
{
	struct bmc_worker *w = ctx;

	if (error)
		log_error(NULL, "channel to the conductor broke", F_ERR(error));
	loop_stop(w->l);
}

struct bmc_worker *bmc_worker_new(struct loop *l, const struct config *conf, int channel_fd)
{
	struct bmc_worker *w = g_new0(struct bmc_worker, 1);

	w->l = l;
	w->allowed = config_networks(conf, OPTION_redfish_allowed_networks, &w->allowed_count);
	w->nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, jobs_free);
	driver_start();
	w->pool = pool_new((unsigned)config_int(conf, OPTION_redfish_workers), run_job, w);
	w->watch = loop_watch_new(l, pool_fd(w->pool), on_wake, w);
	w->channel = channel_new(l, channel_fd, on_message, on_closed, w);
	return w;
}

void bmc_worker_free(struct bmc_worker *w)
{
	if (!w)
		return;
	channel_free(w->channel);
	loop_watch_free(w->watch);
	pool_free(w->pool);
	/* All jobs are owned by their nodes, wherever they are. */
	g_hash_table_unref(w->nodes);
	g_free(w);
}
