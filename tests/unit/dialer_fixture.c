#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connector.h"
#include "dialer.h"
#include "dialer_fixture.h"
#include "sandbox.h"

/* ---- the agent */

void scene_answer(struct http_request *rq, int code, const char *body)
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
	if (s->hold_posts) {
		s->held = rq;
		http_request_on_gone(rq, on_poller_gone, s);
		return;
	}
	scene_answer(rq, s->post_code, s->post_body);
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
	scene_answer(rq, s->command_code, s->command_body);
}

static void on_request(void *ctx, struct http_request *rq)
{
	struct scene *s = ctx;
	const char *path = http_request_path(rq);

	s->requests++;
	if (strcmp(path, "/v1/status") == 0) {
		s->statuses++;
		g_assert_null(http_request_query(rq, "agent_token"));
		scene_answer(rq, s->status_code, s->status_body);
	} else if (strcmp(http_request_method(rq), "POST") == 0) {
		on_post(s, rq);
	} else if (strcmp(path, "/v1/commands/") == 0) {
		s->lists++;
		check_token(s, rq);
		scene_answer(rq, s->list_code, s->list_body);
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

void scene_on_message(void *ctx, struct message *m, int fd)
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

void scene_on_closed(void *ctx, const GError *error)
{
	(void)ctx;
	g_error("the dialer closed its channel: %s", error ? error->message : "-");
}

/* ---- the scene */

void scene_on_late(void *ctx)
{
	((struct scene *)ctx)->late = true;
}

static struct endpoint scene_free_endpoint(void)
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

bool scene_psk(void *ctx, const char *identity, uint8_t ret_key[static TLS_PSK_BYTES])
{
	struct scene *s = ctx;
	char expected[TLS_IDENTITY_MAX];
	g_autoptr(secret) token = secret_new(TOKEN);

	tls_psk_identity(&s->node, 3, expected);
	tls_psk_of_token(token, ret_key);
	return !s->waits && strcmp(identity, expected) == 0;
}

void scene_serve(struct scene *s)
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

pid_t scene_start_dialer(int fds[static 2], const char *config_text)
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

void scene_set_up(struct scene *s, const char *config_text)
{
	int fds[2];
	pid_t pid;

	g_assert_true(channel_pair(fds, NULL));
	pid = scene_start_dialer(fds, config_text);
	*s = (struct scene){.l = loop_new(),
			    .status_body = STATUS,
			    .list_body = LIST,
			    .status_code = 200,
			    .list_code = 200,
			    .command_code = 200,
			    .post_code = 200,
			    .node = uuid_new(),
			    .at = scene_free_endpoint()};
	s->dialer = pid;
	s->conductor = channel_new(s->l, fds[1], scene_on_message, scene_on_closed, s);
}

void scene_tear_down(struct scene *s)
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

void scene_give(struct scene *s, struct message *m)
{
	g_assert_true(channel_send(s->conductor, m, NULL));
	message_clear(m);
}

struct message scene_watch_message(struct scene *s, enum watch_phase phase,
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

void scene_watch(struct scene *s, enum watch_phase phase, enum agent_transport transport,
		 const char *command)
{
	struct message m = scene_watch_message(s, phase, transport, command);

	scene_give(s, &m);
}

void scene_call(struct scene *s, uint64_t epoch, const char *name)
{
	struct message m = {.type = MESSAGE_dialer_call};

	m.dialer_call.request = 77;
	m.dialer_call.node = s->node;
	m.dialer_call.epoch = epoch;
	m.dialer_call.command = g_strdup(name);
	m.dialer_call.params = g_strdup("{\"a\":1}");
	m.dialer_call.wait = true;
	m.dialer_call.timeout_s = 10;
	scene_give(s, &m);
}

char *scene_result(const char *status, const char *outcome)
{
	return g_strdup_printf("{\"id\": \"" COMMAND "\", \"command_name\": \"x\", "
			       "\"command_status\": \"%s\", \"command_error\": null, "
			       "\"command_result\": %s}",
			       status, outcome);
}

const struct dialer_metrics *scene_figures(struct scene *s)
{
	struct message m = {.type = MESSAGE_dialer_report};
	unsigned before = s->reports;

	scene_give(s, &m);
	WAIT_FOR(s, s->reports > before);
	return &s->figures;
}

struct endpoint scene_listen(int *ret_fd)
{
	struct endpoint e = scene_free_endpoint();
	int on = 1;

	*ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(*ret_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	g_assert_cmpint(bind(*ret_fd, (struct sockaddr *)&e.address, e.length), ==, 0);
	g_assert_cmpint(listen(*ret_fd, 1024), ==, 0);
	return e;
}
