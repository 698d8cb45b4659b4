#include "active.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "active_adopt.h"
#include "active_timing.h"
#include "api_call.h"
#include "commands.h"
#include "errors.h"
#include "inventory.h"
#include "jsons.h"
#include "log.h"

#define START_OVER        SPAN_SECONDS(30) /* after the look-up's time is up */
#define FORCED_GAP        SPAN_SECONDS(5)
#define ADDRESSES_MOST    64
#define MINOR_LOOKUP      62 /* the newest versions whose answers are known */
#define MINOR_HEARTBEAT   68
#define MINOR_TOKEN       62 /* what a heartbeat may say from which version on */
#define MINOR_AGENT       36
#define MINOR_CERTIFICATE 68

struct active {
	struct agent *agent; /* the loop's; the thread reads its options only */
	struct api_caller *caller;
	pthread_t thread;
	int found_fd;
	struct loop_watch *found_watch;
	/* Of the thread. */
	unsigned minor; /* of the API; 0: not asked yet */
	char *last_reason;
	struct adopted adopted;
	/* POSIX locks, so that ThreadSanitizer sees them. */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	bool ending, forced;
	const struct finding *found; /* the thread waits until it is NULL again */
	GError *refusal;             /* why the finding was not taken; NULL: it was */
	struct secret *token;
};

static bool is_ending(void *ctx)
{
	struct active *v = ctx;

	pthread_mutex_lock(&v->lock);
	bool ending = v->ending;

	pthread_mutex_unlock(&v->lock);
	return ending;
}

static struct timespec timespec_of(struct mono t)
{
	return (struct timespec){.tv_sec = (time_t)(t.us / 1000000),
				 .tv_nsec = (long)(t.us % 1000000) * 1000};
}

/* Waits until `due`; from `forced_from` on a command that has ended is enough.  False: the agent ends. */
static bool wait_until(struct active *v, struct mono due, struct mono forced_from)
{
	pthread_mutex_lock(&v->lock);
	while (!v->ending) {
		struct mono next = v->forced && forced_from.us < due.us ? forced_from : due;

		if (mono_reached(next, mono_now()))
			break;
		const struct timespec until = timespec_of(next);

		pthread_cond_timedwait(&v->changed, &v->lock, &until);
	}
	bool goes_on = !v->ending;

	v->forced = false;
	pthread_mutex_unlock(&v->lock);
	return goes_on;
}

static bool pause_for(struct active *v, struct span length)
{
	struct mono due = mono_add(mono_now(), length);

	return wait_until(v, due, due);
}

/* The same trouble is told once. */
static void report(struct active *v, const char *message, const GError *error)
{
	if (g_strcmp0(v->last_reason, error->message) == 0 || is_ending(v))
		return;
	g_free(v->last_reason);
	v->last_reason = g_strdup(error->message);
	log_warn(NULL, "the API was asked in vain", F_STR("for", message), F_ERR(error));
}

/* An answer with another status than the one hoped for. */
static bool refuse_status(const struct fetch_reply *reply, const char *what, GError **error)
{
	g_autofree char *fault = api_text_fault(reply->body, reply->length);
	enum inox_error code = reply->status == 409 ? INOX_ERROR_BUSY : INOX_ERROR_DENIED;
	const char *hint = reply->status >= 300 && reply->status < 400
				   ? "redirects are not followed"
				   : "no reason given";

	return inox_error_set(error, code, "the API answered %s with status %d: %s", what,
			      reply->status, fault ? fault : hint);
}

/* ---- look-up */

/* An API that answers but does not say its version is an old one. */
static bool ask_version(struct active *v, GError **error)
{
	g_auto(fetch_reply) reply = {.body = NULL};

	if (v->minor > 0)
		return true;
	if (v->agent->options.active.api_minor > 0) {
		v->minor = v->agent->options.active.api_minor;
		return true;
	}
	if (!api_caller_ask(v->caller, "/", 0, NULL, &reply, error))
		return false;
	v->minor =
		reply.status == 200 ? api_text_minor(reply.body, reply.length) : API_MINOR_UNKNOWN;
	return true;
}

/* "/v1/lookup?addresses=...", with the node when the boot named it. */
static char *lookup_path(const struct agent *a)
{
	g_autoptr(json_t) interfaces = inventory_interfaces(a->options.root);
	g_autoptr(GString) path = g_string_new("/v1/lookup?addresses=");
	unsigned count = 0;
	size_t i;
	json_t *interface;

	json_array_foreach(interfaces, i, interface) {
		const char *mac = json_peek_string(interface, "mac_address");

		if (!mac || count == ADDRESSES_MOST)
			continue;
		if (count++ > 0)
			g_string_append(path, "%2C");
		g_string_append_uri_escaped(path, mac, NULL, FALSE);
	}
	if (uuid_is_set(&a->options.node))
		g_string_append_printf(path, "&node_uuid=%s", a->options.node.s);
	return g_string_free(g_steal_pointer(&path), FALSE);
}

/* Hands a finding to the loop's thread and waits for what it makes of it. */
static bool settle(struct active *v, const struct finding *finding, GError **error)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&v->lock);
	v->found = finding;
	ssize_t written = write(v->found_fd, &one, sizeof(one));

	g_assert(written == sizeof(one));
	while (v->found && !v->ending)
		pthread_cond_wait(&v->changed, &v->lock);
	GError *refusal = g_steal_pointer(&v->refusal);
	bool settled = !v->found;

	v->found = NULL;
	pthread_mutex_unlock(&v->lock);
	if (refusal)
		g_propagate_error(error, refusal);
	else if (!settled)
		inox_error_set(error, INOX_ERROR_BUSY, "the agent ends");
	return settled && !refusal;
}

static bool look_up_once(struct active *v, GError **error)
{
	g_autofree char *path = lookup_path(v->agent);
	g_auto(fetch_reply) reply = {.body = NULL};
	struct finding finding = {.own_address = reply.own_address};
	bool good = false;

	if (!ask_version(v, error) ||
	    !api_caller_ask(v->caller, path, MIN(v->minor, MINOR_LOOKUP), NULL, &reply, error))
		return false;
	if (reply.status != 200)
		return refuse_status(&reply, "the look-up", error);
	if (lookup_answer_parse(reply.body, reply.length, &finding.answer, error))
		good = settle(v, &finding, error);
	lookup_answer_clear(&finding.answer);
	return good;
}

/* True when the agent knows who it is, false when it ends.  There is no end to trying: a machine that
 * gave up would need a person. */
static bool look_up(struct active *v)
{
	const struct active_options *o = &v->agent->options.active;
	const struct span patience = SPAN_SECONDS(o->lookup_timeout_s);
	struct lookup_pace pace = {.least_s = o->lookup_interval_s};
	struct mono due = mono_add(mono_now(), patience);

	for (;;) {
		g_autoptr(GError) error = NULL;
		struct span next = START_OVER;

		if (look_up_once(v, &error))
			return true;
		report(v, "look-up", error);
		if (mono_reached(due, mono_now())) {
			log_error(NULL, "no look-up succeeded in its time; it starts over",
				  F_INT("seconds", o->lookup_timeout_s));
			pace = (struct lookup_pace){.least_s = o->lookup_interval_s};
			due = mono_add(mono_add(mono_now(), START_OVER), patience);
		} else {
			bool conflict = g_error_matches(error, INOX_ERROR, INOX_ERROR_BUSY);

			next = lookup_pace_next(&pace, conflict, g_random_double());
		}
		if (!pause_for(v, next))
			return false;
	}
}

/* ---- heartbeats */

/* The caller wipes it: it holds the token. */
static char *heartbeat_body(struct active *v)
{
	g_autoptr(json_t) body = json_pack("{s:s}", "callback_url", v->adopted.callback_url);

	pthread_mutex_lock(&v->lock);
	if (v->minor >= MINOR_TOKEN)
		json_object_set_new(body, "agent_token", json_string(secret_peek(v->token)));
	pthread_mutex_unlock(&v->lock);
	if (v->minor >= MINOR_AGENT)
		json_object_set_new(body, "agent_version", json_string(INOX_VERSION));
	if (v->minor >= MINOR_CERTIFICATE && v->adopted.certificate_pem)
		json_object_set_new(body, "agent_verify_ca",
				    json_string(v->adopted.certificate_pem));
	return json_print_python(body);
}

static bool beat_once(struct active *v, GError **error)
{
	g_autofree char *path = g_strconcat("/v1/heartbeat/", v->adopted.node.s, NULL);
	g_auto(fetch_reply) reply = {.body = NULL};
	char *body = heartbeat_body(v);
	bool good = api_caller_ask(v->caller, path, MIN(v->minor, MINOR_HEARTBEAT), body, &reply,
				   error);

	secret_wipe_text(body);
	return good && (reply.status == 202 || refuse_status(&reply, "the heartbeat", error));
}

static void beat(struct active *v)
{
	struct mono sent;
	struct span next;

	do {
		g_autoptr(GError) error = NULL;

		sent = mono_now();
		bool taken = beat_once(v, &error);

		if (!taken)
			report(v, "heartbeat", error);
		else if (v->last_reason)
			log_notice(NULL, "the API takes heartbeats again");
		if (taken)
			g_clear_pointer(&v->last_reason, g_free);
		next = heartbeat_pause(v->adopted.heartbeat_timeout_s, taken, g_random_double());
	} while (wait_until(v, mono_add(mono_now(), next), mono_add(sent, FORCED_GAP)));
}

static void *active_thread(void *arg)
{
	struct active *v = arg;

	if (look_up(v)) {
		g_clear_pointer(&v->last_reason, g_free);
		beat(v);
	}
	return NULL;
}

/* ---- the loop's side */

/* A command may be using the node and the token right now: then the finding waits for its end.  The thread
 * waits meanwhile, so that what it handed over and `adopted` hold still without the lock. */
static void take_finding(struct active *v)
{
	GError *refusal = NULL;

	pthread_mutex_lock(&v->lock);
	const struct finding *finding = v->found;

	pthread_mutex_unlock(&v->lock);
	if (!finding || commands_is_busy(v->agent->commands))
		return;
	bool good = active_adopt(v->agent, finding, &v->adopted, &refusal);

	g_assert(good == !refusal);
	pthread_mutex_lock(&v->lock);
	v->refusal = refusal;
	v->found = NULL;
	pthread_cond_signal(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

static void on_found(void *ctx, bool readable, bool writable)
{
	struct active *v = ctx;
	uint64_t count;

	(void)readable;
	(void)writable;
	if (read(v->found_fd, &count, sizeof(count)) == sizeof(count))
		take_finding(v);
}

void active_use_token(struct active *v, const struct secret *token)
{
	pthread_mutex_lock(&v->lock);
	secret_free(v->token);
	v->token = secret_dup(token);
	pthread_mutex_unlock(&v->lock);
}

void active_command_ended(struct active *v, bool was_started)
{
	pthread_mutex_lock(&v->lock);
	v->forced = v->forced || was_started;
	pthread_cond_signal(&v->changed);
	pthread_mutex_unlock(&v->lock);
	take_finding(v);
}

struct active *active_new(struct agent *a)
{
	struct active *v = g_new0(struct active, 1);
	pthread_condattr_t monotonic;

	v->agent = a;
	v->token = secret_dup(a->token);
	v->caller = api_caller_new(&a->options.active, is_ending, v);
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&v->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	v->found_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_assert(v->found_fd >= 0);
	v->found_watch = loop_watch_new(a->l, v->found_fd, on_found, v);
	if (pthread_create(&v->thread, NULL, active_thread, v) != 0)
		g_error("the thread of the active mode cannot be started");
	return v;
}

void active_end(struct active *v)
{
	pthread_mutex_lock(&v->lock);
	v->ending = true;
	pthread_cond_signal(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

void active_free(struct active *v)
{
	if (!v)
		return;
	active_end(v);
	pthread_join(v->thread, NULL);
	loop_watch_free(v->found_watch);
	close(v->found_fd);
	api_caller_free(v->caller);
	adopted_clear(&v->adopted);
	g_clear_error(&v->refusal);
	g_free(v->last_reason);
	secret_free(v->token);
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->changed);
	g_free(v);
}
