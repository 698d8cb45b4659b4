#include <string.h>

#include "agent_reply.h"
#include "dialer_part.h"
#include "errors.h"
#include "limit.h"

/* So much of parameters waits or is on its way: the conductor is not listened to until half of it is gone. */
#define CALL_BYTES_MOST (64u * 1024 * 1024)

void call_count(struct dialer *d, struct call *c, size_t bytes)
{
	c->bytes = bytes;
	d->call_bytes += bytes;
	if (d->call_bytes >= CALL_BYTES_MOST)
		channel_hold(d->channel, true);
}

void call_free(struct dialer *d, struct call *c)
{
	if (!c)
		return;
	d->call_bytes -= c->bytes;
	if (d->call_bytes <= CALL_BYTES_MOST / 2)
		channel_hold(d->channel, false);
	g_free(c->command);
	g_free(c->params);
	g_free(c);
}

static void send_reply(struct dialer *d, const struct watch *w, const struct call *c,
		       struct message_agent_reply *reply)
{
	struct message m = {.type = MESSAGE_agent_reply};

	reply->request = c->request;
	reply->node = w->node;
	reply->epoch = w->epoch;
	m.agent_reply = *reply;
	dialer_send(d, &m);
}

void call_reject(struct dialer *d, const struct watch *w, struct call *call, bool begun,
		 const char *reason)
{
	g_autofree char *text = g_strdup(reason);
	struct message_agent_reply reply = {.result = INOX_ERROR_CONFLICT + 1,
					    .unclear = begun && call->command,
					    .reason = text};

	d->metrics.calls_rejected++;
	send_reply(d, w, call, &reply);
	call_free(d, call);
}

static enum inox_error code_of_status(int status)
{
	switch (status) {
	case 401: return INOX_ERROR_DENIED;
	case 404: return INOX_ERROR_NOT_FOUND;
	case 409: return INOX_ERROR_BUSY;
	default: return status >= 400 && status < 500 ? INOX_ERROR_INVALID : INOX_ERROR_PEER;
	}
}

static void fail(struct message_agent_reply *reply, int code, const char *reason)
{
	reply->result = (uint32_t)code + 1;
	reply->reason = g_strdup(reason);
}

static size_t reply_limit(const struct call *c)
{
	static const char *const large[] = {"get_hardware_info", "collect_system_logs"};
	const char *dot = c->command ? strchr(c->command, '.') : NULL;

	for (size_t i = 0; dot && i < G_N_ELEMENTS(large); i++)
		if (strcmp(dot + 1, large[i]) == 0)
			return LIMIT_INVENTORY;
	return LIMIT_AGENT_REPLY;
}

/* The agent answered 200.  What cannot be read may have been carried out all the same. */
static void read_answer(const struct call *c, const struct http_outcome *outcome,
			struct message_agent_reply *reply)
{
	g_autoptr(GError) error = NULL;
	g_auto(agent_result) r = {.reason = NULL};

	if (!c->command)
		reply->outcome =
			agent_reply_list(outcome->body, outcome->length, reply_limit(c), &error);
	else if (agent_reply_result(outcome->body, outcome->length, reply_limit(c), &r, &error)) {
		reply->command = g_strdup(r.id.s);
		reply->status = r.status;
		reply->reason = g_steal_pointer(&r.reason);
		reply->outcome = g_steal_pointer(&r.outcome);
	}
	if (!error)
		return;
	reply->unclear = c->command;
	fail(reply, error->code, error->message);
}

static void on_done(void *ctx, const struct http_outcome *outcome)
{
	struct dialer *d;
	struct watch *w = dialer_finish(ctx, outcome, &d);
	struct call *c = w->calls;
	struct message_agent_reply reply = {.result = 0};

	w->calls = c->next;
	if (outcome->error) {
		reply.unclear = outcome->sent && c->command;
		reply.refused = !outcome->sent && outcome->reached == MILESTONE_ADDRESS;
		fail(&reply, outcome->error->code, outcome->error->message);
	} else if (outcome->status != 200) {
		g_autofree char *reason = agent_reply_fault(outcome->status, outcome->body,
							    outcome->length, &reply.busy);

		fail(&reply, reply.busy ? INOX_ERROR_BUSY : code_of_status(outcome->status),
		     reason);
	} else {
		read_answer(c, outcome, &reply);
	}
	send_reply(d, w, c, &reply);
	g_free(reply.command);
	g_free(reply.reason);
	g_free(reply.outcome);
	call_free(d, c);
	dialer_look_after(d, w, SPAN_MS(0));
}

void call_start(struct dialer *d, struct watch *w)
{
	const struct call *c = w->calls;
	struct span limit =
		c->wait && c->timeout_s ? SPAN_SECONDS(c->timeout_s) : dialer_command_timeout(d);
	g_autofree char *body = c->command ? g_strdup_printf("{\"name\": \"%s\", \"params\": %s}",
							     c->command, c->params)
					   : NULL;
	struct question q = {.slot = SLOT_CALL,
			     .method = c->command ? "POST" : "GET",
			     .resource = "/commands/",
			     .query = !c->command ? ""
				      : c->wait   ? "wait=true&"
						  : "wait=false&",
			     .body = body,
			     .reply_limit = reply_limit(c),
			     .first_byte = limit,
			     .total = limit};

	dialer_ask(d, w, &q, on_done);
}
