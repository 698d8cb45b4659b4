#include <glib/gstdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conductor_fixture.h"
#include "errors.h"
#include "jsons.h"

static void on_guard(void *ctx)
{
	struct world *w = ctx;

	w->late = true;
	loop_timer_arm(w->guard, SPAN_SECONDS(1));
}

void world_send(struct world *w, enum role role, struct message *m)
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
		world_send(w, ROLE_BMC, &out);
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
	world_send(w, ROLE_BOOT, &out);
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
	world_send(w, ROLE_DIALER, &alive);
	if (!*watch->command)
		return;
	if (w->steps_last) {
		g_strlcpy(w->last_step.s, watch->command, sizeof(w->last_step.s));
		return;
	}
	command.agent_command = (struct message_agent_command){.node = watch->node,
							       .epoch = watch->epoch,
							       .command = watch->command,
							       .status = COMMAND_SUCCEEDED};
	world_send(w, ROLE_DIALER, &command);
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
		world_send(w, ROLE_DIALER, &out);
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
	if (strstr(call->command, "execute") && w->steps_last)
		out.agent_reply.status = COMMAND_RUNNING;
	if (strstr(call->command, "execute") && w->lose_answer_to_step) {
		w->lose_answer_to_step--;
		out.agent_reply.result = INOX_ERROR_TIMEOUT + 1;
		out.agent_reply.unclear = true;
		out.agent_reply.command = NULL;
	}
	world_send(w, ROLE_DIALER, &out);
}

static void play_list(struct world *w, const struct message_dialer_list *list)
{
	struct message out = {.type = MESSAGE_agent_reply};
	g_autofree char *text = json_print_compact(w->commands);

	out.agent_reply = (struct message_agent_reply){.request = list->request,
						       .node = list->node,
						       .epoch = list->epoch,
						       .outcome = text};
	world_send(w, ROLE_DIALER, &out);
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

void world_attach(struct world *w, enum role role)
{
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	w->workers[role] = channel_new(w->loop, fds[1], on_message, on_closed, w);
	conductor_attach(w->conductor, role, fds[0]);
}

void world_start(struct world *w)
{
	g_autoptr(GError) error = NULL;

	w->conductor = conductor_new(w->loop, w->config, w->store, w->key, w->pokes[0], &error);
	g_assert_no_error(error);
	world_attach(w, ROLE_BMC);
	world_attach(w, ROLE_BOOT);
	world_attach(w, ROLE_DIALER);
}

void world_stop(struct world *w)
{
	g_clear_pointer(&w->conductor, conductor_free);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		g_clear_pointer(&w->workers[i], channel_free);
}

void world_add_node(struct world *w, const char *mac)
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

void world_set_up(struct world *w, gconstpointer data)
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
	world_add_node(w, MAC);
	world_start(w);
}

void world_tear_down(struct world *w, gconstpointer data)
{
	(void)data;
	world_stop(w);
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

struct node *world_get(struct world *w)
{
	struct node *n = store_node_get(w->store, w->node.s, NULL);

	g_assert_nonnull(n);
	return n;
}

/* As the API does it: fold in a transaction. */
void world_verb(struct world *w, enum state_event event)
{
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};
	struct event ev = {.kind = EVENT_VERB, .now = wall_now(), .host = "api", .verb = event};

	g_assert_true(store_begin(w->store, NULL));
	g_autoptr(node) n = world_get(w);

	g_assert_true(node_fold(n, &ev, changed, &error));
	g_assert_no_error(error);
	g_assert_true(store_node_update(w->store, n, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));
}

void world_poke(struct world *w)
{
	g_assert_cmpint(send(w->pokes[1], w->node.s, strlen(w->node.s), 0), >, 0);
}

static void kill_now(struct world *w)
{
	w->kill_at = 0;
	if (w->kill_worker) {
		g_clear_pointer(&w->workers[w->kill_worker], channel_free);
		world_attach(w, w->kill_worker);
	} else {
		world_stop(w);
		world_start(w);
	}
}

void world_until_rest(struct world *w, enum provision_state state)
{
	w->late = false;
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	for (;;) {
		g_autoptr(node) n = world_get(w);

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

void world_until_power(struct world *w, const char *power)
{
	w->late = false;
	loop_timer_arm(w->guard, SPAN_SECONDS(20));
	for (;;) {
		g_autoptr(node) n = world_get(w);

		if (g_strcmp0(n->power_state, power) == 0)
			break;
		g_assert_false(w->late);
		loop_turn(w->loop, true);
	}
	loop_timer_disarm(w->guard);
}
