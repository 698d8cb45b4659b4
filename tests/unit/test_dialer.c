/* The dialer as a whole, in a process of its own and inside its sandbox; here are the conductor's end of its
 * channel, and agents that are scripts behind real HTTP. */
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "connector.h"
#include "dialer.h"
#include "dialer_metrics.h"
#include "errors.h"
#include "sandbox.h"
#include "server.h"
#include "tls.h"
#include "vocabulary.h"

#define PATIENCE SPAN_SECONDS(20)
#define TOKEN    "abcdefghijabcdefghijabcdefghij&=%+_-0123456"
#define COMMAND  "1c8a331f-3625-476c-80de-d747479180b7"
#define STATUS   "{\"started_at\": 1795291598.5, \"version\": \"12.0.0\"}"
#define OWN      "{\"started_at\": 7.5, \"version\": \"0.1\", \"agent\": \"inox-agent\"}"
#define LIST     "{\"commands\": []}"

struct scene {
	struct loop *l;
	pid_t dialer;
	struct channel *conductor;
	struct http_server *server;
	struct http_tls_server *tls;
	struct endpoint at;
	struct uuid node;
	bool late;
	char *pin;
	/* the agent */
	const char *status_body, *list_body;
	char *command_body;
	int status_code, list_code, command_code, post_code;
	const char *post_body;
	struct http_request *held; /* a long poll */
	bool hold_long_polls;
	bool waits; /* for its token */
	unsigned requests, statuses, lists, posts, long_polls, gone, bad_tokens;
	char *posted;
	/* what the conductor heard last */
	struct message_agent_alive alive;
	unsigned alive_count, gone_count, milestone_count, command_count, reply_count;
	unsigned last_status, last_milestone, last_result;
	bool last_unclear, last_busy;
	struct dialer_metrics figures;
	unsigned reports;
	char *last_reason, *last_outcome, *last_command;
};

/* ---- the agent */

static void answer(struct http_request *rq, int code, const char *body)
{
	http_request_reply(rq, code, NULL, "application/json", body, strlen(body));
}

static void on_poller_gone(void *ctx)
{
	struct scene *s = ctx;

	s->gone++;
	s->held = NULL;
}

static void check_token(struct scene *s, struct http_request *rq)
{
	const char *token = http_request_query(rq, "agent_token");

	/* With a channel keyed by the token, the token itself must not travel. */
	if (http_request_psk_identity(rq) ? token != NULL : !token || strcmp(token, TOKEN) != 0)
		s->bad_tokens++;
}

static void on_post(struct scene *s, struct http_request *rq)
{
	size_t length;

	s->posts++;
	g_free(s->posted);
	s->posted = g_strdup(http_request_body(rq, &length));
	if (s->waits) {
		g_assert_cmpstr(http_request_raw_query(rq), ==, "wait=true");
		s->waits = s->post_code != 200;
		s->list_code = s->waits ? 401 : 200;
	} else {
		check_token(s, rq);
	}
	answer(rq, s->post_code, s->post_body);
}

static void on_get_command(struct scene *s, struct http_request *rq)
{
	const char *wait = http_request_query(rq, "wait");

	check_token(s, rq);
	if (wait && strcmp(wait, "true") == 0) {
		s->long_polls++;
		if (s->hold_long_polls) {
			s->held = rq;
			http_request_on_gone(rq, on_poller_gone, s);
			return;
		}
	}
	answer(rq, s->command_code, s->command_body);
}

static void on_request(void *ctx, struct http_request *rq)
{
	struct scene *s = ctx;
	const char *path = http_request_path(rq);

	s->requests++;
	if (strcmp(path, "/v1/status") == 0) {
		s->statuses++;
		g_assert_null(http_request_query(rq, "agent_token"));
		answer(rq, s->status_code, s->status_body);
	} else if (strcmp(http_request_method(rq), "POST") == 0) {
		on_post(s, rq);
	} else if (strcmp(path, "/v1/commands/") == 0) {
		s->lists++;
		check_token(s, rq);
		answer(rq, s->list_code, s->list_body);
	} else {
		g_assert_cmpstr(path, ==, "/v1/commands/" COMMAND);
		on_get_command(s, rq);
	}
}

/* ---- the conductor */

static void keep(char **place, char **text)
{
	g_free(*place);
	*place = g_steal_pointer(text);
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct scene *s = ctx;

	g_assert_cmpint(fd, ==, -1);
	if (m->type == MESSAGE_agent_alive) {
		s->alive_count++;
		s->alive = m->agent_alive;
		s->alive.version = NULL;
	} else if (m->type == MESSAGE_agent_milestone) {
		s->milestone_count++;
		s->last_milestone = m->agent_milestone.milestone;
		keep(&s->last_reason, &m->agent_milestone.reason);
	} else if (m->type == MESSAGE_agent_gone) {
		s->gone_count++;
		keep(&s->last_reason, &m->agent_gone.reason);
	} else if (m->type == MESSAGE_agent_command) {
		s->command_count++;
		s->last_status = m->agent_command.status;
		keep(&s->last_reason, &m->agent_command.reason);
		keep(&s->last_outcome, &m->agent_command.outcome);
	} else if (m->type == MESSAGE_agent_reply) {
		s->reply_count++;
		s->last_result = m->agent_reply.result;
		s->last_unclear = m->agent_reply.unclear;
		s->last_busy = m->agent_reply.busy;
		s->last_status = m->agent_reply.status;
		keep(&s->last_reason, &m->agent_reply.reason);
		keep(&s->last_outcome, &m->agent_reply.outcome);
		keep(&s->last_command, &m->agent_reply.command);
	} else if (m->type == MESSAGE_dialer_metrics) {
		s->reports++;
		g_assert_true(dialer_metrics_decode(m->dialer_metrics.figures, &s->figures, NULL));
	}
}

static void on_closed(void *ctx, const GError *error)
{
	(void)ctx;
	g_error("the dialer closed its channel: %s", error ? error->message : "-");
}

/* ---- the scene */

static void on_late(void *ctx)
{
	((struct scene *)ctx)->late = true;
}

#define WAIT_FOR(s, condition)                                                 \
	do {                                                                   \
		struct loop_timer *late_ = loop_timer_new((s)->l, on_late, s); \
		loop_timer_arm(late_, PATIENCE);                               \
		while (!(condition) && !(s)->late)                             \
			loop_turn((s)->l, true);                               \
		loop_timer_free(late_);                                        \
		g_assert_true(condition);                                      \
	} while (0)

static struct endpoint free_endpoint(void)
{
	struct endpoint e;
	socklen_t length = sizeof(e.address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	g_assert_true(endpoint_parse("127.0.0.1", 1, &e, NULL));
	((struct sockaddr_in *)(void *)&e.address)->sin_port = 0;
	g_assert_cmpint(bind(fd, (struct sockaddr *)&e.address, e.length), ==, 0);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&e.address, &length), ==, 0);
	close(fd);
	return e;
}

static bool psk_of_token(void *ctx, const char *identity, uint8_t ret_key[static TLS_PSK_BYTES])
{
	struct scene *s = ctx;
	char expected[TLS_IDENTITY_MAX];
	g_autoptr(secret) token = secret_new(TOKEN);

	tls_psk_identity(&s->node, 3, expected);
	tls_psk_of_token(token, ret_key);
	return !s->waits && strcmp(identity, expected) == 0;
}

static void serve(struct scene *s)
{
	struct http_server_options o = {.body_limit = 1 << 20, .tls = s->tls};

	s->server = http_server_new(s->l, &o, on_request, s);
	g_assert_true(http_server_listen(s->server, &s->at, NULL));
}

static void on_end(void *ctx)
{
	loop_stop(ctx);
}

/* A connector as in inoxd; it ends with the process that holds the other end of `life`. */
static void be_connector(int fd, int life, const struct config *c)
{
	g_autoptr(loop) l = loop_new();
	g_autoptr(connector) served = connector_new(l, c);
	g_autoptr(connect_client) parent = connect_client_new(l, life, on_end, l);

	(void)parent;
	connector_serve(served, ROLE_DIALER, fd);
	loop_run(l);
}

static int start_connector(const struct config *c, int channel_fd)
{
	int fds[2], life[2];

	g_assert_true(connect_pair(fds, NULL));
	g_assert_true(connect_pair(life, NULL));
	if (fork() == 0) {
		close(fds[1]);
		close(life[1]);
		close(channel_fd);
		be_connector(fds[0], life[0], c);
		_exit(0);
	}
	close(fds[0]);
	close(life[0]);
	return fds[1];
}

/* The dialer's process: as in inoxd, but for the supervisor. */
static int be_dialer(int fd, const char *config_text)
{
	struct sandbox_options o = {.role = ROLE_DIALER, .explain = true};
	g_autoptr(GError) error = NULL;
	g_autoptr(loop) l = loop_new();
	g_autoptr(config) c = config_parse(config_text, strlen(config_text), "test", &error);
	g_autoptr(connect_client) client = connect_client_new(l, start_connector(c, fd), on_end, l);
	struct dialer *d = dialer_new(l, c, fd);
	bool landlock = false;

	dialer_connect_with(d, client);

	if (!sandbox_enter(&o, &landlock, &error)) {
		g_printerr("%s\n", error->message);
		return 1;
	}
	loop_run(l);
	dialer_free(d);
	return 0;
}

static pid_t start_dialer(int fds[static 2], const char *config_text)
{
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		close(fds[1]);
		_exit(be_dialer(fds[0], config_text));
	}
	close(fds[0]);
	return pid;
}

static void set_up(struct scene *s, const char *config_text)
{
	int fds[2];
	pid_t pid;

	g_assert_true(channel_pair(fds, NULL));
	pid = start_dialer(fds, config_text);
	*s = (struct scene){.l = loop_new(),
			    .status_body = STATUS,
			    .list_body = LIST,
			    .status_code = 200,
			    .list_code = 200,
			    .command_code = 200,
			    .post_code = 200,
			    .node = uuid_new(),
			    .at = free_endpoint()};
	s->dialer = pid;
	s->conductor = channel_new(s->l, fds[1], on_message, on_closed, s);
}

static void tear_down(struct scene *s)
{
	int status = -1;

	g_assert_cmpuint(s->bad_tokens, ==, 0);
	/* The end of the channel is the end of the dialer; 159 is a call that its sandbox forbids. */
	channel_free(s->conductor);
	g_assert_cmpint(waitpid(s->dialer, &status, 0), ==, s->dialer);
	g_assert_cmpint(status, ==, 0);
	http_server_free(s->server);
	http_tls_server_free(s->tls);
	loop_free(s->l);
	g_free(s->command_body);
	g_free(s->posted);
	g_free(s->pin);
	g_free(s->last_reason);
	g_free(s->last_outcome);
	g_free(s->last_command);
}

#define LOCAL "[agent]\nallowed_networks = 127.0.0.0/8\n"

static void give(struct scene *s, struct message *m)
{
	g_assert_true(channel_send(s->conductor, m, NULL));
	message_clear(m);
}

static struct message watch_of(struct scene *s, enum watch_phase phase,
			       enum agent_transport transport, const char *command)
{
	struct message m = {.type = MESSAGE_dialer_watch};

	m.dialer_watch.node = s->node;
	m.dialer_watch.epoch = 3;
	m.dialer_watch.address = g_strdup("127.0.0.1");
	m.dialer_watch.port = endpoint_port(&s->at);
	m.dialer_watch.transport = transport;
	m.dialer_watch.certificate = g_strdup(s->pin);
	m.dialer_watch.token = secret_new(TOKEN);
	m.dialer_watch.phase = phase;
	m.dialer_watch.interval_s = 1;
	m.dialer_watch.command = g_strdup(command);
	return m;
}

static void watch(struct scene *s, enum watch_phase phase, enum agent_transport transport,
		  const char *command)
{
	struct message m = watch_of(s, phase, transport, command);

	give(s, &m);
}

static void call(struct scene *s, uint64_t epoch, const char *name)
{
	struct message m = {.type = MESSAGE_dialer_call};

	m.dialer_call.request = 77;
	m.dialer_call.node = s->node;
	m.dialer_call.epoch = epoch;
	m.dialer_call.command = g_strdup(name);
	m.dialer_call.params = g_strdup("{\"a\":1}");
	m.dialer_call.wait = true;
	m.dialer_call.timeout_s = 10;
	give(s, &m);
}

static char *result(const char *status, const char *outcome)
{
	return g_strdup_printf("{\"id\": \"" COMMAND "\", \"command_name\": \"x\", "
			       "\"command_status\": \"%s\", \"command_error\": null, "
			       "\"command_result\": %s}",
			       status, outcome);
}

/* ---- tests */

static void test_first_contact(void)
{
	struct scene s;

	set_up(&s, LOCAL);
	watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.milestone_count == 1);
	g_assert_cmpuint(s.last_milestone, ==, MILESTONE_ADDRESS);
	g_assert_nonnull(strstr(s.last_reason, "refused the connection"));
	serve(&s);
	WAIT_FOR(&s, s.alive_count == 1);
	g_assert_cmpuint(s.alive.epoch, ==, 3);
	g_assert_cmpuint(s.alive.started_ms, ==, 1795291598500u);
	g_assert_false(s.alive.own_agent);
	g_assert_false(s.alive.restarted);
	/* The same refusal is told once. */
	g_assert_cmpuint(s.milestone_count, ==, 1);
	tear_down(&s);
}

static void test_psk(void)
{
	struct scene s;
	struct http_tls_server_options o = {.psk = psk_of_token, .ctx = &s};

	set_up(&s, LOCAL);
	s.tls = http_tls_server_new(&o, NULL);
	s.status_body = OWN;
	serve(&s);
	watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_PSK, "");
	WAIT_FOR(&s, s.alive_count == 1);
	g_assert_true(s.alive.own_agent);
	/* At rest one request inside the channel proves the agent. */
	watch(&s, WATCH_IDLE, TRANSPORT_PSK, "");
	s.list_code = 500;
	WAIT_FOR(&s, s.requests >= 4);
	g_assert_cmpuint(s.gone_count, ==, 0);
	tear_down(&s);
}

static char *fingerprint(const char *pem)
{
	g_auto(GStrv) parts = g_strsplit(pem, "-----", -1);
	gsize length = 0;
	g_autofree guchar *der = g_base64_decode(parts[2], &length);

	return g_compute_checksum_for_data(G_CHECKSUM_SHA256, der, length);
}

static void test_pinned(void)
{
	struct scene s;
	g_autofree char *certificate = NULL, *key = NULL;

	g_assert_true(tls_make_certificate("agent", "127.0.0.1", &certificate, &key, NULL));
	struct http_tls_server_options o = {.certificate_pem = certificate, .private_key_pem = key};

	set_up(&s, LOCAL);
	s.tls = http_tls_server_new(&o, NULL);
	s.pin = g_strnfill(64, '0');
	serve(&s);
	watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_PINNED, "");
	WAIT_FOR(&s, s.milestone_count == 1);
	g_assert_nonnull(strstr(s.last_reason, "is not trusted"));
	g_assert_cmpuint(s.requests, ==, 0);
	g_free(s.pin);
	s.pin = fingerprint(certificate);
	watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_PINNED, "");
	WAIT_FOR(&s, s.alive_count == 1);
	tear_down(&s);
}

static void watch_and_offer(struct scene *s, enum agent_transport transport)
{
	struct message m = watch_of(s, WATCH_FIRST_CONTACT, transport, "");

	m.dialer_watch.offer = true;
	give(s, &m);
}

static void check_contact(enum agent_transport transport)
{
	struct scene s;
	g_autofree char *certificate = NULL, *key = NULL;
	g_autofree char *done = result("SUCCEEDED", "null");

	g_assert_true(tls_make_certificate("agent", "127.0.0.1", &certificate, &key, NULL));
	struct http_tls_server_options o = {.certificate_pem = certificate,
					    .private_key_pem = key,
					    .psk = psk_of_token,
					    .ctx = &s};

	set_up(&s, LOCAL);
	s.tls = transport == TRANSPORT_PSK ? http_tls_server_new(&o, NULL) : NULL;
	s.waits = true;
	s.list_code = s.post_code = 401;
	s.list_body = s.post_body = "{\"faultstring\": \"401 Unauthorized: Token invalid.\"}";
	serve(&s);
	watch_and_offer(&s, transport);
	WAIT_FOR(&s, s.milestone_count == 1);
	g_assert_true(g_str_has_prefix(s.last_reason, "refuses the token: HTTP 401"));
	g_assert_cmpuint(s.last_milestone, ==, MILESTONE_PORT);
	g_assert_cmpuint(s.posts, ==, 1);
	/* The second offer is taken, and there is no third one. */
	s.post_code = 200;
	s.post_body = done;
	s.list_body = LIST;
	WAIT_FOR(&s, s.alive_count == 1);
	g_autofree char *expected = g_strconcat(
		"{\"name\": \"poll.set_node_info\", \"params\": {\"node_info\": {\"node\": "
		"{\"uuid\": \"",
		s.node.s, "\"}, \"config\": {\"agent_token\": \"" TOKEN "\"}}}}", NULL);

	g_assert_cmpstr(s.posted, ==, expected);
	g_assert_cmpuint(s.posts, ==, 2);
	tear_down(&s);
}

static void test_contact(void)
{
	check_contact(TRANSPORT_PSK);
	check_contact(TRANSPORT_HTTP);
}

/* Without the word of the conductor whoever answers is given nothing. */
static void test_no_contact(void)
{
	struct scene s;
	struct message m;

	set_up(&s, LOCAL);
	s.waits = true;
	s.list_code = 401;
	serve(&s);
	watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
	s.waits = false;
	WAIT_FOR(&s, s.requests >= 4);
	g_assert_cmpuint(s.posts, ==, 0);
	m = watch_of(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	m.dialer_watch.offer = true;
	give(&s, &m);
	WAIT_FOR(&s, strstr(s.last_reason, "cannot be given by contact"));
	g_assert_cmpuint(s.posts, ==, 0);
	tear_down(&s);
}

static void test_restart(void)
{
	struct scene s;

	set_up(&s, LOCAL);
	serve(&s);
	watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	s.status_body = "{\"started_at\": 1795291600.0, \"version\": \"12.0.0\"}";
	WAIT_FOR(&s, s.alive_count == 2);
	g_assert_true(s.alive.restarted);
	tear_down(&s);
}

/* Looks at an agent at rest are one request each: the list, and after some of them the status before it. */
static void test_list_alone(void)
{
	static const char one[] =
		"{\"commands\": [{\"id\": \"" COMMAND "\", \"command_name\": \"a\", "
		"\"command_status\": \"SUCCEEDED\", \"command_error\": null, "
		"\"command_result\": null}]}";
	struct scene s;

	set_up(&s, LOCAL);
	s.list_body = one;
	serve(&s);
	watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	g_assert_cmpuint(s.statuses, ==, 1);
	WAIT_FOR(&s, s.lists == 2);
	g_assert_cmpuint(s.statuses, ==, 1);
	/* After a restart the commands are gone: the status is asked in the same look. */
	s.list_body = LIST;
	s.status_body = "{\"started_at\": 1795291600.0, \"version\": \"12.0.0\"}";
	WAIT_FOR(&s, s.alive_count == 2);
	g_assert_true(s.alive.restarted);
	g_assert_cmpuint(s.lists, <, 5);
	g_assert_cmpuint(s.statuses, ==, 2);
	/* With no command it shows in the status, which is asked in the fourth look. */
	s.status_body = STATUS;
	WAIT_FOR(&s, s.alive_count == 3);
	g_assert_cmpuint(s.lists, <=, 9);
	g_assert_cmpuint(s.statuses, ==, 3);
	tear_down(&s);
}

static void test_follow(void)
{
	struct scene s;

	set_up(&s, LOCAL);
	s.command_body = result("RUNNING", "null");
	serve(&s);
	watch(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FOR(&s, s.command_count == 1);
	g_assert_cmpuint(s.last_status, ==, COMMAND_RUNNING);
	/* A stock agent is not asked to wait. */
	g_assert_cmpuint(s.long_polls, ==, 0);
	g_free(s.command_body);
	s.command_body = result("SUCCEEDED", "{\"x\": 1}");
	WAIT_FOR(&s, s.command_count == 2);
	g_assert_cmpuint(s.last_status, ==, COMMAND_SUCCEEDED);
	g_assert_cmpstr(s.last_outcome, ==, "{\"x\":1}");
	tear_down(&s);
}

static void test_long_poll(void)
{
	struct scene s;

	set_up(&s, LOCAL);
	s.status_body = OWN;
	s.command_body = result("RUNNING", "null");
	s.hold_long_polls = true;
	serve(&s);
	watch(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FOR(&s, s.held);
	/* A call does not wait for the poll. */
	s.post_body = s.command_body;
	uint64_t before = mono_now().us;

	call(&s, 3, "poll.get_hardware_info");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_cmpuint(mono_now().us - before, <, 1500000);
	g_assert_cmpuint(s.last_result, ==, 0);
	g_assert_cmpstr(s.last_command, ==, COMMAND);
	g_assert_cmpstr(s.posted, ==,
			"{\"name\": \"poll.get_hardware_info\", \"params\": {\"a\":1}}");
	WAIT_FOR(&s, s.held);
	/* The end of the command is seen when it happens. */
	g_autofree char *done = result("SUCCEEDED", "null");

	before = mono_now().us;
	answer(s.held, 200, done);
	s.held = NULL;
	WAIT_FOR(&s, s.last_status == COMMAND_SUCCEEDED && s.command_count >= 2);
	g_assert_cmpuint(mono_now().us - before, <, 500000);
	g_assert_cmpuint(s.gone_count, ==, 0);
	tear_down(&s);
}

static void test_unknown_command(void)
{
	struct scene s;

	set_up(&s, LOCAL);
	s.command_code = 404;
	s.command_body = g_strdup("{\"faultstring\": \"Not found\"}");
	serve(&s);
	watch(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FOR(&s, s.command_count == 1);
	g_assert_cmpuint(s.last_status, ==, COMMAND_UNKNOWN);
	tear_down(&s);
}

static void test_call_answers(void)
{
	struct scene s;

	set_up(&s, LOCAL);
	serve(&s);
	watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	s.post_code = 409;
	s.post_body = "{\"faultstring\": \"Agent is busy: executing command x\"}";
	call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_cmpuint(s.last_result, ==, INOX_ERROR_BUSY + 1);
	g_assert_true(s.last_busy);
	g_assert_false(s.last_unclear);
	/* Nonsense behind a 200: it may have been carried out. */
	s.post_code = 200;
	s.post_body = "yes";
	call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 2);
	g_assert_cmpuint(s.last_result, ==, INOX_ERROR_PEER + 1);
	g_assert_true(s.last_unclear);
	/* Another epoch's call is not sent. */
	call(&s, 2, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 3);
	g_assert_cmpuint(s.last_result, ==, INOX_ERROR_CONFLICT + 1);
	g_assert_cmpuint(s.posts, ==, 2);
	struct message m = {.type = MESSAGE_dialer_list};

	m.dialer_list.node = s.node;
	m.dialer_list.epoch = 3;
	give(&s, &m);
	WAIT_FOR(&s, s.reply_count == 4);
	g_assert_cmpuint(s.last_result, ==, 0);
	g_assert_cmpstr(s.last_outcome, ==, "[]");
	tear_down(&s);
}

static void test_token_lost(void)
{
	struct scene s;

	set_up(&s, LOCAL);
	serve(&s);
	watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	s.list_code = 401;
	s.list_body = "{\"faultstring\": \"401 Unauthorized: Token invalid.\"}";
	WAIT_FOR(&s, s.gone_count == 1);
	g_assert_true(g_str_has_prefix(s.last_reason, "security event: "));
	g_assert_null(strstr(s.last_reason, "abcdefghij"));
	unsigned before = s.requests;

	call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_cmpuint(s.last_result, ==, INOX_ERROR_CONFLICT + 1);
	g_assert_cmpuint(s.requests, ==, before);
	tear_down(&s);
}

static void test_forbidden_address(void)
{
	struct scene s;

	set_up(&s, "[agent]\nallowed_networks = 0.0.0.0/0\n");
	serve(&s);
	watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.milestone_count == 1);
	g_assert_nonnull(strstr(s.last_reason, "outside [agent]allowed_networks"));
	call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_cmpuint(s.requests, ==, 0);
	tear_down(&s);
}

static void test_strangers(void)
{
	static const struct {
		int code;
		const char *body, *part;
	} strangers[] = {
		{302, "", "redirects"},
		{404, "<html>", "HTTP 404 without a JSON faultstring"},
		{200, "<html>", "not valid JSON"},
		{200, "{\"version\": 7}", "no version"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(strangers); i++) {
		struct scene s;

		set_up(&s, LOCAL);
		s.status_code = strangers[i].code;
		s.status_body = strangers[i].body;
		serve(&s);
		watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
		WAIT_FOR(&s, s.milestone_count == 1);
		g_assert_cmpuint(s.last_milestone, ==, MILESTONE_PORT);
		g_assert_nonnull(strstr(s.last_reason, strangers[i].part));
		tear_down(&s);
	}
}

static void test_forget(void)
{
	struct scene s;
	struct message m = {.type = MESSAGE_dialer_forget};

	set_up(&s, LOCAL);
	s.status_body = OWN;
	s.command_body = result("RUNNING", "null");
	s.hold_long_polls = true;
	serve(&s);
	watch(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FOR(&s, s.held);
	m.dialer_forget.node = s.node;
	give(&s, &m);
	WAIT_FOR(&s, s.gone == 1);
	call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_nonnull(strstr(s.last_reason, "not watched"));
	tear_down(&s);
}

struct stranger {
	int fd, client;
	const char *says;
};

static const struct dialer_metrics *figures(struct scene *s)
{
	struct message m = {.type = MESSAGE_dialer_report};
	unsigned before = s->reports;

	give(s, &m);
	WAIT_FOR(s, s->reports > before);
	return &s->figures;
}

static uint64_t figure_at(struct scene *s, size_t offset)
{
	return *(const uint64_t *)(const void *)((const char *)figures(s) + offset);
}

static void on_pause(void *ctx)
{
	(void)ctx;
}

static void wait_figure(struct scene *s, size_t offset)
{
	struct mono begun = mono_now();
	struct loop_timer *pause = loop_timer_new(s->l, on_pause, NULL);

	while (figure_at(s, offset) == 0) {
		g_assert_false(mono_reached(mono_add(begun, PATIENCE), mono_now()));
		loop_timer_arm(pause, SPAN_MS(20));
		loop_turn(s->l, true);
	}
	loop_timer_free(pause);
}

#define WAIT_FIGURE(s, field) wait_figure(s, offsetof(struct dialer_metrics, field))

#define SMALL                 LOCAL "dial_connections = 16\ndial_unreachable = 4\n"

static struct endpoint listen_at(int *ret_fd)
{
	struct endpoint e = free_endpoint();
	int on = 1;

	*ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(*ret_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	g_assert_cmpint(bind(*ret_fd, (struct sockaddr *)&e.address, e.length), ==, 0);
	g_assert_cmpint(listen(*ret_fd, 1024), ==, 0);
	return e;
}

/* Thirty agents take connections and say nothing, for sixteen slots. */
static void test_tarpits(void)
{
	struct scene s;
	int tarpit;

	set_up(&s, SMALL);
	struct endpoint healthy = s.at;
	struct uuid node = s.node;
	struct mono begun = mono_now();

	s.at = listen_at(&tarpit);
	for (unsigned i = 0; i < 30; i++) {
		s.node = uuid_new();
		watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	}
	s.at = healthy;
	s.node = node;
	serve(&s);
	watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	/* Two requests a look, and a look a second. */
	WAIT_FOR(&s, s.requests >= 8);
	g_assert_cmpint((int64_t)(mono_now().us - begun.us), <, SPAN_SECONDS(10).us);
	g_assert_cmpuint(figures(&s)->given_up, >, 0);
	close(tarpit);
	tear_down(&s);
}

#define FINISHING 40u

/* Forty agents finish with a large outcome while the conductor does not read: the dialer stops looking, and
 * then nothing is missing. */
static void test_backlog(void)
{
	struct scene s;
	int fds[2];
	g_autofree char *filler = g_strnfill(200000, 'x');
	g_autofree char *outcome = g_strdup_printf("{\"x\": \"%s\"}", filler);
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	set_up(&s, SMALL);
	channel_free(s.conductor);
	waitpid(s.dialer, NULL, 0);
	g_assert_true(channel_pair(fds, NULL));
	s.dialer = start_dialer(fds, SMALL);
	s.command_body = result("SUCCEEDED", outcome);
	serve(&s);
	for (unsigned i = 0; i < FINISHING; i++) {
		s.node = uuid_new();
		g_auto(message) m = watch_of(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);

		g_assert_true(message_encode(&m, bytes, NULL));
	}
	g_assert_cmpint(send(fds[1], bytes->data, bytes->len, 0), ==, (ssize_t)bytes->len);
	/* Status, list and command of the first ones; then it waits. */
	struct loop_timer *quiet = loop_timer_new(s.l, on_late, &s);

	for (unsigned before = 0; !s.late && s.requests < 3 * FINISHING;) {
		if (s.requests != before)
			loop_timer_arm(quiet, SPAN_SECONDS(1));
		before = s.requests;
		loop_turn(s.l, true);
	}
	loop_timer_free(quiet);
	s.late = false;
	g_assert_cmpuint(s.requests, <, 3 * FINISHING);
	s.conductor = channel_new(s.l, fds[1], on_message, on_closed, &s);
	WAIT_FOR(&s, s.command_count == FINISHING);
	g_assert_cmpuint(s.alive_count, ==, FINISHING);
	g_assert_cmpuint(figures(&s)->held_back, >, 0);
	tear_down(&s);
}

#define RENEWALS 100u

/* More nodes than slots are watched anew again and again, whatever their looks are doing; the last watch has a command
 * to follow, and the end of each must be told. */
static void test_renewals(void)
{
	struct scene s;
	struct uuid nodes[FINISHING];

	set_up(&s, SMALL);
	s.command_body = result("SUCCEEDED", "{}");
	serve(&s);
	for (unsigned i = 0; i < FINISHING; i++)
		nodes[i] = uuid_new();
	for (unsigned round = 0; round <= RENEWALS; round++) {
		bool last = round == RENEWALS;
		unsigned answered = s.requests;

		for (unsigned i = 0; i < FINISHING; i++) {
			s.node = nodes[i];
			watch(&s, WATCH_WORKING, TRANSPORT_HTTP, last ? COMMAND : "");
		}
		WAIT_FOR(&s, s.requests > answered + round % FINISHING);
	}
	WAIT_FOR(&s, s.command_count == FINISHING);
	tear_down(&s);
}

#define LARGE_CALLS 30u
#define LARGE_CALL  (4u * 1024 * 1024)

/* Thirty commands with large parameters for agents that say nothing: the dialer takes some of them, and the others when
 * those are over. */
static void test_large_calls(void)
{
	struct scene s;
	int tarpit;
	g_autofree char *filler = g_strnfill(LARGE_CALL, 'x');
	struct uuid nodes[LARGE_CALLS];

	set_up(&s, SMALL);
	s.at = listen_at(&tarpit);
	for (unsigned i = 0; i < LARGE_CALLS; i++) {
		s.node = nodes[i] = uuid_new();
		watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	}
	for (unsigned i = 0; i < LARGE_CALLS; i++) {
		struct message m = {.type = MESSAGE_dialer_call};

		m.dialer_call = (struct message_dialer_call){
			.request = i + 1, .node = nodes[i], .epoch = 3, .wait = true};
		m.dialer_call.timeout_s = 2;
		m.dialer_call.command = (char *)(uintptr_t) "standby.sync";
		m.dialer_call.params = g_strdup_printf("{\"x\": \"%s\"}", filler);
		g_assert_true(channel_send(s.conductor, &m, NULL));
		g_free(m.dialer_call.params);
	}
	size_t most = 0;

	while (s.reply_count < LARGE_CALLS) {
		size_t left =
			LARGE_CALLS * (size_t)LARGE_CALL -
			MIN(channel_queued_bytes(s.conductor), LARGE_CALLS * (size_t)LARGE_CALL);

		most = MAX(most, left - MIN(left, s.reply_count * (size_t)LARGE_CALL));
		loop_turn(s.l, true);
	}
	/* 64 MiB are kept; one more and what the socket holds come with them. */
	g_assert_cmpuint(most, >, 14 * (size_t)LARGE_CALL);
	g_assert_cmpuint(most, <, 18 * (size_t)LARGE_CALL);
	close(tarpit);
	tear_down(&s);
}

static void on_stranger(void *ctx, bool readable, bool writable)
{
	struct stranger *t = ctx;
	int fd = accept(t->fd, NULL, NULL);

	(void)readable;
	(void)writable;
	if (send(fd, t->says, strlen(t->says), MSG_NOSIGNAL) < 0)
		g_error("the stranger cannot speak");
	shutdown(fd, SHUT_WR);
	t->client = fd;
}

/* What each kind of agent is counted as, one after the other at the same address. */
static void test_figures_of_answers(void)
{
	struct scene s;
	struct http_tls_server_options o = {.psk = psk_of_token, .ctx = &s};

	set_up(&s, LOCAL);
	s.tls = http_tls_server_new(&o, NULL);
	serve(&s);
	watch(&s, WATCH_IDLE, TRANSPORT_PSK, "");
	WAIT_FOR(&s, s.requests >= 4);
	WAIT_FIGURE(&s, polls_ok);
	g_assert_cmpuint(s.figures.bytes_in, >, 100);
	g_assert_cmpuint(s.figures.bytes_out, >, 100);
	g_assert_cmpuint(s.figures.watched_idle, ==, 1);
	g_assert_cmpuint(s.figures.handshake.sum_us, >, 0);
	g_assert_cmpuint(s.figures.lateness.sum_us, >, 0);
	WAIT_FIGURE(&s, staleness.sum_us);
	s.status_body = "<html>";
	WAIT_FIGURE(&s, malformed);
	s.status_code = 500;
	WAIT_FIGURE(&s, polls_status);
	s.status_code = 401;
	WAIT_FIGURE(&s, tokens_lost);
	tear_down(&s);
}

static void test_figures_of_silence(void)
{
	static const struct {
		const char *says; /* NULL: nothing, and the connection stays */
		enum agent_transport transport;
		size_t field;
	} cases[] = {
#define AT(field) offsetof(struct dialer_metrics, field)
		{"", TRANSPORT_HTTP, AT(polls_broken)},
		{"", TRANSPORT_PSK, AT(polls_untrusted)},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", TRANSPORT_HTTP,
		 AT(polls_limit)},
		{NULL, TRANSPORT_HTTP, AT(polls_late_answer)},
		{NULL, TRANSPORT_PSK, AT(polls_late_secure)},
#undef AT
	};
	struct scene s;
	struct stranger t[G_N_ELEMENTS(cases)];
	struct loop_watch *watches[G_N_ELEMENTS(cases)] = {NULL};
	struct endpoint nobody;

	set_up(&s, LOCAL "command_timeout = 1\n");
	nobody = s.at;
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		t[i] = (struct stranger){.says = cases[i].says, .client = -1};
		s.at = listen_at(&t[i].fd);
		s.node = uuid_new();
		if (cases[i].says)
			watches[i] = loop_watch_new(s.l, t[i].fd, on_stranger, &t[i]);
		watch(&s, WATCH_FIRST_CONTACT, cases[i].transport, "");
	}
	s.at = nobody;
	s.node = uuid_new();
	watch(&s, WATCH_FIRST_CONTACT, TRANSPORT_HTTP, "");
	WAIT_FIGURE(&s, polls_refused);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("case %zu", i);
		wait_figure(&s, cases[i].field);
	}
	g_assert_cmpuint(s.figures.watched_contact, ==, G_N_ELEMENTS(cases) + 1);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		loop_watch_free(watches[i]);
		close(t[i].fd);
		if (t[i].client >= 0)
			close(t[i].client);
	}
	tear_down(&s);
}

static void test_figures_of_refusals(void)
{
	struct scene s;

	set_up(&s, LOCAL);
	call(&s, 3, "standby.sync");
	WAIT_FIGURE(&s, calls_rejected);
	struct message m = watch_of(&s, WATCH_IDLE, TRANSPORT_HTTP, "");

	g_clear_pointer(&m.dialer_watch.token, secret_free);
	give(&s, &m);
	WAIT_FIGURE(&s, watch_wrong);
	m = watch_of(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	g_free(m.dialer_watch.address);
	m.dialer_watch.address = g_strdup("10.0.0.1");
	give(&s, &m);
	WAIT_FIGURE(&s, watch_outside);
	g_assert_cmpuint(s.figures.polls_ok + s.figures.polls_unreachable, ==, 0);
	/* A long poll that ends without news. */
	s.status_body = OWN;
	s.command_body = result("RUNNING", "null");
	s.hold_long_polls = true;
	serve(&s);
	watch(&s, WATCH_WORKING, TRANSPORT_HTTP, COMMAND);
	WAIT_FIGURE(&s, in_long);
	WAIT_FIGURE(&s, polls_waited);
	g_assert_cmpuint(s.figures.watched_working, ==, 1);
	tear_down(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dialer/refusals are told once, and the first answer makes an agent alive",
			test_first_contact);
	g_test_add_func("/dialer/inside a PSK channel the status alone proves the agent", test_psk);
	g_test_add_func("/dialer/a certificate that is not the pinned one gets no request",
			test_pinned);
	g_test_add_func("/dialer/an agent that waits for its token is given it once", test_contact);
	g_test_add_func("/dialer/without the word for it nobody is given a token", test_no_contact);
	g_test_add_func("/dialer/an agent that started again is told", test_restart);
	g_test_add_func("/dialer/at rest the list alone is asked, and a restart still shows",
			test_list_alone);
	g_test_add_func("/dialer/a command is followed to its end", test_follow);
	g_test_add_func("/dialer/an own agent is long-polled and calls come first", test_long_poll);
	g_test_add_func("/dialer/a command that the agent does not know is told",
			test_unknown_command);
	g_test_add_func("/dialer/calls are answered, busy and unclear are told apart",
			test_call_answers);
	g_test_add_func("/dialer/a token that is refused after success ends the dialling",
			test_token_lost);
	g_test_add_func("/dialer/an address outside the ranges is not dialled",
			test_forbidden_address);
	g_test_add_func("/dialer/whatever is no agent is named", test_strangers);
	g_test_add_func("/dialer/agents that say nothing delay nobody", test_tarpits);
	g_test_add_func("/dialer/a conductor that does not read stops the looks and loses nothing",
			test_backlog);
	g_test_add_func("/dialer/a watch that is renewed while its node waits for its turn is kept",
			test_renewals);
	g_test_add_func("/dialer/large commands wait with the conductor", test_large_calls);
	g_test_add_func("/dialer/answers are counted by what they were", test_figures_of_answers);
	g_test_add_func("/dialer/strangers are counted by what they did", test_figures_of_silence);
	g_test_add_func("/dialer/what is refused and what waits is counted",
			test_figures_of_refusals);
	g_test_add_func("/dialer/a forgotten node is left alone at once", test_forget);
	return g_test_run();
}
