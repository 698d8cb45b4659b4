/* node_act(): what the committed row still needs is started here, and nowhere else. */
#include <string.h>

#include "agent_call.h"
#include "boot_call.h"
#include "crash_point.h"
#include "deployment.h"
#include "errors.h"
#include "identity_check.h"
#include "inside.h"
#include "jsons.h"
#include "log.h"
#include "rescue_call.h"

/* A power state that is being reached is looked at this often. */
#define PAUSE_BETWEEN_LOOKS SPAN_SECONDS(1)
/* After a start, agents and BMCs get this long to be heard before old deadlines count. */
#define GRACE         SPAN_SECONDS(30)
#define BMC_TIMEOUT_S 30
/* A BMC that fetches the whole medium before it answers. */
#define MEDIA_TIMEOUT_S 150
#define BOOT_TIMEOUT_S  120
#define LONGEST_SLEEP   ((struct mono){24 * 3600 * (uint64_t)1000000})
/* On top of a worker's own time limit, before a request counts as lost. */
#define SPARE_S 15

struct act {
	struct conductor *c;
	struct run *run;
	const struct node *n;
	struct flow f;
};

static void on_timer(void *ctx)
{
	struct run *run = ctx;
	struct item item = {.kind = run->timer_is_deadline ? ITEM_DEADLINE : ITEM_LOOK,
			    .node = run->node,
			    .turn = run->timer_turn};

	conductor_post(run->c, &item);
}

static struct mono mono_of(const struct conductor *c, struct wall t)
{
	int64_t away = t.us - wall_now().us;

	return mono_add(loop_now(c->loop), (struct span){MAX(away, 0)});
}

/* The earlier of the deadline and the next attempt. */
static void arm(struct act *a, bool waits, struct mono next)
{
	struct conductor *c = a->c;
	struct run *run = a->run;
	struct mono now = loop_now(c->loop);
	struct mono grace = mono_add(c->started, GRACE);
	struct mono due = mono_of(c, a->f.until);

	/* Passed while no conductor ran: only counts when the world had time to speak. */
	if (due.us <= now.us && !mono_reached(grace, now))
		due = grace;
	run->timer_is_deadline = true;
	run->timer_turn = (uint64_t)a->f.turn;
	if (waits && next.us < due.us) {
		due = next;
		run->timer_is_deadline = false;
	}
	/* What has no deadline is looked at once a day. */
	due.us = MIN(due.us, now.us + LONGEST_SLEEP.us);
	if (!run->timer)
		run->timer = loop_timer_new(c->loop, on_timer, run);
	loop_timer_arm(run->timer, (struct span){(int64_t)(due.us - MIN(due.us, now.us)) + 1000});
}

/* When the phase may act; false: not now. */
static bool may_act(struct act *a)
{
	struct mono now = loop_now(a->c->loop);
	struct mono next = {0};

	if (a->f.retry_at.us > wall_now().us)
		next = mono_of(a->c, a->f.retry_at);
	if (a->run->answered_turn == (uint64_t)a->f.turn) {
		struct mono pause = mono_add(a->run->answered_at, PAUSE_BETWEEN_LOOKS);

		next.us = MAX(next.us, pause.us);
	}
	bool waits = next.us > now.us;

	arm(a, waits, next);
	return !waits;
}

/* One request of a node at a worker at a time; a lost one is given up. */
static bool is_under_way(struct act *a, enum role worker)
{
	uint64_t id = a->run->requests[worker];
	const struct request *rq = g_hash_table_lookup(a->c->requests, &id);

	if (!rq)
		return false;
	bool stale = worker == ROLE_DIALER && rq->turn != (uint64_t)a->f.turn;

	if (!stale && !mono_reached(rq->due, loop_now(a->c->loop)))
		return true;
	conductor_forget_request(a->c, id);
	return false;
}

static bool ask(struct act *a, enum role worker, bool list, const struct message *m,
		unsigned timeout_s, GError **error)
{
	struct request rq = {
		.id = a->c->next_request,
		.node = a->run->node,
		.worker = worker,
		.turn = (uint64_t)a->f.turn,
		.list = list,
		.due = mono_add(loop_now(a->c->loop), SPAN_SECONDS(timeout_s + SPARE_S))};

	return conductor_request(a->c, a->run, &rq, m, error);
}

/* ---- bmc */

static struct secret *open_password(struct conductor *c, const struct node *n, GError **error)
{
	const char *text = json_peek_string(n->driver_info, "redfish_password");

	if (!text)
		return NULL;
	return seal_is_sealed(text) ? seal_open(c->key, n->uuid.s, text, error) : secret_new(text);
}

bool fill_bmc_request(struct conductor *c, const struct node *n, enum bmc_operation operation,
		      struct message *ret_message, GError **error)
{
	const json_t *info = n->driver_info;
	const char *address = json_peek_string(info, "redfish_address");
	const char *auth = json_peek_string(info, "redfish_auth_type");
	g_autoptr(GError) sealed = NULL;
	struct message m = {.type = MESSAGE_bmc_request};
	bool verify;
	int auth_type = auth ? bmc_auth_parse(auth) : BMC_AUTH_AUTO;

	if (auth_type < 0)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"driver_info.redfish_auth_type must be auto, session or basic");
	if (g_strcmp0(n->driver, "redfish") == 0 &&
	    !address_check_bmc(c->config, address ? address : "", error))
		return false;
	if (!deployment_flag(n, "redfish_verify_ca", true, &verify, error))
		return false;
	struct secret *password = open_password(c, n, &sealed);

	if (sealed) {
		g_propagate_prefixed_error(error, g_steal_pointer(&sealed),
					   "driver_info.redfish_password: ");
		return false;
	}
	m.bmc_request = (struct message_bmc_request){
		.request = c->next_request,
		.node = n->uuid,
		.operation = operation,
		.driver = g_strdup(n->driver),
		.address = g_strdup(address),
		.system = g_strdup(json_peek_string(info, "redfish_system_id")),
		.username = g_strdup(json_peek_string(info, "redfish_username")),
		.password = password,
		.verify = verify,
		.auth = (uint32_t)auth_type,
		.timeout_s = BMC_TIMEOUT_S,
	};
	*ret_message = m;
	return true;
}

static enum power_target power_target_of(enum action action)
{
	if (action == ACTION_POWER_ON)
		return TARGET_POWER_ON;
	return action == ACTION_SOFT_OFF ? TARGET_SOFT_POWER_OFF : TARGET_POWER_OFF;
}

static bool send_bmc(struct act *a, enum bmc_operation operation, enum boot_device device,
		     GError **error)
{
	g_auto(message) m = {.type = MESSAGE_NONE};

	if (is_under_way(a, ROLE_BMC))
		return true;
	if (!fill_bmc_request(a->c, a->n, operation, &m, error))
		return false;
	m.bmc_request.power = power_target_of(flow_action(&a->f));
	m.bmc_request.device = device;
	m.bmc_request.persistent = device == BOOT_DEVICE_DISK;
	m.bmc_request.boot_mode = device == BOOT_DEVICE_NONE ? 0 : deployment_boot_mode(a->n);
	return ask(a, ROLE_BMC, false, &m, BMC_TIMEOUT_S, error);
}

static bool act_get_power(struct act *a, GError **error)
{
	return send_bmc(a, BMC_GET_POWER, BOOT_DEVICE_NONE, error);
}

static bool act_power(struct act *a, GError **error)
{
	return send_bmc(a, a->f.asked_at.us ? BMC_GET_POWER : BMC_SET_POWER, BOOT_DEVICE_NONE,
			error);
}

static bool act_boot_pxe(struct act *a, GError **error)
{
	return send_bmc(a, BMC_SET_BOOT, BOOT_DEVICE_PXE, error);
}

static bool act_boot_cd(struct act *a, GError **error)
{
	return send_bmc(a, BMC_SET_BOOT, BOOT_DEVICE_CDROM, error);
}

/* Where the BMC reads the ISO of this boot. */
static char *media_url(const struct act *a, GError **error)
{
	const char *own = config_text(a->c->config, OPTION_boot_media_url);
	g_autofree char *base =
		g_strdup(*own ? own : config_text(a->c->config, OPTION_boot_http_url));

	while (g_str_has_suffix(base, "/"))
		base[strlen(base) - 1] = '\0';
	if (*base && a->f.path)
		return g_strdup_printf("%s/once/%s/boot.iso", base, a->f.path);
	inox_error_set(error, INOX_ERROR_INVALID,
		       "virtual media need [boot]media_url or [boot]http_url");
	return NULL;
}

static bool send_media(struct act *a, enum bmc_operation operation, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_NONE};
	g_autofree char *url = NULL;

	if (is_under_way(a, ROLE_BMC))
		return true;
	if (operation == BMC_INSERT_MEDIA && !(url = media_url(a, error)))
		return false;
	if (!fill_bmc_request(a->c, a->n, operation, &m, error))
		return false;
	m.bmc_request.media_url = g_steal_pointer(&url);
	m.bmc_request.timeout_s = MEDIA_TIMEOUT_S;
	return ask(a, ROLE_BMC, false, &m, MEDIA_TIMEOUT_S, error);
}

static bool act_insert(struct act *a, GError **error)
{
	return send_media(a, BMC_INSERT_MEDIA, error);
}

static bool act_eject(struct act *a, GError **error)
{
	return send_media(a, BMC_EJECT_MEDIA, error);
}

static bool act_boot_disk(struct act *a, GError **error)
{
	return send_bmc(a, BMC_SET_BOOT, BOOT_DEVICE_DISK, error);
}

/* ---- boot publisher */

/* Comma separated, the port that gets the address first. */
static char *list_macs(struct act *a, bool needed, GError **error)
{
	g_autoptr(GPtrArray) ports = identity_ports(a->c->store, a->n, error);
	GString *text = g_string_new(NULL);

	for (guint i = 0; ports && i < ports->len; i++) {
		const struct port *p = ports->pdata[i];
		char mac[MAC_TEXT];

		mac_print(p->address, mac);
		g_string_append_printf(text, "%s%s", i ? "," : "", mac);
	}
	if (!ports || (needed && ports->len == 0)) {
		g_string_free(text, TRUE);
		if (ports)
			inox_error_set(error, INOX_ERROR_INVALID,
				       "the node has no port to boot from");
		return NULL;
	}
	return g_string_free(text, FALSE);
}

static struct secret *open_token(struct act *a, GError **error)
{
	if (!a->n->agent_token) {
		inox_error_set(error, INOX_ERROR_INVALID, "the node has no agent token");
		return NULL;
	}
	return seal_open(a->c->key, a->n->uuid.s, a->n->agent_token, error);
}

static bool read_transport(const struct act *a, enum agent_transport *ret_transport, GError **error)
{
	return deployment_transport(a->n, config_text(a->c->config, OPTION_agent_transport),
				    ret_transport, error);
}

static bool act_publish(struct act *a, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish};
	struct message_boot_publish *p = &m.boot_publish;
	enum agent_transport transport;

	if (is_under_way(a, ROLE_BOOT))
		return true;
	p->request = a->c->next_request;
	p->node = a->n->uuid;
	p->epoch = (uint64_t)a->n->boot_epoch;
	p->address = g_strdup(a->n->agent_address);
	p->path = g_strdup(a->f.path);
	p->api_url = a->f.active ? config_agent_api_url(a->c->config) : NULL;
	if (!read_transport(a, &transport, error))
		return false;
	p->transport = (uint32_t)transport;
	p->media = deployment_uses_media(a->n);
	p->macs = list_macs(a, true, error);
	if (!p->macs || !boot_call_fill(a->c->config, a->n, p, error) ||
	    (!a->f.by_lookup && !a->f.by_contact && !(p->token = open_token(a, error))))
		return false;
	p->by_contact = a->f.by_contact;
	return ask(a, ROLE_BOOT, false, &m, BOOT_TIMEOUT_S, error);
}

enum withdrawal { WITHDRAW_ALL, WITHDRAW_ALL_BUT_ADDRESS, WITHDRAW_TOKEN_ONLY };

static bool send_withdraw(struct act *a, enum withdrawal what, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_boot_withdraw};
	struct message_boot_withdraw *w = &m.boot_withdraw;

	if (is_under_way(a, ROLE_BOOT))
		return true;
	w->request = a->c->next_request;
	w->node = a->n->uuid;
	w->epoch = (uint64_t)a->n->boot_epoch;
	w->path = g_strdup(a->f.path);
	w->token_only = what == WITHDRAW_TOKEN_ONLY;
	w->keep_address = what == WITHDRAW_ALL_BUT_ADDRESS;
	w->macs = list_macs(a, false, error);
	return w->macs && ask(a, ROLE_BOOT, false, &m, BOOT_TIMEOUT_S, error);
}

static bool act_withdraw_token(struct act *a, GError **error)
{
	return send_withdraw(a, WITHDRAW_TOKEN_ONLY, error);
}

static bool act_withdraw(struct act *a, GError **error)
{
	return send_withdraw(a, WITHDRAW_ALL, error);
}

static bool act_withdraw_boot(struct act *a, GError **error)
{
	return send_withdraw(a, WITHDRAW_ALL_BUT_ADDRESS, error);
}

/* ---- dialer */

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
	return ask(a, ROLE_DIALER, false, &m, m.dialer_call.timeout_s, error);
}

static bool act_call(struct act *a, GError **error)
{
	return is_under_way(a, ROLE_DIALER) || send_call(a, error);
}

static bool send_list(struct act *a, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_dialer_list};

	m.dialer_list = (struct message_dialer_list){.request = a->c->next_request,
						     .node = a->n->uuid,
						     .epoch = (uint64_t)a->n->boot_epoch};
	return ask(a, ROLE_DIALER, true, &m, command_timeout_s(a->c), error);
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
static bool act_step(struct act *a, GError **error)
{
	if (is_under_way(a, ROLE_DIALER))
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
static bool act_finalize(struct act *a, GError **error)
{
	if (is_under_way(a, ROLE_DIALER))
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

/* The watch answers by itself. */
static bool act_wait(struct act *a, GError **error)
{
	(void)a, (void)error;
	return true;
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

	if (!read_transport(a, &transport, error))
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
	m.dialer_watch.token = open_token(a, error);
	return m.dialer_watch.token &&
	       channel_send(conductor_channel(a->c, ROLE_DIALER, &a->run->node), &m, error);
}

/* Tells the dialer what it does not know yet.  While waiting, each turn tells it again. */
static bool keep_watch(struct act *a, GError **error)
{
	enum flow_watch want = action_info[flow_action(&a->f)].watch;
	bool waiting = flow_action(&a->f) == ACTION_STEP_WAIT || flow_action(&a->f) == ACTION_IDLE;

	/* The agent of an active node says itself when it is there. */
	if (want == WATCH_OFF || (a->f.active && !a->f.called)) {
		node_unwatch(a->c, a->run);
		return true;
	}
	if (!conductor_channel(a->c, ROLE_DIALER, &a->run->node))
		return true;
	g_autofree char *text = g_strdup_printf("%lld %d %s %lld", (long long)a->n->boot_epoch,
						(int)want, a->f.command ? a->f.command : "-",
						waiting ? (long long)a->f.turn : 0LL);

	if (g_strcmp0(text, a->run->watch) == 0)
		return true;
	if (!send_watch(a, agent_call_watch(want), error))
		return false;
	g_free(a->run->watch);
	a->run->watch = g_steal_pointer(&text);
	return true;
}

static bool (*const actions[ACTION_COUNT])(struct act *, GError **) = {
	[ACTION_GET_POWER] = act_get_power, [ACTION_POWER_OFF] = act_power,
	[ACTION_POWER_ON] = act_power,      [ACTION_SOFT_OFF] = act_power,
	[ACTION_CONFIRM_OFF] = act_power,   [ACTION_BOOT_PXE] = act_boot_pxe,
	[ACTION_BOOT_DISK] = act_boot_disk, [ACTION_BOOT_INSTANCE] = act_boot_disk,
	[ACTION_BOOT_CD] = act_boot_cd,     [ACTION_INSERT] = act_insert,
	[ACTION_EJECT] = act_eject,         [ACTION_EMPTY_DRIVE] = act_eject,
	[ACTION_PUBLISH] = act_publish,     [ACTION_WITHDRAW_TOKEN] = act_withdraw_token,
	[ACTION_WITHDRAW] = act_withdraw,   [ACTION_WITHDRAW_BOOT] = act_withdraw_boot,
	[ACTION_CONTACT] = act_wait,        [ACTION_IDENTIFY] = act_call,
	[ACTION_CLAIM] = act_call,          [ACTION_LOAD_STEPS] = act_call,
	[ACTION_STEP_SEND] = act_step,      [ACTION_STEP_WAIT] = act_wait,
	[ACTION_FINALIZE] = act_finalize,   [ACTION_SYNC] = act_call,
	[ACTION_AGENT_OFF] = act_call,      [ACTION_KEEP_AGENT] = act_withdraw_boot,
	[ACTION_IDLE] = act_wait,
};

static void act_in_motion(struct act *a)
{
	g_autoptr(GError) error = NULL;
	struct item item = {.node = a->run->node, .turn = (uint64_t)a->f.turn};

	if (a->f.until.us == 0) {
		item.kind = ITEM_TAKEN;
		conductor_post(a->c, &item);
		return;
	}
	bool may = may_act(a);

	if (!keep_watch(a, &error) || (may && !actions[flow_action(&a->f)](a, &error))) {
		item.kind = ITEM_UNABLE;
		item.reason = g_strdup(error ? error->message : NULL);
		conductor_post(a->c, &item);
	}
}

void node_act(struct conductor *c, struct run *run, const struct node *n)
{
	struct act a = {.c = c, .run = run, .n = n};
	g_autoptr(GError) error = NULL;

	if (!flow_parse(n->flow, &a.f, &error)) {
		log_error(n->uuid.s, "row is damaged", F_ERR(error));
		return;
	}
	run->in_motion = a.f.phase != PHASE_NONE;
	run->acted_at = loop_now(c->loop);
	if (!run->in_motion) {
		node_unwatch(c, run);
		if (run->timer)
			loop_timer_disarm(run->timer);
	} else {
		act_in_motion(&a);
	}
	flow_clear(&a.f);
}
