#include "connector.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect.h"
#include "errors.h"
#include "log.h"

#define REFUSAL_LOG_EVERY SPAN_SECONDS(1)

struct connector {
	struct loop *loop;
	const struct config *config;
	GQueue clients; /* of struct client */
};

struct client {
	struct connector *connector;
	GList link;
	enum role role;
	int fd;
	struct loop_watch *watch;
	const struct network *allowed;
	unsigned allowed_count;
	struct connect_replies replies;
	bool stuck; /* the client has no room for them yet; nothing more is read from it meanwhile */
	struct mono refusal_logged;
	unsigned refused; /* since then */
};

static void close_made(struct client *c)
{
	while (c->replies.fd_count > 0)
		close(c->replies.fds[--c->replies.fd_count]);
}

static void client_free(struct client *c)
{
	g_queue_unlink(&c->connector->clients, &c->link);
	loop_watch_free(c->watch);
	close_made(c);
	close(c->fd);
	g_free(c);
}

/* Always reported: workers check the ranges themselves, so this one does not do what its program says.  Not
 * each one: it may go on. */
static void report_refusal(struct client *c, const struct endpoint *to)
{
	struct mono now = loop_now(c->connector->loop);
	char text[ENDPOINT_TEXT];

	c->refused++;
	if (c->refusal_logged.us &&
	    !mono_reached(mono_add(c->refusal_logged, REFUSAL_LOG_EVERY), now))
		return;
	endpoint_print(to, text);
	log_error(NULL, "a process asked for an address outside its ranges",
		  {.key = "event", .text = "sandbox"}, F_STR("role", role_text[c->role]),
		  {.key = "call", .text = "connect"}, {.key = "address", .text = text},
		  F_INT("count", c->refused));
	c->refusal_logged = now;
	c->refused = 0;
}

/* A socket whose connection is being made; -1 and *ret_error. */
static int open_connection(const struct endpoint *to, int *ret_error)
{
	int on = 1, off = 0;
	/* Not shared with http/wire.c: no layer below both may be able to dial. */
	int fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*ret_error = errno;
	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* The last packet of connecting waits for the first bytes and travels with them. */
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
	if (connect(fd, (const struct sockaddr *)&to->address, to->length) == 0 ||
	    errno == EINPROGRESS) {
		*ret_error = 0;
		return fd;
	}
	*ret_error = errno;
	close(fd);
	return -1;
}

/* Sends the replies with their sockets.  False if the client is gone. */
static bool answer(struct client *c)
{
	bool sent = connect_replies_send(c->fd, &c->replies);

	/* ETOOMANYREFS: the client has many sockets to take out first. */
	c->stuck = !sent && (errno == EAGAIN || errno == ETOOMANYREFS || errno == EINTR);
	if (c->stuck)
		return true;
	close_made(c);
	return sent;
}

static void carry_out(struct client *c, const struct connect_request *rq)
{
	struct endpoint to;
	int number = EINVAL, made = -1;

	if (connect_request_read(rq, &to)) {
		bool allowed = network_list_allows(c->allowed, c->allowed_count, &to);

		number = EACCES;
		if (allowed)
			made = open_connection(&to, &number);
		else
			report_refusal(c, &to);
		/* EACCES is the ranges' word. */
		if (allowed && number == EACCES)
			number = EPERM;
	}
	c->replies.replies[c->replies.count++] =
		(struct connect_reply){.id = rq->id, .error = number};
	if (made >= 0)
		c->replies.fds[c->replies.fd_count++] = made;
}

/* A packet of requests.  False if the client is gone or broke the protocol. */
static bool serve(struct client *c)
{
	struct connect_request batch[CONNECT_BATCH];
	ssize_t n = recv(c->fd, batch, sizeof(batch), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0 || (size_t)n > sizeof(batch) || (size_t)n % sizeof(batch[0]) != 0)
		return false;
	c->replies.count = 0;
	for (size_t i = 0; i < (size_t)n / sizeof(batch[0]); i++)
		carry_out(c, &batch[i]);
	return answer(c);
}

static void on_ready(void *arg, bool readable, bool writable)
{
	struct client *c = arg;
	bool good = true, was_stuck = c->stuck;

	if (writable && c->stuck)
		good = answer(c);
	if (good && readable && !c->stuck)
		good = serve(c);
	if (!good)
		client_free(c);
	else if (c->stuck != was_stuck)
		loop_watch_set(c->watch, !c->stuck, c->stuck);
}

void connector_serve(struct connector *k, enum role role, int fd)
{
	struct client *c = g_new0(struct client, 1);

	c->connector = k;
	c->link.data = c;
	c->role = role;
	c->fd = fd;
	if (role == ROLE_DIALER)
		c->allowed = config_networks(k->config, OPTION_agent_allowed_networks,
					     &c->allowed_count);
	else if (role == ROLE_BMC)
		c->allowed = config_networks(k->config, OPTION_redfish_allowed_networks,
					     &c->allowed_count);
	g_queue_push_tail_link(&k->clients, &c->link);
	c->watch = loop_watch_new(k->loop, fd, on_ready, c);
	loop_watch_set(c->watch, true, false);
}

struct connector *connector_new(struct loop *l, const struct config *conf)
{
	struct connector *c = g_new0(struct connector, 1);

	c->loop = l;
	c->config = conf;
	g_queue_init(&c->clients);
	return c;
}

void connector_free(struct connector *c)
{
	if (!c)
		return;
	while (c->clients.head)
		client_free(c->clients.head->data);
	g_free(c);
}
