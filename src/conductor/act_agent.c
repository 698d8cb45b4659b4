/* Actions that ask the agent, and what its dialer is to watch. */
#include "act.h"
#include "agent_call.h"
#include "crash_point.h"
#include "deployment.h"
#include "errors.h"
#include "identity_check.h"
#include "jsons.h"
#include "rescue_call.h"

struct secret *act_open_token(struct act *a, GError **error)
{
	if (!a->n->agent_token) {
		inox_error_set(error, INOX_ERROR_INVALID, "the node has no agent token");
		return NULL;
	}
	return seal_open(a->c->key, a->n->uuid.s, a->n->agent_token, error);
}

bool act_read_transport(const struct act *a, enum agent_transport *ret_transport, GError **error)
{
	return deployment_transport(a->n, config_text(a->c->config, OPTION_agent_transport),
				    ret_transport, error);
}

static unsigned command_timeout_s(const struct conductor *c)
{
	return (unsigned)(config_span(c->config, OPTION_agent_command_timeout).us / 1000000);
}

static json_t *call_params(struct act *a, GError **error)
{
	if (flow_action(&a->f) == ACTION_FINALIZE)
		return rescue_call_params(a->c->config, a->c->key, a->n, error);
	g_autoptr(GPtrArray) ports = identity_ports(a->c->store, a->n, error);

	return ports ? agent_call_params(a->c->config, a->n, &a->f, ports, error) : NULL;
}

static bool send_call(struct act *a, GError **error)
{
	enum action action = flow_action(&a->f);
	g_autoptr(json_t) params = call_params(a, error);
	g_auto(message) m = {.type = MESSAGE_dialer_call};

	if (!params)
		return false;
	m.dialer_call = (struct message_dialer_call){
		.request = a->c->next_request,
		.node = a->n->uuid,
		.epoch = (uint64_t)a->n->boot_epoch,
		.command = g_strdup(agent_call_name(&a->f)),
		.params = json_print_compact(params),
		.wait = agent_call_waits(action),
		.timeout_s = command_timeout_s(a->c),
	};
	return act_ask(a, ROLE_DIALER, false, &m, m.dialer_call.timeout_s, error);
}

bool act_call(struct act *a, GError **error)
{
	return act_is_under_way(a, ROLE_DIALER) || send_call(a, error);
}

static bool send_list(struct act *a, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_dialer_list};

	m.dialer_list = (struct message_dialer_list){.request = a->c->next_request,
						     .node = a->n->uuid,
						     .epoch = (uint64_t)a->n->boot_epoch};
	return act_ask(a, ROLE_DIALER, true, &m, command_timeout_s(a->c), error);
}

static void post_sending(struct act *a)
{
	struct item item = {
		.kind = ITEM_SENDING, .node = a->run->node, .turn = (uint64_t)a->f.turn};

	conductor_post(a->c, &item);
}

/* True once per commit of "about to send" by this process. */
static bool may_send(struct act *a)
{
	bool fresh = a->run->send_turn == (uint64_t)a->f.turn;

	a->run->send_turn = 0;
	return fresh;
}

/* "About to send" is committed first.  Found in the row without having been written by this very turn of
 * this process, it means that the command may have gone out: then the agent is asked. */
bool act_step(struct act *a, GError **error)
{
	if (act_is_under_way(a, ROLE_DIALER))
		return true;
	if (!a->f.sending) {
		post_sending(a);
		return true;
	}
	if (!may_send(a))
		return send_list(a, error);
	crash_point("step/sending");
	bool sent = send_call(a, error);

	crash_point("step/sent");
	return sent;
}

/* May be carried out twice, but each attempt is counted before it is made: see finalize_reply(). */
bool act_finalize(struct act *a, GError **error)
{
	if (act_is_under_way(a, ROLE_DIALER))
		return true;
	if (!may_send(a)) {
		post_sending(a);
		return true;
	}
	crash_point("finalize/sending");
	bool sent = send_call(a, error);

	crash_point("finalize/sent");
	return sent;
}

void node_unwatch(struct conductor *c, struct run *run)
{
	g_auto(message) m = {.type = MESSAGE_dialer_forget};
	struct channel *dialer = conductor_channel(c, ROLE_DIALER, &run->node);

	if (!run->watch)
		return;
	g_clear_pointer(&run->watch, g_free);
	m.dialer_forget.node = run->node;
	if (dialer)
		(void)!channel_send(dialer, &m, NULL);
}

static bool send_watch(struct act *a, enum watch_phase phase, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_dialer_watch};
	enum agent_transport transport;
	const char *known = json_peek_string(a->n->driver_info, "agent_certificate_sha256");

	if (!act_read_transport(a, &transport, error))
		return false;
	m.dialer_watch = (struct message_dialer_watch){
		.node = a->n->uuid,
		.epoch = (uint64_t)a->n->boot_epoch,
		.address = g_strdup(a->n->agent_address),
		.port = (uint32_t)config_int(a->c->config, OPTION_agent_port),
		.transport = (uint32_t)transport,
		.certificate = g_strdup(known ? known : a->f.pin),
		.phase = phase,
		.interval_s = (uint32_t)(config_poll_interval(a->c->config).us / 1000000),
		.command = g_strdup(a->f.command),
		.offer = a->f.by_contact && phase == WATCH_FIRST_CONTACT,
	};
	m.dialer_watch.token = act_open_token(a, error);
	return m.dialer_watch.token &&
	       channel_send(conductor_channel(a->c, ROLE_DIALER, &a->run->node), &m, error);
}

bool act_keep_watch(struct act *a, GError **error)
{
	enum flow_watch want = action_info[flow_action(&a->f)].watch;
	bool waiting = flow_action(&a->f) == ACTION_STEP_WAIT || flow_action(&a->f) == ACTION_IDLE;
	/* The agent of an active node says itself when it is there; a held cleaning may have none. */
	bool nobody = (a->f.active && !a->f.called) || (want == WATCH_STILL && !a->n->agent_token);

	if (want == WATCH_OFF || nobody) {
		node_unwatch(a->c, a->run);
		return true;
	}
	if (!conductor_channel(a->c, ROLE_DIALER, &a->run->node))
		return true;
	g_autofree char *text = g_strdup_printf("%lld %d %s %lld", (long long)a->n->boot_epoch,
						(int)want, a->f.command ? a->f.command : "-",
						waiting ? (long long)a->f.turn : 0LL);

	if (g_strcmp0(text, a->run->watch) == 0 || conductor_is_full(a->c, a->run, ROLE_DIALER))
		return true;
	if (!send_watch(a, agent_call_watch(want), error))
		return false;
	g_free(a->run->watch);
	a->run->watch = g_steal_pointer(&text);
	return true;
}
