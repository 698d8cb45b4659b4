/* The conductor against a real store and workers that are played here: a machine with a BMC, a boot host and
 * an agent, which outlive any conductor. */
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "channel.h"
#include "conductor.h"
#include "errors.h"
#include "flow.h"
#include "inside.h"
#include "jsons.h"

#define MAC     "52:54:00:aa:bb:01"
#define ADDRESS "127.77.0.9"
#define PIN     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct world {
	struct loop *loop;
	char *folder;
	struct config *config;
	struct store *store;
	struct seal_key *key;
	struct conductor *conductor;
	struct channel *workers[ROLE_COUNT];
	struct uuid node;
	struct loop_timer *guard;
	bool late;
	int pokes[2];

	/* the machine */
	bool power, pxe, published, agent_up;
	uint64_t epoch;
	char *token;
	json_t *commands; /* the agent's list */
	unsigned writes, boots;
	const char *mac;

	/* the test's wishes */
	unsigned messages; /* received so far */
	unsigned kill_at;  /* the conductor dies when this message was carried out; 0: never */
	bool kill_before;  /* and the message was not carried out */
	bool ignores_soft_off;
	char *password; /* that the BMC worker was given */
	bool verify;
	bool called,
		watched; /* active mode: a heartbeat went out; the dialer was told of the agent */
	char *api_url;
	enum role kill_worker; /* only this worker dies; 0: the conductor, with all of them */
	unsigned lose_answer_to_step, refuse_publish;
	bool bmc_is_slow; /* it keeps its answer in `late_answer` */
	struct message late_answer;
};

static void on_guard(void *ctx)
{
	struct world *w = ctx;

	w->late = true;
	loop_timer_arm(w->guard, SPAN_SECONDS(1));
}

static void send_message(struct world *w, enum role role, struct message *m)
{
	if (w->workers[role])
		g_assert_true(channel_send(w->workers[role], m, NULL));
}

/* ---- the machine */

static void set_power(struct world *w, bool on)
{
	if (on && !w->power && w->pxe && w->published) {
		w->agent_up = true;
		w->pxe = false;
		w->boots++;
		json_array_clear(w->commands);
	}
	if (!on)
		w->agent_up = false;
	w->power = on;
}

static void play_bmc(struct world *w, const struct message *in)
{
	const struct message_bmc_request *rq = &in->bmc_request;
	struct message out = {.type = MESSAGE_bmc_reply};

	g_free(w->password);
	w->password = g_strdup(secret_peek(rq->password));
	w->verify = rq->verify;
	if (rq->operation == BMC_SET_POWER &&
	    (rq->power != TARGET_SOFT_POWER_OFF || !w->ignores_soft_off))
		set_power(w, rq->power == TARGET_POWER_ON);
	if (rq->operation == BMC_SET_BOOT)
		w->pxe = rq->device == BOOT_DEVICE_PXE;
	out.bmc_reply = (struct message_bmc_reply){
		.request = rq->request, .node = rq->node, .power = w->power ? POWER_ON : POWER_OFF};
	if (w->bmc_is_slow)
		w->late_answer = out;
	else
		send_message(w, ROLE_BMC, &out);
}

static void play_boot(struct world *w, const struct message *in)
{
	struct message out = {.type = MESSAGE_boot_reply};

	if (in->type == MESSAGE_boot_publish) {
		const struct message_boot_publish *p = &in->boot_publish;

		g_assert_cmpstr(p->macs, ==, MAC);
		g_assert_cmpstr(p->address, ==, ADDRESS);
		g_assert_cmpuint(strlen(p->path), ==, 54);
		out.boot_reply.request = p->request;
		out.boot_reply.node = p->node;
		out.boot_reply.epoch = p->epoch;
		if (w->refuse_publish) {
			w->refuse_publish--;
			out.boot_reply.result = INOX_ERROR_UNAVAILABLE + 1;
			out.boot_reply.retry = true;
			out.boot_reply.reason = (char *)(uintptr_t) "the boot host is away";
		} else {
			w->published = true;
			w->epoch = p->epoch;
			g_free(w->token);
			w->token = g_strdup(secret_peek(p->token));
			g_free(w->api_url);
			w->api_url = g_strdup(p->api_url);
		}
	} else {
		out.boot_reply.request = in->boot_withdraw.request;
		out.boot_reply.node = in->boot_withdraw.node;
		out.boot_reply.epoch = in->boot_withdraw.epoch;
		if (!in->boot_withdraw.token_only)
			w->published = false;
	}
	send_message(w, ROLE_BOOT, &out);
}

static void play_watch(struct world *w, const struct message_dialer_watch *watch)
{
	struct message alive = {.type = MESSAGE_agent_alive};
	struct message command = {.type = MESSAGE_agent_command};

	g_assert_cmpuint(watch->epoch, ==, w->epoch);
	g_assert_cmpstr(watch->address, ==, ADDRESS);
	g_assert_cmpstr(secret_peek(watch->token), ==, w->token);
	w->watched = true;
	if (*w->api_url) {
		g_assert_true(w->called);
		g_assert_cmpstr(watch->certificate, ==, PIN);
	}
	if (!w->agent_up)
		return;
	alive.agent_alive = (struct message_agent_alive){.node = watch->node,
							 .epoch = watch->epoch,
							 .started_ms = 1000 + w->boots,
							 .own_agent = true};
	send_message(w, ROLE_DIALER, &alive);
	if (!*watch->command)
		return;
	command.agent_command = (struct message_agent_command){.node = watch->node,
							       .epoch = watch->epoch,
							       .command = watch->command,
							       .status = COMMAND_SUCCEEDED};
	send_message(w, ROLE_DIALER, &command);
}

static char *run_command(struct world *w, const struct message_dialer_call *call)
{
	if (strcmp(call->command, "poll.get_hardware_info") == 0)
		return g_strdup_printf("{\"interfaces\": [{\"mac_address\": \"%s\"}]}", w->mac);
	if (strcmp(call->command, "deploy.get_deploy_steps") == 0)
		return g_strdup("{\"deploy_steps\": {\"a\": [{\"interface\": \"deploy\", \"step\": "
				"\"write_image\", \"priority\": 0}]}, "
				"\"hardware_manager_version\": {\"inox\": \"1\"}}");
	if (strcmp(call->command, "standby.power_off") == 0)
		set_power(w, false);
	if (strcmp(call->command, "deploy.execute_deploy_step") == 0)
		w->writes++;
	return g_strdup("");
}

static void play_call(struct world *w, const struct message_dialer_call *call)
{
	struct message out = {.type = MESSAGE_agent_reply};
	struct uuid id = uuid_new();

	g_assert_cmpuint(call->epoch, ==, w->epoch);
	if (!w->agent_up) {
		out.agent_reply =
			(struct message_agent_reply){.request = call->request,
						     .node = call->node,
						     .epoch = call->epoch,
						     .result = INOX_ERROR_UNAVAILABLE + 1};
		send_message(w, ROLE_DIALER, &out);
		return;
	}
	g_autofree char *outcome = run_command(w, call);

	json_array_append_new(w->commands,
			      json_pack("{s:s, s:s, s:s}", "id", id.s, "name",
					strchr(call->command, '.') + 1, "status", "SUCCEEDED"));
	out.agent_reply = (struct message_agent_reply){.request = call->request,
						       .node = call->node,
						       .epoch = call->epoch,
						       .command = id.s,
						       .status = COMMAND_SUCCEEDED,
						       .outcome = outcome};
	if (strstr(call->command, "execute") && w->lose_answer_to_step) {
		w->lose_answer_to_step--;
		out.agent_reply.result = INOX_ERROR_TIMEOUT + 1;
		out.agent_reply.unclear = true;
		out.agent_reply.command = NULL;
	}
	send_message(w, ROLE_DIALER, &out);
}

static void play_list(struct world *w, const struct message_dialer_list *list)
{
	struct message out = {.type = MESSAGE_agent_reply};
	g_autofree char *text = json_print_compact(w->commands);

	out.agent_reply = (struct message_agent_reply){.request = list->request,
						       .node = list->node,
						       .epoch = list->epoch,
						       .outcome = text};
	send_message(w, ROLE_DIALER, &out);
}

static void play_message(struct world *w, struct message *m)
{
	switch ((unsigned)m->type) {
	case MESSAGE_bmc_request: play_bmc(w, m); break;
	case MESSAGE_boot_publish:
	case MESSAGE_boot_withdraw: play_boot(w, m); break;
	case MESSAGE_dialer_watch: play_watch(w, &m->dialer_watch); break;
	case MESSAGE_dialer_forget: break;
	case MESSAGE_dialer_call: play_call(w, &m->dialer_call); break;
	case MESSAGE_dialer_list: play_list(w, &m->dialer_list); break;
	default: g_assert_not_reached();
	}
}

static enum role receiver(const struct message *m)
{
	if (m->type == MESSAGE_bmc_request)
		return ROLE_BMC;
	return m->type == MESSAGE_boot_publish || m->type == MESSAGE_boot_withdraw ? ROLE_BOOT
										   : ROLE_DIALER;
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct world *w = ctx;

	(void)fd;
	/* The power sync comes when it comes. */
	if (m->type != MESSAGE_bmc_request || m->bmc_request.operation != BMC_GET_POWER)
		w->messages++;
	bool dies = w->messages == w->kill_at && w->kill_before &&
		    (!w->kill_worker || w->kill_worker == receiver(m));

	if (!dies)
		play_message(w, m);
}

static void on_closed(void *ctx, const GError *error)
{
	(void)ctx;
	(void)error;
}

/* ---- the control plane */

static void attach(struct world *w, enum role role)
{
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	w->workers[role] = channel_new(w->loop, fds[1], on_message, on_closed, w);
	conductor_attach(w->conductor, role, fds[0]);
}

static void start(struct world *w)
{
	g_autoptr(GError) error = NULL;

	w->conductor = conductor_new(w->loop, w->config, w->store, w->key, w->pokes[0], &error);
	g_assert_no_error(error);
	attach(w, ROLE_BMC);
	attach(w, ROLE_BOOT);
	attach(w, ROLE_DIALER);
}

static void stop(struct world *w)
{
	g_clear_pointer(&w->conductor, conductor_free);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		g_clear_pointer(&w->workers[i], channel_free);
}

static void add_node(struct world *w, const char *mac)
{
	g_autoptr(node) n = node_new();
	struct port *p = port_new();

	n->uuid = w->node = uuid_new();
	g_free(n->driver);
	n->driver = g_strdup("fake-hardware");
	n->provision_state = STATE_AVAILABLE;
	json_object_set_new(n->driver_info, "agent_address", json_string(ADDRESS));
	json_object_set_new(n->instance_info, "image_source", json_string("http://10.0.0.1/i.raw"));
	json_object_set_new(n->instance_info, "image_checksum",
			    json_string("http://10.0.0.1/i.sum"));
	p->uuid = uuid_new();
	p->node_uuid = n->uuid;
	g_assert_true(mac_parse(mac, &p->address, NULL));
	g_assert_true(store_begin(w->store, NULL));
	g_assert_true(store_node_insert(w->store, n, NULL));
	g_assert_true(store_port_insert(w->store, p, NULL));
	g_assert_true(store_commit(w->store, NULL));
	port_free(p);
}

static void setup(struct world *w, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	(void)data;
	w->folder = g_dir_make_tmp("inox-conductor-XXXXXX", NULL);
	g_autofree char *file = g_build_filename(w->folder, "inox.conf", NULL);
	g_autofree char *url = g_strdup_printf("sqlite://%s/inox.sqlite", w->folder);
	g_autofree char *key = g_build_filename(w->folder, "key", NULL);

	g_assert_true(
		g_file_set_contents(file,
				    "[agent]\npoll_only = true\nallowed_networks = 127.0.0.0/8\n"
				    "[service_catalog]\nendpoint_override = http://127.0.0.1:1/\n"
				    "[redfish]\nallowed_networks = 127.0.0.0/8\n"
				    "[conductor]\nsync_power_state_interval = 1\n"
				    "sweep_interval = 1\n",
				    -1, NULL));
	w->config = config_load(file, &error);
	g_assert_no_error(error);
	w->store = store_open(url, true, &error);
	g_assert_no_error(error);
	w->key = seal_key_load_or_create(key, &error);
	g_assert_no_error(error);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, w->pokes), ==, 0);
	w->loop = loop_new();
	w->guard = loop_timer_new(w->loop, on_guard, w);
	w->commands = json_array();
	w->mac = MAC;
	add_node(w, MAC);
	start(w);
}

static void teardown(struct world *w, gconstpointer data)
{
	(void)data;
	stop(w);
	loop_timer_free(w->guard);
	store_free(w->store);
	seal_key_free(w->key);
	config_free(w->config);
	loop_free(w->loop);
	close(w->pokes[0]);
	close(w->pokes[1]);
	json_decref(w->commands);
	g_free(w->token);
	g_free(w->api_url);
	g_free(w->password);
	g_autoptr(GDir) dir = g_dir_open(w->folder, 0, NULL);

	for (const char *name; (name = g_dir_read_name(dir));) {
		g_autofree char *path = g_build_filename(w->folder, name, NULL);

		g_unlink(path);
	}
	g_rmdir(w->folder);
	g_free(w->folder);
}

static struct node *get(struct world *w)
{
	struct node *n = store_node_get(w->store, w->node.s, NULL);

	g_assert_nonnull(n);
	return n;
}

/* As the API does it: fold in a transaction. */
static void verb(struct world *w, enum state_event event)
{
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};
	struct event ev = {.kind = EVENT_VERB, .now = wall_now(), .host = "api", .verb = event};

	g_assert_true(store_begin(w->store, NULL));
	g_autoptr(node) n = get(w);

	g_assert_true(node_fold(n, &ev, changed, &error));
	g_assert_no_error(error);
	g_assert_true(store_node_update(w->store, n, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));
}

static void poke(struct world *w)
{
	g_assert_cmpint(send(w->pokes[1], w->node.s, strlen(w->node.s), 0), >, 0);
}

static void kill_now(struct world *w)
{
	w->kill_at = 0;
	if (w->kill_worker) {
		g_clear_pointer(&w->workers[w->kill_worker], channel_free);
		attach(w, w->kill_worker);
	} else {
		stop(w);
		start(w);
	}
}

static void until_rest(struct world *w, enum provision_state state)
{
	w->late = false;
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	for (;;) {
		g_autoptr(node) n = get(w);

		if (json_object_size(n->flow) == 0) {
			g_assert_cmpstr(provision_state_text((unsigned)n->provision_state), ==,
					provision_state_text(state));
			break;
		}
		if (w->late) {
			g_autofree char *why = node_why(n, wall_now());

			g_error("still in motion: %s", why);
		}
		loop_turn(w->loop, true);
		if (w->kill_at && w->messages >= w->kill_at)
			kill_now(w);
	}
	loop_timer_disarm(w->guard);
}

static void test_deploy(struct world *w, gconstpointer data)
{
	(void)data;
	verb(w, STATE_EVENT_DEPLOY);
	poke(w);
	until_rest(w, STATE_ACTIVE);
	g_autoptr(node) n = get(w);

	g_assert_cmpuint(w->writes, ==, 1);
	g_assert_cmpuint(w->boots, ==, 1);
	g_assert_true(w->power);
	g_assert_false(w->published);
	g_assert_null(n->agent_token);
	g_assert_null(n->reservation);
	g_assert_null(n->last_error);
	g_assert_cmpstr(n->power_state, ==, "power on");
}

/* Killed after each message in turn, carried out or not, the deployment ends the same. */
static void kill_everywhere(struct world *w, bool before)
{
	for (unsigned at = 1;; at++) {
		w->messages = 0;
		w->kill_at = at;
		w->kill_before = before;
		w->writes = w->boots = 0;
		verb(w, STATE_EVENT_DEPLOY);
		poke(w);
		until_rest(w, STATE_ACTIVE);
		g_assert_cmpuint(w->writes, ==, 1);
		g_assert_cmpuint(w->boots, ==, 1);
		g_assert_false(w->published);
		bool done = w->kill_at != 0;

		w->kill_at = 0;
		verb(w, STATE_EVENT_DELETE);
		poke(w);
		until_rest(w, STATE_AVAILABLE);
		g_autoptr(node) n = get(w);
		attr_set changed = {0};

		json_object_set_new(n->instance_info, "image_source",
				    json_string("http://10.0.0.1/i.raw"));
		json_object_set_new(n->instance_info, "image_checksum",
				    json_string("http://10.0.0.1/i.sum"));
		attr_set_add(changed, NODE_ATTR_instance_info);
		g_assert_true(store_begin(w->store, NULL));
		g_assert_true(store_node_update(w->store, n, changed, NULL));
		g_assert_true(store_commit(w->store, NULL));
		if (done)
			break;
		g_assert_cmpuint(at, <, 100);
	}
}

static void test_killed_after(struct world *w, gconstpointer data)
{
	(void)data;
	kill_everywhere(w, false);
}

static void test_killed_before(struct world *w, gconstpointer data)
{
	(void)data;
	kill_everywhere(w, true);
}

static void test_workers_die(struct world *w, gconstpointer data)
{
	(void)data;
	for (w->kill_worker = ROLE_DIALER; w->kill_worker <= ROLE_BOOT; w->kill_worker++) {
		kill_everywhere(w, false);
		kill_everywhere(w, true);
	}
}

static void test_lost_poke(struct world *w, gconstpointer data)
{
	(void)data;
	verb(w, STATE_EVENT_DEPLOY);
	until_rest(w, STATE_ACTIVE);
}

static void until_power(struct world *w, const char *power)
{
	w->late = false;
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	for (;;) {
		g_autoptr(node) n = get(w);

		if (g_strcmp0(n->power_state, power) == 0)
			break;
		g_assert_false(w->late);
		loop_turn(w->loop, true);
	}
	loop_timer_disarm(w->guard);
}

static void test_power_sync(struct world *w, gconstpointer data)
{
	(void)data;
	until_power(w, "power off");
	w->power = true;
	until_power(w, "power on");
}

/* Until the slow BMC was asked for the node's power. */
static void until_asked(struct world *w)
{
	w->bmc_is_slow = true;
	w->late_answer.type = MESSAGE_NONE;
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	while (w->late_answer.type == MESSAGE_NONE && !w->late)
		loop_turn(w->loop, true);
	g_assert_false(w->late);
	w->bmc_is_slow = false;
}

static void until_no_sync(struct world *w)
{
	while (w->conductor->syncs && !w->late)
		loop_turn(w->loop, true);
	g_assert_false(w->late);
	g_assert_cmpuint(w->conductor->syncs, ==, 0);
}

static void test_sync_of_deleted_node(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;

	(void)data;
	until_asked(w);
	g_assert_cmpuint(c->syncs, ==, 1);
	/* All places are taken, and the next node waits for one. */
	unsigned others = 15;
	struct uuid deleted = w->node;

	c->syncs += others;
	add_node(w, "52:54:00:aa:bb:02");
	g_queue_push_tail(&c->sync_queue, g_strdup(w->node.s));
	g_assert_true(store_begin(w->store, NULL));
	g_assert_true(store_node_delete(w->store, deleted.s, NULL));
	g_assert_true(store_commit(w->store, NULL));
	send_message(w, ROLE_BMC, &w->late_answer);
	while (!g_queue_is_empty(&c->sync_queue) && !w->late)
		loop_turn(w->loop, true);
	g_assert_false(w->late);
	c->syncs -= others;
	until_no_sync(w);
	until_power(w, "power off");
}

/* An operation does not wait for it any longer, and its answer comes all the same. */
static void test_overdue_sync(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;
	GHashTableIter iter;
	gpointer value;

	(void)data;
	until_asked(w);
	g_hash_table_iter_init(&iter, c->requests);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		((struct request *)value)->due.us = 1;
	verb(w, STATE_EVENT_DEPLOY);
	poke(w);
	until_no_sync(w);
	send_message(w, ROLE_BMC, &w->late_answer);
	until_rest(w, STATE_ACTIVE);
	until_no_sync(w);
}

/* A worker that ends takes its requests along.  An answer of it that was heard before gives back no place of the next one's. */
static void test_sync_of_ended_worker(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;

	(void)data;
	until_asked(w);
	send_message(w, ROLE_BMC, &w->late_answer);
	while (c->messages == 0 && !w->late)
		loop_turn(w->loop, true);
	g_assert_cmpuint(c->messages, ==, 1);
	g_queue_push_tail(&c->sync_queue, g_strdup(w->node.s));
	g_clear_pointer(&w->workers[ROLE_BMC], channel_free);
	attach(w, ROLE_BMC);
	g_assert_cmpuint(c->syncs, ==, 1);
	until_asked(w);
	g_assert_cmpuint(c->messages, ==, 0);
	g_assert_cmpuint(c->syncs, ==, 1);
	g_clear_pointer(&w->workers[ROLE_BMC], channel_free);
	until_no_sync(w);
}

static void test_pool(struct world *w, gconstpointer data)
{
	g_autoptr(node) one = get(w), other = node_new();
	struct address_pool pool, wide;
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	(void)data;
	g_assert_false(address_pool_parse("10.0.0.9-10.0.0.1", &pool, NULL));
	g_assert_false(address_pool_parse("10.0.0.1-fd00::1", &pool, NULL));
	g_assert_false(address_pool_parse("10.0.0.1", &pool, NULL));
	g_assert_true(address_pool_parse("127.77.0.255-127.77.1.0", &pool, NULL));
	g_assert_true(address_pool_parse("10.0.0.1-10.0.0.9", &wide, NULL));
	json_object_clear(one->driver_info);
	one->agent_address = address_assign(w->store, w->config, &pool, one, NULL);
	g_assert_true(strcmp(one->agent_address, "127.77.0.255") == 0 ||
		      strcmp(one->agent_address, "127.77.1.0") == 0);
	attr_set_add(changed, NODE_ATTR_agent_address);
	g_assert_true(store_begin(w->store, NULL));
	g_assert_true(store_node_update(w->store, one, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));
	other->uuid = uuid_new();
	g_autofree char *second = address_assign(w->store, w->config, &pool, other, NULL);

	g_assert_cmpstr(second, !=, one->agent_address);
	g_assert_null(address_assign(w->store, w->config, &wide, other, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_DENIED);
	g_clear_error(&error);
	json_object_set_new(other->driver_info, "agent_address", json_string(one->agent_address));
	g_assert_null(address_assign(w->store, w->config, &pool, other, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_CONFLICT);
}

static void change(struct world *w, const struct event *ev, const struct node *as)
{
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	g_assert_true(store_begin(w->store, NULL));
	g_autoptr(node) n = get(w);

	if (as) {
		g_free(n->driver);
		n->driver = g_strdup(as->driver);
		json_object_update(n->driver_info, as->driver_info);
		n->provision_state = as->provision_state;
		attr_set_add(changed, NODE_ATTR_driver);
		attr_set_add(changed, NODE_ATTR_driver_info);
		attr_set_add(changed, NODE_ATTR_provision_state);
	}
	g_assert_true(!ev || node_fold(n, ev, changed, &error));
	g_assert_no_error(error);
	g_assert_true(store_node_update(w->store, n, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));
}

static void test_deadline(struct world *w, gconstpointer data)
{
	struct event ev = {.kind = EVENT_POWER_REQUEST,
			   .now = wall_now(),
			   .host = "api",
			   .power_target = TARGET_SOFT_POWER_OFF,
			   .timeout_s = 1};

	(void)data;
	w->power = w->ignores_soft_off = true;
	change(w, &ev, NULL);
	poke(w);
	until_rest(w, STATE_AVAILABLE);
	g_autoptr(node) n = get(w);

	g_assert_nonnull(strstr(n->last_error, "soft power off"));
	g_assert_nonnull(strstr(n->last_error, "not done after"));
	g_assert_null(n->target_power_state);
	g_assert_null(n->reservation);
}

static void verify_redfish(struct world *w, const char *address, enum provision_state state)
{
	g_autoptr(node) as = node_new();
	g_autofree char *sealed = seal_text(w->key, w->node.s, "calvin");

	g_free(as->driver);
	as->driver = g_strdup("redfish");
	as->provision_state = STATE_ENROLL;
	json_object_set_new(as->driver_info, "redfish_address", json_string(address));
	json_object_set_new(as->driver_info, "redfish_password", json_string(sealed));
	json_object_set_new(as->driver_info, "redfish_verify_ca", json_string("False"));
	change(w, NULL, as);
	verb(w, STATE_EVENT_MANAGE);
	poke(w);
	until_rest(w, state);
}

static void test_bmc_credentials(struct world *w, gconstpointer data)
{
	(void)data;
	verify_redfish(w, "https://10.0.0.1/", STATE_ENROLL);
	g_autoptr(node) n = get(w);

	g_assert_nonnull(strstr(n->last_error, "outside [redfish]allowed_networks"));
	verify_redfish(w, "https://bmc.example.org", STATE_ENROLL);
	g_assert_null(w->password);
	verify_redfish(w, "https://127.0.0.1:8443", STATE_MANAGEABLE);
	g_assert_cmpstr(w->password, ==, "calvin");
	g_assert_false(w->verify);
}

static void test_lost_answer(struct world *w, gconstpointer data)
{
	(void)data;
	w->lose_answer_to_step = 1;
	verb(w, STATE_EVENT_DEPLOY);
	poke(w);
	until_rest(w, STATE_ACTIVE);
	g_assert_cmpuint(w->writes, ==, 1);
}

static void test_retry(struct world *w, gconstpointer data)
{
	(void)data;
	w->refuse_publish = 1;
	verb(w, STATE_EVENT_DEPLOY);
	poke(w);
	until_rest(w, STATE_ACTIVE);
	g_assert_cmpuint(w->refuse_publish, ==, 0);
}

static void test_wrong_machine(struct world *w, gconstpointer data)
{
	(void)data;
	w->mac = "52:54:00:ff:ff:ff";
	verb(w, STATE_EVENT_DEPLOY);
	poke(w);
	until_rest(w, STATE_DEPLOY_FAILED);
	g_autoptr(node) n = get(w);

	g_assert_nonnull(strstr(n->last_error, "52:54:00:ff:ff:ff"));
	g_assert_nonnull(strstr(n->last_error, MAC));
	g_assert_cmpuint(w->writes, ==, 0);
	g_assert_false(w->published);
	g_assert_false(w->power);
	w->mac = MAC;
	verb(w, STATE_EVENT_DEPLOY);
	poke(w);
	until_rest(w, STATE_ACTIVE);
}

/* One event, as the API folds it. */
static void fold_as_api(struct world *w, struct event *ev)
{
	attr_set changed = {0};

	g_assert_true(store_begin(w->store, NULL));
	g_autoptr(node) n = get(w);

	ev->now = wall_now();
	ev->host = "api";
	ev->epoch = (uint64_t)n->boot_epoch;
	ev->limits = (struct flow_limits){.callback_s = 1800, .power_s = 60};
	g_assert_true(node_fold(n, ev, changed, NULL));
	g_assert_true(store_node_update(w->store, n, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));
	poke(w);
}

static void test_active(struct world *w, gconstpointer data)
{
	struct event ev = {
		.kind = EVENT_AGENT_HEARTBEAT, .agent_url = "https://" ADDRESS ":9999", .pin = PIN};

	(void)data;
	g_assert_true(store_begin(w->store, NULL));
	g_autoptr(node) n = get(w);
	attr_set changed = {0};

	json_object_set_new(n->driver_info, "agent_poll_only", json_false());
	attr_set_add(changed, NODE_ATTR_driver_info);
	g_assert_true(store_node_update(w->store, n, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));

	struct event deploy = {.kind = EVENT_VERB,
			       .verb = STATE_EVENT_DEPLOY,
			       .agents = {.api_url = "http://127.0.0.1:1"}};

	fold_as_api(w, &deploy);
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	for (;;) {
		g_autoptr(node) now = get(w);

		if (now->provision_state == STATE_DEPLOY_WAIT || w->late)
			break;
		loop_turn(w->loop, true);
	}
	/* It was started with the URL, and is not dialled before it called: not after a restart, either. */
	g_assert_false(w->late);
	g_assert_cmpstr(w->api_url, ==, "http://127.0.0.1:1");
	stop(w);
	start(w);
	poke(w);
	for (unsigned i = 0; i < 3; i++)
		loop_turn(w->loop, true);
	g_assert_false(w->watched);
	w->called = true;
	fold_as_api(w, &ev);
	until_rest(w, STATE_ACTIVE);
	g_assert_true(w->watched);
	g_assert_cmpuint(w->writes, ==, 1);
}

static void test_foreign_messages(struct world *w, gconstpointer data)
{
	struct message m = {.type = MESSAGE_bmc_reply};

	(void)data;
	/* An answer that nobody asked for, through a worker that is not for it. */
	m.bmc_reply.request = 77;
	m.bmc_reply.node = w->node;
	m.bmc_reply.power = POWER_ON;
	send_message(w, ROLE_BMC, &m);
	send_message(w, ROLE_DIALER, &m);
	verb(w, STATE_EVENT_DEPLOY);
	poke(w);
	until_rest(w, STATE_ACTIVE);
}

/* ---- pressure */

static void post_noise(struct conductor *c, size_t length)
{
	struct item item = {.kind = ITEM_MESSAGE, .node = uuid_new()};

	item.message.type = MESSAGE_agent_gone;
	item.message.length = (uint32_t)length;
	item.message.agent_gone.reason = g_strdup("noise");
	conductor_post(c, &item);
}

/* Messages that wait for the store, many or large ones, keep the workers from being listened to until they are done. */
static void test_workers_are_held(struct world *w, gconstpointer data)
{
	struct conductor *c = w->conductor;
	unsigned posted = 0;

	(void)data;
	for (size_t length = 1; length < 1u << 24; length <<= 22) {
		g_assert_false(c->holds);
		for (; !c->holds && posted < 100000; posted++)
			post_noise(c, length);
		g_assert_cmpuint(posted, <=, 4096);
		g_assert_cmpuint(c->message_bytes, <=, 20u << 20);
		/* A late worker is not listened to either. */
		g_clear_pointer(&w->workers[ROLE_DIALER], channel_free);
		attach(w, ROLE_DIALER);
		struct message m = {.type = MESSAGE_dialer_metrics};

		m.dialer_metrics.figures = (char *)(uintptr_t) "no figures";
		for (unsigned i = 0; i < 5000; i++)
			send_message(w, ROLE_DIALER, &m);
		size_t waiting = channel_queued_bytes(w->workers[ROLE_DIALER]);

		g_assert_cmpuint(waiting, >, 0);
		g_assert_true(c->holds);
		while (c->messages > 0)
			loop_turn(w->loop, true);
		g_assert_false(c->holds);
		g_assert_cmpuint(c->message_bytes, ==, 0);
		while (channel_queued_bytes(w->workers[ROLE_DIALER]) > 0)
			loop_turn(w->loop, true);
		posted = 0;
	}
}

/* A BMC worker that does not read is sent no more than its share, and what waited for that goes on afterwards. */
static void test_full_channel(struct world *w, gconstpointer data)
{
	struct channel *to = w->conductor->workers[ROLE_BMC].channel;
	struct message m = {.type = MESSAGE_bmc_request};

	(void)data;
	channel_hold(w->workers[ROLE_BMC], true);
	m.bmc_request.node = w->node;
	m.bmc_request.driver = (char *)(uintptr_t) "fake-hardware";
	while (channel_queued_bytes(to) <= 4u << 20)
		g_assert_true(channel_send(to, &m, NULL));
	size_t full = channel_queued_bytes(to);

	verb(w, STATE_EVENT_DEPLOY);
	poke(w);
	loop_timer_arm(w->guard, SPAN_SECONDS(5));
	while (g_queue_is_empty(&w->conductor->workers[ROLE_BMC].waiting) && !w->late)
		loop_turn(w->loop, true);
	for (unsigned i = 0; i < 20; i++)
		loop_turn(w->loop, true);
	g_assert_cmpuint(channel_queued_bytes(to), ==, full);
	g_assert_cmpuint(w->conductor->workers[ROLE_BMC].waiting.length, ==, 1);
	channel_hold(w->workers[ROLE_BMC], false);
	until_rest(w, STATE_ACTIVE);
	g_assert_cmpuint(w->boots, ==, 1);
}

#define CASE(name, fn) g_test_add("/conductor/" name, struct world, NULL, setup, fn, teardown)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("a node is deployed", test_deploy);
	CASE("killed after any message was carried out, it goes on", test_killed_after);
	CASE("killed before any message was carried out, it goes on", test_killed_before);
	CASE("whichever worker dies, whenever, it goes on", test_workers_die);
	CASE("a lost poke costs a sweep", test_lost_poke);
	CASE("the power that the BMC reports is adopted", test_power_sync);
	CASE("a node that is deleted gives its place in the power sync back",
	     test_sync_of_deleted_node);
	CASE("a power sync that is given up gives its place back, once", test_overdue_sync);
	CASE("a BMC worker that ends gives the places of the power sync back",
	     test_sync_of_ended_worker);
	CASE("a passed deadline ends an operation", test_deadline);
	CASE("BMC passwords are opened for BMCs in range only", test_bmc_credentials);
	CASE("addresses of the pool are given once", test_pool);
	CASE("a step whose answer was lost is not run twice", test_lost_answer);
	CASE("a boot host that comes back is asked again", test_retry);
	CASE("another machine than the node's is stopped before anything is changed",
	     test_wrong_machine);
	CASE("an active node's agent is dialled when it has called", test_active);
	CASE("answers that nobody asked for are dropped", test_foreign_messages);
	CASE("workers are not listened to while too much of theirs waits", test_workers_are_held);
	CASE("a worker that does not read is sent nothing more", test_full_channel);
	return g_test_run();
}
