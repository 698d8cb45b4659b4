/* From what was posted to committed rows, and then to acts.
 *
 * A batch is one transaction: each node is read once, events are folded in the order they came, and nothing
 * goes out before the commit.  A commit that fails ends the process: memory and disk disagree, and a
 * restart is the path that is always tested.
 */
#include <stdlib.h>
#include <string.h>

#include "boot_call.h"
#include "crash_point.h"
#include "deployment.h"
#include "errors.h"
#include "identity_check.h"
#include "inside.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"
#include "media_call.h"
#include "verifier.h"

#define BATCH_MOST     256
#define PROGRESS_EVERY SPAN_SECONDS(2)
/* Of all nodes together: when very many work, news of what has ended comes before how far the others are. */
#define PROGRESS_MOST 250 /* a second */

/* A node of the batch. */
struct subject {
	struct node *n;
	enum phase before;
	char *error_before;
};

struct batch {
	struct conductor *c;
	GHashTable *subjects; /* UUID text (of the node) to struct subject */
	GPtrArray *order;     /* the same, as they came */
};

/* An event with what it borrows. */
struct intake {
	struct event ev;
	json_t *outcome, *macs;
	char *reason, *token, *verifier, *path, *address, *url;
};

static void intake_clear(struct intake *in)
{
	json_decref(in->outcome);
	json_decref(in->macs);
	g_free(in->reason);
	secret_wipe_text(in->token);
	g_free(in->verifier);
	g_free(in->path);
	g_free(in->address);
	g_free(in->url);
}

static void subject_free(gpointer data)
{
	struct subject *s = data;

	node_free(s->n);
	g_free(s->error_before);
	g_free(s);
}

G_NORETURN static void die(const char *what, const GError *error)
{
	log_error(NULL, "the store failed, and the conductor ends", F_STR("what", what),
		  F_ERR(error));
	abort();
}

static enum phase phase_of(const struct node *n)
{
	struct flow f = {.phase = PHASE_NONE};
	enum phase p;

	if (!flow_parse(n->flow, &f, NULL))
		return PHASE_NONE;
	p = f.phase;
	flow_clear(&f);
	return p;
}

/* NULL: the node is not there any more. */
static struct subject *load(struct batch *b, const char *uuid)
{
	struct subject *s = g_hash_table_lookup(b->subjects, uuid);
	g_autoptr(GError) error = NULL;

	if (s)
		return s;
	struct node *n = store_node_get(b->c->store, uuid, &error);

	if (!n && g_error_matches(error, INOX_ERROR, INOX_ERROR_NOT_FOUND)) {
		node_unwatch(b->c, conductor_run(b->c, uuid));
		g_hash_table_remove(b->c->runs, uuid);
		return NULL;
	}
	if (!n)
		die("read a node", error);
	s = g_new0(struct subject, 1);
	s->n = n;
	s->before = phase_of(n);
	s->error_before = g_strdup(n->last_error);
	g_hash_table_insert(b->subjects, n->uuid.s, s);
	g_ptr_array_add(b->order, s);
	return s;
}

/* ---- from messages to events */

static json_t *parse_outcome(const char *text, size_t limit, struct intake *in)
{
	g_autoptr(GError) error = NULL;

	if (!text || !*text)
		return NULL;
	json_t *value = json_parse_limited(text, strlen(text), limit, "the agent's answer", &error);

	if (!value) {
		in->ev.ok = false;
		in->reason = g_strdup(error->message);
	}
	return value;
}

static bool may_pass(uint32_t result)
{
	switch (result - 1) {
	case INOX_ERROR_BUSY:
	case INOX_ERROR_TIMEOUT:
	case INOX_ERROR_UNAVAILABLE:
	case INOX_ERROR_IO: return true;
	default: return false;
	}
}

static void read_bmc(const struct message_bmc_reply *m, struct intake *in)
{
	in->ev.kind = EVENT_BMC;
	in->ev.ok = m->result == 0;
	in->ev.retry = m->retry;
	in->ev.power = m->power <= POWER_ERROR ? (enum power_state)m->power : POWER_UNKNOWN;
	in->ev.boot_mode =
		m->boot_mode <= BOOT_MODE_UEFI ? (enum boot_mode)m->boot_mode : BOOT_MODE_UNKNOWN;
	in->reason = g_strdup(m->reason);
}

static void read_boot(const struct message_boot_reply *m, struct intake *in)
{
	in->ev.kind = EVENT_BOOT;
	in->ev.epoch = m->epoch;
	in->ev.ok = m->result == 0;
	in->ev.retry = m->retry;
	in->reason = g_strdup(m->reason);
}

static enum command_status status_of(uint32_t number)
{
	return number <= COMMAND_VERSION_MISMATCH ? (enum command_status)number : COMMAND_UNKNOWN;
}

static void read_reply(const struct message_agent_reply *m, bool list, struct intake *in)
{
	in->ev.kind = list ? EVENT_AGENT_LIST : EVENT_AGENT_REPLY;
	in->ev.epoch = m->epoch;
	in->ev.ok = m->result == 0;
	in->ev.retry = m->busy || may_pass(m->result);
	in->ev.unclear = m->unclear || m->busy;
	in->ev.refused = m->refused;
	in->ev.command = m->command;
	in->ev.status = status_of(m->status);
	in->reason = g_strdup(m->reason);
	in->outcome = parse_outcome(m->outcome, (size_t)LIMIT_INVENTORY, in);
	in->ev.outcome = in->outcome;
}

static void read_alive(struct conductor *c, const struct node *n,
		       const struct message_agent_alive *m, struct intake *in)
{
	const char *own = json_peek_string(n->driver_info, "agent_transport");
	const char *transport = own ? own : config_text(c->config, OPTION_agent_transport);
	bool v6 = n->agent_address && strchr(n->agent_address, ':');

	in->ev.kind = EVENT_AGENT_ALIVE;
	in->ev.epoch = m->epoch;
	in->ev.version = m->version;
	in->ev.started_ms = m->started_ms;
	in->ev.own_agent = m->own_agent;
	in->ev.restarted = m->restarted;
	in->url = g_strdup_printf(
		"%s://%s%s%s:%d",
		strcmp(transport, agent_transport_text(TRANSPORT_HTTP)) == 0 ? "http" : "https",
		v6 ? "[" : "", n->agent_address ? n->agent_address : "", v6 ? "]" : "",
		(int)config_int(c->config, OPTION_agent_port));
	in->ev.agent_url = in->url;
}

static void read_command(const struct message_agent_command *m, struct intake *in)
{
	in->ev.kind = EVENT_AGENT_COMMAND;
	in->ev.epoch = m->epoch;
	in->ev.command = m->command;
	in->ev.status = status_of(m->status);
	in->ev.done = m->done;
	in->ev.total = m->total;
	in->reason = g_strdup(m->reason);
}

static void read_message(struct conductor *c, const struct node *n, const struct item *item,
			 struct intake *in)
{
	const struct message *m = &item->message;

	switch ((unsigned)m->type) {
	case MESSAGE_bmc_reply: read_bmc(&m->bmc_reply, in); break;
	case MESSAGE_boot_reply: read_boot(&m->boot_reply, in); break;
	case MESSAGE_agent_reply: read_reply(&m->agent_reply, item->request.list, in); break;
	case MESSAGE_agent_alive: read_alive(c, n, &m->agent_alive, in); break;
	case MESSAGE_agent_command: read_command(&m->agent_command, in); break;
	case MESSAGE_agent_milestone:
		in->ev.kind = EVENT_AGENT_MILESTONE;
		in->ev.epoch = m->agent_milestone.epoch;
		in->ev.milestone = m->agent_milestone.milestone <= MILESTONE_COMMAND
					   ? (enum milestone)m->agent_milestone.milestone
					   : MILESTONE_NONE;
		in->reason = g_strdup(m->agent_milestone.reason);
		break;
	case MESSAGE_agent_gone:
		in->ev.kind = EVENT_AGENT_GONE;
		in->ev.epoch = m->agent_gone.epoch;
		in->ev.silent_s = m->agent_gone.seconds;
		in->reason = g_strdup(m->agent_gone.reason);
		break;
	default: g_assert_not_reached(); /* take_message() lets no other pass */
	}
	in->ev.turn = item->request.turn;
}

static void read_item(struct conductor *c, const struct node *n, const struct item *item,
		      struct intake *in)
{
	static const enum event_kind kinds[] = {
		[ITEM_DEADLINE] = EVENT_DEADLINE,     [ITEM_TAKEN] = EVENT_TAKEN,
		[ITEM_SENDING] = EVENT_SENDING,       [ITEM_UNABLE] = EVENT_UNABLE,
		[ITEM_MEDIA_OVER] = EVENT_MEDIA_OVER,
	};

	in->ev = (struct event){
		.now = wall_now(),
		.host = config_host(c->config),
		.epoch = (uint64_t)n->boot_epoch,
		.turn = item->turn,
		.fast_track = config_bool(c->config, OPTION_deploy_fast_track),
		.fast_track_s = config_patience(c->config, OPTION_deploy_fast_track_timeout),
		.automated_clean = config_bool(c->config, OPTION_conductor_automated_clean),
		.clean_priorities = c->clean_priorities,
		.limits = {.callback_s = config_patience(c->config,
							 OPTION_conductor_deploy_callback_timeout),
			   .clean_callback_s = config_patience(
				   c->config, OPTION_conductor_clean_callback_timeout),
			   .rescue_callback_s = config_patience(
				   c->config, OPTION_conductor_rescue_callback_timeout),
			   .power_s = config_patience(c->config,
						      OPTION_conductor_power_state_change_timeout)},
	};
	if (item->kind == ITEM_MESSAGE) {
		read_message(c, n, item, in);
	} else {
		in->ev.kind = kinds[item->kind];
		in->reason = g_strdup(item->reason);
	}
}

/* ---- what a pure function cannot do */

static void check_identity(struct conductor *c, const struct node *n, struct intake *in)
{
	g_autoptr(GError) error = NULL;
	enum phase p = phase_of(n);

	if (in->ev.kind != EVENT_AGENT_REPLY || !in->ev.ok || in->ev.status != COMMAND_SUCCEEDED ||
	    phase_info[p].action != ACTION_IDENTIFY)
		return;
	if (identity_check(c->store, n, in->outcome, &error))
		return;
	in->ev.ok = in->ev.retry = false;
	g_free(in->reason);
	in->reason = g_strdup(error->message);
}

/* The mode holds from here to the end of the boot, whatever is changed meanwhile. */
static bool read_mode(struct conductor *c, const struct node *n, struct deployment_mode *ret_mode,
		      GError **error)
{
	g_autofree char *url = config_agent_api_url(c->config);
	const char *delivery = config_text(c->config, OPTION_agent_token_delivery);
	const struct agent_defaults defaults = {
		.active = !config_bool(c->config, OPTION_agent_poll_only),
		.by_lookup = strcmp(delivery, "lookup") == 0,
		.by_contact = strcmp(delivery, "contact") == 0,
		.allow_contact = config_bool(c->config, OPTION_agent_allow_first_contact),
		.transport = config_text(c->config, OPTION_agent_transport),
		.api_url = url};

	return deployment_mode(n, &defaults, ret_mode, error);
}

static void prepare_boot(struct conductor *c, const struct node *n, struct intake *in)
{
	g_autoptr(GError) error = NULL;

	if ((in->ev.kind != EVENT_BMC && in->ev.kind != EVENT_BOOT) || !in->ev.ok ||
	    !flow_begins_boot(n))
		return;
	g_autoptr(secret) token = secret_new_token();
	struct deployment_mode mode = {.active = false};

	in->token = seal_text(c->key, n->uuid.s, secret_peek(token));
	in->verifier = verifier_new(secret_peek(token));
	in->path = media_call_path(c->config);
	in->macs = boot_call_own_macs(c->store, n, &error);
	if (in->macs && read_mode(c, n, &mode, &error))
		in->address = address_assign(c->store, c->config, &c->pool, n, &error);
	in->ev.fresh_token = in->token;
	in->ev.fresh_verifier = in->verifier;
	in->ev.fresh_path = in->path;
	in->ev.assigned_address = in->address;
	in->ev.boot_macs = in->macs;
	in->ev.active = mode.active;
	in->ev.by_lookup = mode.by_lookup;
	in->ev.by_contact = mode.by_contact;
	if (!in->address) {
		g_free(in->reason);
		in->reason = g_strdup(error->message);
	}
}

/* ---- folding */

static void fold_item(struct batch *b, struct subject *s, const struct item *item)
{
	struct conductor *c = b->c;
	struct intake in = {.outcome = NULL};
	attr_set changed = {0};
	g_autoptr(GError) error = NULL;

	read_item(c, s->n, item, &in);
	check_identity(c, s->n, &in);
	prepare_boot(c, s->n, &in);
	in.ev.reason = in.reason && *in.reason ? in.reason : NULL;
	if (!node_fold(s->n, &in.ev, changed, &error))
		log_error(s->n->uuid.s, "row is damaged", F_ERR(error));
	else if (!store_node_update(c->store, s->n, changed, &error))
		die("write a node", error);
	if (item->kind == ITEM_SENDING && attr_set_has(changed, NODE_ATTR_flow))
		conductor_run(c, s->n->uuid.s)->send_turn = item->turn + 1;
	intake_clear(&in);
}

/* Progress comes every second and is written every other: the rest ends here, without a transaction. */
static bool is_noise(struct conductor *c, const struct item *item)
{
	const struct message_agent_command *m = &item->message.agent_command;

	if (item->kind != ITEM_MESSAGE || item->message.type != MESSAGE_agent_command ||
	    m->status != COMMAND_RUNNING)
		return false;
	const struct run *run = g_hash_table_lookup(c->runs, item->node.s);
	struct mono now = loop_now(c->loop);

	if (run && run->progress_at.us &&
	    !mono_reached(mono_add(run->progress_at, PROGRESS_EVERY), now))
		return true;
	if (!ration_take(&c->progress, PROGRESS_MOST, now))
		return true;
	conductor_run(c, item->node.s)->progress_at = now;
	return false;
}

static void take_item(struct batch *b, const struct item *item)
{
	struct conductor *c = b->c;
	struct subject *s;

	/* Also behind the answer of a node that was deleted. */
	if (item->request.id && item->request.turn == 0)
		sync_next(c);
	if (is_noise(c, item) || !(s = load(b, item->node.s)))
		return;
	struct run *run = conductor_run(c, item->node.s);

	if (item->request.id) {
		run->answered_turn = item->request.turn;
		run->answered_at = loop_now(c->loop);
	}
	if (item->kind != ITEM_LOOK)
		fold_item(b, s, item);
}

static void tell(const struct subject *s, enum phase now)
{
	const struct node *n = s->n;

	if (now != s->before && now != PHASE_NONE)
		log_info(n->uuid.s, "phase entered",
			 F_STR("operation", operation_info[phase_info[now].operation].text),
			 F_STR("phase", phase_info[now].text),
			 F_STR("state", provision_state_text((unsigned)n->provision_state)));
	else if (now != s->before)
		log_info(n->uuid.s, "operation ended",
			 F_STR("state", provision_state_text((unsigned)n->provision_state)));
	if (n->last_error && g_strcmp0(n->last_error, s->error_before) != 0)
		log_warn(n->uuid.s, "operation failed", F_STR("reason", n->last_error));
}

/* "deploy/first contact": behind the commit that enters the phase; with "/acted" behind what it starts.  In a boot that
 * a step has asked for the phases are "reboot/first contact", too. */
static void phase_crash_point(const struct node *n, const char *suffix)
{
#ifdef INOX_CRASH_POINTS
	g_auto(flow) f = {.phase = PHASE_NONE};

	if (!flow_parse(n->flow, &f, NULL) || f.phase == PHASE_NONE)
		return;
	g_autofree char *point = g_strdup_printf("%s/%s%s", operation_info[flow_operation(&f)].text,
						 phase_info[f.phase].text, suffix);
	g_autofree char *again = g_strdup_printf("reboot/%s%s", phase_info[f.phase].text, suffix);

	crash_point(point);
	if (f.step > 0)
		crash_point(again);
#else
	(void)n;
	(void)suffix;
#endif
}

static void act_on(struct conductor *c, const struct subject *s)
{
	enum phase now = phase_of(s->n);
	bool entered = now != s->before;

	tell(s, now);
	if (entered)
		phase_crash_point(s->n, "");
	node_act(c, conductor_run(c, s->n->uuid.s), s->n);
	if (entered)
		phase_crash_point(s->n, "/acted");
}

bool conductor_drain(struct conductor *c)
{
	g_autoptr(GHashTable) subjects = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GPtrArray) order = g_ptr_array_new_with_free_func(subject_free);
	struct batch b = {.c = c, .subjects = subjects, .order = order};
	g_autoptr(GError) error = NULL;
	struct item *item;

	if (!store_begin(c->store, &error)) {
		if (!g_error_matches(error, INOX_ERROR, INOX_ERROR_BUSY))
			die("begin", error);
		log_warn(NULL, "waiting for the store", F_INT("items", c->items.length),
			 F_ERR(error));
		return false;
	}
	for (unsigned i = 0; i < BATCH_MOST && (item = conductor_take(c)); i++) {
		take_item(&b, item);
		conductor_item_free(item);
	}
	if (!store_commit(c->store, &error))
		die("commit", error);
	for (guint i = 0; i < order->len; i++)
		act_on(c, order->pdata[i]);
	return true;
}
