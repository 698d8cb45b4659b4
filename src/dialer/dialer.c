#include "dialer.h"

#include <string.h>

#include "dialer_part.h"
#include "errors.h"
#include "log.h"
#include "pacing.h"

#define TOKEN_SET G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_-.~+=%&"

struct loop *dialer_loop(const struct dialer *d)
{
	return d->loop;
}

struct span dialer_command_timeout(const struct dialer *d)
{
	return config_span(d->config, OPTION_agent_command_timeout);
}

void dialer_send(struct dialer *d, const struct message *m)
{
	g_autoptr(GError) error = NULL;

	if (channel_send(d->channel, m, &error))
		return;
	log_error(NULL, "the conductor cannot be told", F_ERR(error));
	loop_stop(d->loop);
}

/* ---- messages of the conductor */

/* Whatever is under way or waits for this record; of a call that runs nobody knows what became of it. */
static void drop_work(struct dialer *d, struct watch *w, const char *reason)
{
	bool begun = dialer_runs_call(w);
	struct call *c = w->calls;

	dialer_cancel(d, w);
	schedule_remove(d->schedule, w->id);
	w->waiting = SLOT_NONE;
	w->calls = NULL;
	while (c) {
		struct call *next = c->next;

		call_reject(d, w, c, begun, reason);
		begun = false;
		c = next;
	}
}

static void count_phase(struct dialer *d, struct watch *w, int change)
{
	if (change < 0 && !w->counted)
		return;
	w->counted = change > 0;
	d->watched[w->phase] += (unsigned)change;
}

/* Everything that belongs to an epoch. */
static void forget_epoch(struct dialer *d, struct watch *w)
{
	struct watch empty = {.id = w->id, .node = w->node};

	count_phase(d, w, -1);
	drop_work(d, w, "the boot that this command was for is over");
	explicit_bzero(w, sizeof(*w));
	*w = empty;
}

/* NULL, or why the node is not watched. */
static char *check_address(struct dialer *d, const struct message_dialer_watch *m,
			   struct dial_address *ret_to)
{
	unsigned count;
	const struct network *list =
		config_networks(d->config, OPTION_agent_allowed_networks, &count);
	g_autoptr(GError) error = NULL;

	if (dial_address_check(m->address, m->port, list, count, ret_to, &error))
		return NULL;
	d->metrics.watch_outside++;
	if (g_error_matches(error, INOX_ERROR, INOX_ERROR_DENIED))
		return g_strdup_printf("the agent's address %s is outside [agent]allowed_networks",
				       m->address);
	return g_strdup_printf("the agent's address cannot be dialled: %s", error->message);
}

static const char *check_channel(const struct message_dialer_watch *m)
{
	if (m->transport > TRANSPORT_HTTP || m->phase > WATCH_IDLE)
		return "the transport or the phase of the watch is unknown";
	if (m->transport == TRANSPORT_PINNED && strlen(m->certificate) != WATCH_PIN_TEXT - 1)
		return "transport is pinned, but no certificate is known";
	if (!m->token)
		return "the node has no agent token";
	/* It is written into JSON as it is. */
	if (m->offer && (m->transport == TRANSPORT_PINNED || m->phase != WATCH_FIRST_CONTACT ||
			 strspn(secret_peek(m->token), TOKEN_SET) != secret_length(m->token)))
		return "this token cannot be given by contact";
	return NULL;
}

static char *check_watch(struct dialer *d, const struct message_dialer_watch *m,
			 struct dial_address *ret_to)
{
	char *problem = check_address(d, m, ret_to);
	const char *other = problem ? NULL : check_channel(m);

	d->metrics.watch_wrong += other != NULL;
	return other ? g_strdup(other) : problem;
}

static void set_identity(struct watch *w, const struct message_dialer_watch *m,
			 const struct dial_address *to)
{
	w->to = *to;
	w->transport = (uint8_t)m->transport;
	g_strlcpy(w->token, secret_peek(m->token), sizeof(w->token));
	g_strlcpy(w->pin, m->certificate, sizeof(w->pin));
	w->offer = m->offer;
	tls_psk_of_token(m->token, w->psk);
}

/* A new command to follow starts with quick looks. */
static void set_work(struct dialer *d, struct watch *w, const struct message_dialer_watch *m)
{
	struct uuid command = {""};

	if (*m->command && !uuid_parse(m->command, &command, NULL))
		log_warn(w->node.s, "the command to follow is not a UUID");
	count_phase(d, w, -1);
	if (strcmp(command.s, w->command.s) != 0 || m->phase != w->phase)
		w->looks = 0;
	if (strcmp(command.s, w->command.s) != 0) {
		w->command_status = COMMAND_UNKNOWN;
		w->done = 0;
	}
	w->command = command;
	w->phase = (uint8_t)m->phase;
	count_phase(d, w, 1);
	w->interval_s = MAX(m->interval_s, 1);
	/* Who asks for the first contact wants to be told of it, and so does who asks again whether an idle agent is
	 * still there. */
	if (m->phase != WATCH_WORKING)
		w->alive = false;
	/* A look that runs for the old work is not waited for; a call is. */
	if (!dialer_runs_call(w))
		dialer_cancel(d, w);
}

static void on_watch(struct dialer *d, const struct message_dialer_watch *m)
{
	struct watch *w = table_find(d->table, &m->node);
	bool fresh = !w || w->epoch != m->epoch;
	struct dial_address to;
	g_autofree char *problem = NULL;

	if (!w)
		w = table_add(d->table, &m->node);
	else if (fresh)
		forget_epoch(d, w);
	w->epoch = m->epoch;
	if ((problem = check_watch(d, m, &to))) {
		look_refuse(d, w, problem);
		drop_work(d, w, problem);
		return;
	}
	w->halted = w->token_lost;
	set_identity(w, m, &to);
	set_work(d, w, m);
	if (fresh)
		w->begun = loop_now(d->loop);
	if (!w->running)
		dialer_look_after(d, w,
				  fresh ? pacing_first(w->phase, SPAN_SECONDS(w->interval_s),
						       d->watched[w->phase], &w->node, w->begun)
					: SPAN_MS(0));
}

static void on_forget(struct dialer *d, const struct uuid *node)
{
	struct watch *w = table_find(d->table, node);

	if (!w)
		return;
	forget_epoch(d, w);
	table_remove(d->table, w);
}

/* Takes the call. */
static void add_call(struct dialer *d, const struct uuid *node, uint64_t epoch, struct call *c)
{
	struct watch *w = table_find(d->table, node);
	struct watch none = {.node = *node, .epoch = epoch};

	if (!w || w->epoch != epoch || w->halted) {
		call_reject(d, &none, c, false,
			    w && w->halted ? "the agent is left alone: its last refusal says why"
					   : "this boot of the node is not watched");
		return;
	}
	struct call **end = &w->calls;

	while (*end)
		end = &(*end)->next;
	*end = c;
	if (!dialer_runs_call(w))
		dialer_cancel(d, w);
	if (!w->running)
		dialer_wait_for_slot(d, w);
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct dialer *d = ctx;
	struct call *c;

	g_assert(fd < 0);
	if (m->type == MESSAGE_dialer_watch) {
		on_watch(d, &m->dialer_watch);
	} else if (m->type == MESSAGE_dialer_forget) {
		on_forget(d, &m->dialer_forget.node);
	} else if (m->type == MESSAGE_dialer_call) {
		c = g_new0(struct call, 1);
		c->request = m->dialer_call.request;
		c->command = g_steal_pointer(&m->dialer_call.command);
		c->params = g_steal_pointer(&m->dialer_call.params);
		c->wait = m->dialer_call.wait;
		c->timeout_s = m->dialer_call.timeout_s;
		call_count(d, c, sizeof(*c) + m->length);
		add_call(d, &m->dialer_call.node, m->dialer_call.epoch, c);
	} else if (m->type == MESSAGE_dialer_list) {
		c = g_new0(struct call, 1);
		c->request = m->dialer_list.request;
		add_call(d, &m->dialer_list.node, m->dialer_list.epoch, c);
	} else if (m->type == MESSAGE_dialer_report) {
		figures_send(d);
	} else {
		log_warn(NULL, "unexpected message of the conductor",
			 F_STR("type", message_type_text(m->type)));
	}
}

static void on_closed(void *ctx, const GError *error)
{
	struct dialer *d = ctx;

	log_info(NULL, "the conductor is gone", F_ERR(error));
	loop_stop(d->loop);
}

/* ---- life */

struct dialer *dialer_new(struct loop *l, const struct config *c, int channel_fd)
{
	struct dialer *d = g_new0(struct dialer, 1);

	d->loop = l;
	d->config = c;
	d->table = table_new();
	d->schedule = schedule_new();
	d->client = http_client_new(l);
	d->slots = slots_new(d);
	d->report = loop_timer_new(l, figures_send, d);
	loop_timer_arm(d->report, SPAN_SECONDS(1));
	d->channel = channel_new(l, channel_fd, on_message, on_closed, d);
	return d;
}

static void *ask_connector(void *with, const struct endpoint *to, http_opened_fn opened, void *ctx)
{
	return connect_ask(with, to, opened, ctx);
}

static void cancel_ask(void *ask)
{
	connect_ask_cancel(ask);
}

void dialer_connect_with(struct dialer *d, struct connect_client *client)
{
	struct http_opener o = {.open = ask_connector, .cancel = cancel_ask, .with = client};

	http_client_open_with(d->client, &o);
}

static void free_watch(void *ctx, struct watch *w)
{
	struct dialer *d = ctx;

	dialer_cancel(d, w);
	while (w->calls) {
		struct call *next = w->calls->next;

		call_free(d, w->calls);
		w->calls = next;
	}
	table_remove(d->table, w);
}

void dialer_free(struct dialer *d)
{
	if (!d)
		return;
	table_each(d->table, free_watch, d);
	slots_free(d->slots);
	loop_timer_free(d->report);
	channel_free(d->channel);
	http_client_free(d->client);
	schedule_free(d->schedule);
	table_free(d->table);
	g_free(d);
}
