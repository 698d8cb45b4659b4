/* commands.c: one command at a time on one thread.
 *
 * While a command is on the thread, `list->running` is set and every request to run another one is
 * refused as busy, so nothing else of the agent changes under it.  The thread hands a finished command
 * back by writing to an eventfd; from then on it belongs to the loop's thread again.
 */
#include "commands.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "active.h"
#include "command_table.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"

/* Time for the answer to the command that ends the machine or the agent to reach the control plane. */
#define LAST_ANSWERS SPAN_MS(300)

struct command {
	struct uuid id;
	char *full_name;
	const struct command_row *row;
	json_t *params; /* given up when the command has ended */
	struct command_context *context;
	enum command_status status;
	/* What the command thread makes, and nobody else looks at before the command has ended ... */
	struct agent_error made_error;
	json_t *made_result;
	/* ... and what the loop's thread shows from then on. */
	struct agent_error error;
	json_t *result;
};

struct waiter {
	const struct command *command;
	struct command_asker asker;
};

struct command_list {
	struct agent *agent;
	GQueue recorded; /* of struct command, oldest first */
	struct command *running;
	GArray *waiters; /* of struct waiter */
	pthread_t thread;
	/* The way to the thread: one place, because there is never more than one command on it.  POSIX
	 * locks, so that ThreadSanitizer sees them. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct command *next; /* guarded by lock */
	bool ending;          /* guarded by lock */
	int ended_fd;
	struct loop_watch *ended_watch;
};

static void command_free(void *item)
{
	struct command *c = item;

	g_free(c->full_name);
	json_decref(c->params);
	json_decref(c->made_result);
	json_decref(c->result);
	agent_error_clear(&c->made_error);
	agent_error_clear(&c->error);
	command_context_free(c->context);
	g_free(c);
}

json_t *commands_fault(int status, const char *sentence)
{
	/* The JSON parser quotes what it stumbled over, which need not be text. */
	g_autofree char *clean = log_clean_text(sentence, strlen(sentence), LIMIT_ERROR_TEXT);

	return json_pack("{s:s, s:s}", "faultcode", status < 500 ? "Client" : "Server",
			 "faultstring", clean);
}

static void reply_fault(struct command_asker asker, const struct agent_error *e)
{
	g_autofree char *sentence = g_strdup_printf("%s: %s", e->message, e->details);
	g_autoptr(json_t) body = commands_fault(e->code, sentence);

	asker.reply(asker.ctx, e->code, body);
}

/* ---- results */

/* The five keys, in this order, are all that a finished command has. */
static json_t *command_json(struct command *c)
{
	bool failed_sync = c->error.type && c->row->mode != COMMAND_STARTED;
	json_t *object = json_pack("{s:s, s:s, s:s, s:o, s:O}", "id", c->id.s, "command_name",
				   failed_sync ? c->full_name : c->row->name, "command_status",
				   command_status_text(c->status), "command_error",
				   c->error.type ? agent_error_json(&c->error) : json_null(),
				   "command_result", c->result ? c->result : json_null());
	const char *phase;
	uint64_t done, total;

	command_context_read_progress(c->context, &phase, &done, &total);
	if (c->status == COMMAND_RUNNING && phase)
		json_object_set_new(object, "progress",
				    json_pack("{s:I, s:I, s:s}", "done", (json_int_t)done, "total",
					      (json_int_t)total, "phase", phase));
	return object;
}

static void reply_command(struct command *c, struct command_asker asker)
{
	g_autoptr(json_t) body = command_json(c);

	asker.reply(asker.ctx, 200, body);
}

/* Texts come wrapped, and those of started commands name the command. */
static json_t *wrap_result(const struct command *c, json_t *result)
{
	const char *text = json_string_value(result);

	if (!text)
		return result;
	g_autofree char *named = c->row->mode == COMMAND_STARTED
					 ? g_strdup_printf("%s: %s", c->row->name, text)
					 : g_strdup(text);
	json_t *wrapped = json_pack("{s:s}", "result", named);

	json_decref(result);
	return wrapped;
}

static enum command_status status_of(const struct agent_error *e)
{
	if (!e->type)
		return COMMAND_SUCCEEDED;
	return g_str_equal(e->type, "VersionMismatch") ? COMMAND_VERSION_MISMATCH : COMMAND_FAILED;
}

static void forget_old(struct command_list *list)
{
	while (list->recorded.length > COMMANDS_KEPT) {
		struct command *oldest = g_queue_pop_head(&list->recorded);

		g_assert(oldest != list->running);
		command_free(oldest);
	}
}

static void record(struct command_list *list, struct command *c)
{
	g_queue_push_tail(&list->recorded, c);
	forget_old(list);
}

/* ---- running */

static void run(struct command_list *list, struct command *c)
{
	json_t *result = c->row->run(list->agent, c->context, c->params, &c->made_error);

	g_assert(!result == !!c->made_error.type);
	c->made_result = result ? wrap_result(c, result) : NULL;
	json_decref(c->params);
	c->params = NULL;
}

/* The next command, or NULL when the agent ends. */
static struct command *take_next(struct command_list *list)
{
	pthread_mutex_lock(&list->lock);
	while (!list->next && !list->ending)
		pthread_cond_wait(&list->changed, &list->lock);
	struct command *c = list->ending ? NULL : list->next;

	list->next = NULL;
	pthread_mutex_unlock(&list->lock);
	return c;
}

static void hand_to_thread(struct command_list *list, struct command *c, bool ending)
{
	pthread_mutex_lock(&list->lock);
	list->next = c;
	list->ending = ending;
	pthread_cond_signal(&list->changed);
	pthread_mutex_unlock(&list->lock);
}

static void *command_thread(void *arg)
{
	struct command_list *list = arg;
	const uint64_t one = 1;
	struct command *c;

	while ((c = take_next(list))) {
		run(list, c);
		ssize_t written = write(list->ended_fd, &one, sizeof(one));

		g_assert(written == sizeof(one));
	}
	return NULL;
}

/* What a finished command leaves to the agent. */
static void settle(struct command_list *list, struct command *c)
{
	json_t *partitions = command_context_partitions(c->context);

	c->error = c->made_error;
	c->result = c->made_result;
	c->made_error = (struct agent_error){.type = NULL};
	c->made_result = NULL;
	c->status = status_of(&c->error);
	if (json_object_size(partitions) > 0) {
		json_decref(list->agent->partitions);
		list->agent->partitions = partitions;
	} else {
		json_decref(partitions);
	}
	log_info(NULL, "command ended", F_STR("command", c->full_name),
		 F_STR("status", command_status_text(c->status)),
		 F_STR("reason", c->error.details));
}

static void answer_waiters(struct command_list *list, struct command *c)
{
	for (guint i = 0; i < list->waiters->len;) {
		struct waiter w = g_array_index(list->waiters, struct waiter, i);

		if (w.command != c) {
			i++;
			continue;
		}
		g_array_remove_index(list->waiters, i);
		if (c->error.code == 400 && c->row->mode != COMMAND_STARTED)
			reply_fault(w.asker, &c->error);
		else
			reply_command(c, w.asker);
	}
}

static void leave_if_over(struct command_list *list)
{
	if (list->agent->power != AGENT_STAYS)
		loop_timer_arm(list->agent->leave, LAST_ANSWERS);
}

static void on_ended(void *ctx, bool readable, bool writable)
{
	struct command_list *list = ctx;
	struct command *c = list->running;
	uint64_t count;

	(void)readable;
	(void)writable;
	if (read(list->ended_fd, &count, sizeof(count)) != sizeof(count))
		return;
	list->running = NULL;
	settle(list, c);
	answer_waiters(list, c);
	leave_if_over(list);
	if (list->agent->active)
		active_command_ended(list->agent->active, c->row->mode == COMMAND_STARTED);
	if (c->row->mode == COMMAND_STARTED)
		return; /* recorded when it was accepted */
	if (c->error.code == 400)
		command_free(c);
	else
		record(list, c);
}

static void add_waiter(struct command_list *list, const struct command *c,
		       struct command_asker asker)
{
	struct waiter w = {.command = c, .asker = asker};

	g_array_append_val(list->waiters, w);
}

static void start(struct command_list *list, struct command *c, struct command_asker asker)
{
	bool started = c->row->mode == COMMAND_STARTED;

	c->status = COMMAND_RUNNING;
	list->running = c;
	if (started)
		record(list, c);
	if (started && (!asker.wait || list->waiters->len >= COMMANDS_WAITED))
		reply_command(c, asker);
	else
		add_waiter(list, c, asker);
	hand_to_thread(list, c, false);
}

static void run_at_once(struct command_list *list, struct command *c, struct command_asker asker)
{
	run(list, c);
	settle(list, c);
	leave_if_over(list);
	if (c->error.code == 400) {
		reply_fault(asker, &c->error);
		command_free(c);
		return;
	}
	record(list, c);
	reply_command(c, asker);
}

/* A started command that cannot run is still accepted, and fails like any other. */
static void fail_at_once(struct command_list *list, struct command *c,
			 const struct agent_error *reason, struct command_asker asker)
{
	agent_error_set(&c->made_error, AGENT_ERROR_EXECUTION, "%s", reason->details);
	settle(list, c);
	record(list, c);
	reply_command(c, asker);
}

static void dispatch(struct command_list *list, struct command_request *request,
		     const struct command_row *row, struct command_asker asker)
{
	g_auto(agent_error) error = {.type = NULL};
	bool good = command_row_check(row, request->params, &error);

	if (!good && row->mode != COMMAND_STARTED) {
		reply_fault(asker, &error);
		return;
	}
	struct command *c = g_new0(struct command, 1);

	c->id = uuid_new();
	c->row = row;
	c->full_name = g_strdup_printf("%s.%s", row->extension, row->name);
	/* Taken out of the body, so that the thread is the only one who holds them. */
	c->params = json_incref(request->params);
	json_object_del(request->body, "params");
	c->context = command_context_new(list->agent->options.root);
	log_info(NULL, "command accepted", F_STR("command", c->full_name), F_STR("id", c->id.s));
	if (!good)
		fail_at_once(list, c, &error, asker);
	else if (row->mode == COMMAND_AT_ONCE)
		run_at_once(list, c, asker);
	else
		start(list, c, asker);
}

void commands_run(struct command_list *list, const char *body, size_t length,
		  struct command_asker asker)
{
	g_auto(command_request) request = {.body = NULL};
	g_auto(agent_error) error = {.type = NULL};
	g_autoptr(GError) reason = NULL;

	if (!command_request_parse(body, length, &request, &reason)) {
		g_autoptr(json_t) fault = commands_fault(400, reason->message);

		asker.reply(asker.ctx, 400, fault);
		return;
	}
	const struct command_row *row = command_row_find(request.name, &error);

	/* A name without a dot is refused first, then everything while a command runs. */
	if (list->running && strchr(request.name, '.')) {
		agent_error_clear(&error);
		agent_error_set(&error, AGENT_ERROR_BUSY, "executing command %s",
				list->running->row->name);
	}
	if (error.type)
		reply_fault(asker, &error);
	else
		dispatch(list, &request, row, asker);
}

/* ---- looking */

void commands_show(struct command_list *list, const char *id, struct command_asker asker)
{
	for (GList *l = list->recorded.head; l; l = l->next) {
		struct command *c = l->data;

		if (!g_str_equal(c->id.s, id))
			continue;
		if (asker.wait && c == list->running && list->waiters->len < COMMANDS_WAITED)
			add_waiter(list, c, asker);
		else
			reply_command(c, asker);
		return;
	}
	g_auto(agent_error) error = {.type = NULL};

	agent_error_set(&error, AGENT_ERROR_NOT_FOUND, "Command Result with id %.64s not found.",
			id);
	reply_fault(asker, &error);
}

json_t *commands_json(struct command_list *list)
{
	json_t *results = json_array();

	for (GList *l = list->recorded.head; l; l = l->next)
		json_array_append_new(results, command_json(l->data));
	return json_pack("{s:o}", "commands", results);
}

bool commands_is_busy(const struct command_list *list)
{
	return list->running != NULL;
}

void commands_forget(struct command_list *list, const void *ctx)
{
	for (guint i = 0; i < list->waiters->len; i++) {
		if (g_array_index(list->waiters, struct waiter, i).asker.ctx == ctx) {
			g_array_remove_index(list->waiters, i);
			return;
		}
	}
}

struct command_list *commands_new(struct agent *a)
{
	struct command_list *list = g_new0(struct command_list, 1);

	list->agent = a;
	g_queue_init(&list->recorded);
	list->waiters = g_array_new(FALSE, FALSE, sizeof(struct waiter));
	pthread_mutex_init(&list->lock, NULL);
	pthread_cond_init(&list->changed, NULL);
	list->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_assert(list->ended_fd >= 0);
	list->ended_watch = loop_watch_new(a->l, list->ended_fd, on_ended, list);
	if (pthread_create(&list->thread, NULL, command_thread, list) != 0)
		g_error("the command thread cannot be started");
	return list;
}

void commands_free(struct command_list *list)
{
	if (!list)
		return;
	if (list->running)
		command_context_cancel(list->running->context);
	hand_to_thread(list, NULL, true);
	pthread_join(list->thread, NULL);
	if (list->running && list->running->row->mode != COMMAND_STARTED)
		command_free(list->running);
	g_queue_clear_full(&list->recorded, command_free);
	g_array_unref(list->waiters);
	pthread_mutex_destroy(&list->lock);
	pthread_cond_destroy(&list->changed);
	loop_watch_free(list->ended_watch);
	close(list->ended_fd);
	g_free(list);
}
