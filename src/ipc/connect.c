#include "connect.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "errors.h"

#define ASKS_PER_TURN 64
/* The connector does nothing that blocks: this is a stuck one. */
#define CONNECTOR_MOST SPAN_SECONDS(10)

struct connect_ask {
	struct connect_client *client;
	uint32_t id;
	struct endpoint to;
	connect_done_fn done; /* NULL: cancelled */
	void *ctx;
};

struct connect_client {
	int fd;
	struct loop_watch *watch;
	GHashTable *asks; /* id -> ask, sent and unsent */
	GQueue unsent;    /* of asks */
	uint32_t last_id;
	loop_fn on_closed;
	void *ctx;
};

bool connect_pair(int ret_fds[2], GError **error)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) < 0)
		return inox_error_set_errno(error, errno, "create a socket pair");
	return true;
}

void connect_request_make(uint32_t id, const struct endpoint *to,
			  struct connect_request *ret_request)
{
	bool v6 = to->address.ss_family == AF_INET6;
	const struct sockaddr_in *sin = (const void *)&to->address;
	const struct sockaddr_in6 *sin6 = (const void *)&to->address;

	*ret_request = (struct connect_request){
		.id = id, .port = (uint16_t)endpoint_port(to), .family = v6 ? 6 : 4};
	if (v6)
		memcpy(ret_request->address, &sin6->sin6_addr, 16);
	else
		memcpy(ret_request->address, &sin->sin_addr, 4);
}

bool connect_request_read(const struct connect_request *rq, struct endpoint *ret_to)
{
	static const uint8_t none[12], mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(rq->port)};
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(rq->port)};

	if (rq->port == 0 || rq->zero != 0 || (rq->family != 4 && rq->family != 6))
		return false;
	memset(ret_to, 0, sizeof(*ret_to));
	if (rq->family == 4) {
		if (memcmp(rq->address + 4, none, sizeof(none)) != 0)
			return false;
		memcpy(&sin.sin_addr, rq->address, 4);
		memcpy(&ret_to->address, &sin, sizeof(sin));
		ret_to->length = sizeof(sin);
		return true;
	}
	/* The kernel would dial IPv4 for it, past ranges of IPv4. */
	if (memcmp(rq->address, mapped, sizeof(mapped)) == 0)
		return false;
	memcpy(&sin6.sin6_addr, rq->address, 16);
	memcpy(&ret_to->address, &sin6, sizeof(sin6));
	ret_to->length = sizeof(sin6);
	return true;
}

/* The length of the packet that came, which is a reply if it is sizeof(*ret_reply), 0 at the end, -1 with errno.
 * A descriptor comes with a reply only; others are closed. */
static ssize_t receive_reply(int fd, struct connect_reply *ret_reply, int *ret_fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = ret_reply, .iov_len = sizeof(*ret_reply)};
	/* CMSG_SPACE() has room for two: the kernel drops what CMSG_LEN() has no room for. */
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_TRUNC);
	struct cmsghdr *h = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	*ret_fd = -1;
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(h), sizeof(*ret_fd));
	if (n != sizeof(*ret_reply) && *ret_fd >= 0) {
		close(*ret_fd);
		*ret_fd = -1;
	}
	return n;
}

/* ---- on the loop */

static void close_client(struct connect_client *c)
{
	loop_watch_set(c->watch, false, false);
	c->on_closed(c->ctx);
}

/* False when the connector does not take more now. */
static bool send_ask(const struct connect_ask *a)
{
	struct connect_request rq;

	connect_request_make(a->id, &a->to, &rq);
	return send(a->client->fd, &rq, sizeof(rq), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(rq);
}

static void send_unsent(struct connect_client *c)
{
	while (!g_queue_is_empty(&c->unsent) && send_ask(g_queue_peek_head(&c->unsent)))
		g_queue_pop_head(&c->unsent);
	loop_watch_set(c->watch, true, !g_queue_is_empty(&c->unsent));
}

static bool take_reply(struct connect_client *c, const struct connect_reply *r, int fd)
{
	struct connect_ask *a = g_hash_table_lookup(c->asks, GUINT_TO_POINTER(r->id));

	if (!a || (r->error == 0) != (fd >= 0)) {
		if (fd >= 0)
			close(fd);
		return a == NULL;
	}
	connect_done_fn done = a->done;
	void *ctx = a->ctx;

	g_hash_table_remove(c->asks, GUINT_TO_POINTER(r->id));
	if (done)
		done(ctx, fd, r->error);
	else if (fd >= 0)
		close(fd);
	return true;
}

static void on_ready(void *arg, bool readable, bool writable)
{
	struct connect_client *c = arg;
	struct connect_reply r;
	int fd;

	if (writable)
		send_unsent(c);
	for (unsigned i = 0; readable && i < ASKS_PER_TURN; i++) {
		ssize_t n = receive_reply(c->fd, &r, &fd);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n != sizeof(r) || !take_reply(c, &r, fd)) {
			close_client(c);
			return;
		}
	}
}

struct connect_client *connect_client_new(struct loop *l, int fd, loop_fn on_closed, void *ctx)
{
	struct connect_client *c = g_new0(struct connect_client, 1);

	c->fd = fd;
	c->asks = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_queue_init(&c->unsent);
	c->on_closed = on_closed;
	c->ctx = ctx;
	c->watch = loop_watch_new(l, fd, on_ready, c);
	loop_watch_set(c->watch, true, false);
	return c;
}

void connect_client_free(struct connect_client *c)
{
	if (!c)
		return;
	loop_watch_free(c->watch);
	g_queue_clear(&c->unsent);
	g_hash_table_unref(c->asks);
	close(c->fd);
	g_free(c);
}

struct connect_ask *connect_ask(struct connect_client *c, const struct endpoint *to,
				connect_done_fn done, void *ctx)
{
	struct connect_ask *a = g_new0(struct connect_ask, 1);

	*a = (struct connect_ask){
		.client = c, .id = ++c->last_id, .to = *to, .done = done, .ctx = ctx};
	g_hash_table_insert(c->asks, GUINT_TO_POINTER(a->id), a);
	if (g_queue_is_empty(&c->unsent) && send_ask(a))
		return a;
	g_queue_push_tail(&c->unsent, a);
	loop_watch_set(c->watch, true, true);
	return a;
}

void connect_ask_cancel(struct connect_ask *a)
{
	/* It stays until its answer, whose socket has to be closed; unless it was never sent. */
	a->done = NULL;
	if (g_queue_remove(&a->client->unsent, a))
		g_hash_table_remove(a->client->asks, GUINT_TO_POINTER(a->id));
}

/* ---- from threads */

/* True when the descriptor is ready for `events` in time. */
static bool wait_for(int fd, short events, struct mono until)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = mono_now().us;
		uint64_t left = until.us > now ? until.us - now : 0;
		int n = poll(&p, 1, (int)MIN((left + 999) / 1000, (uint64_t)G_MAXINT));

		if (n > 0)
			return true;
		if (n == 0 || errno != EINTR)
			return false;
	}
}

static int ask_and_receive(int fd, const struct endpoint *to, struct connect_reply *ret_reply)
{
	static uint32_t last_id; /* under the lock */
	struct mono until = mono_add(mono_now(), CONNECTOR_MOST);
	struct connect_request rq;
	int got = -1;

	connect_request_make(++last_id, to, &rq);
	*ret_reply = (struct connect_reply){.error = EPIPE};
	if (send(fd, &rq, sizeof(rq), MSG_NOSIGNAL) != sizeof(rq))
		return -1;
	while (wait_for(fd, POLLIN, until)) {
		ssize_t n = receive_reply(fd, ret_reply, &got);

		if (n == sizeof(*ret_reply) && ret_reply->id == rq.id)
			return got;
		/* The answer to somebody who did not wait for it. */
		if (got >= 0)
			close(got);
		ret_reply->error = EPIPE;
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -1;
	}
	return -1;
}

static bool fail_connect(int number, GError **error)
{
	if (number == EACCES)
		return inox_error_set(error, INOX_ERROR_DENIED,
				      "the address is outside the ranges that may be dialled");
	if (number == EPIPE)
		return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
				      "the process that opens connections is being restarted");
	if (number == ETIMEDOUT)
		return inox_error_set(error, INOX_ERROR_TIMEOUT,
				      "did not take the connection in time");
	return inox_error_set(error, INOX_ERROR_UNAVAILABLE, "cannot be reached: %s",
			      g_strerror(number));
}

bool connect_and_wait(int fd, const struct endpoint *to, struct span wait, int *ret_fd,
		      GError **error)
{
	static GMutex lock;
	struct connect_reply r;
	int number = 0;
	socklen_t length = sizeof(number);

	g_mutex_lock(&lock);
	int made = ask_and_receive(fd, to, &r);

	g_mutex_unlock(&lock);
	if (made < 0)
		return fail_connect(r.error ? r.error : EPIPE, error);
	if (!wait_for(made, POLLOUT, mono_add(mono_now(), wait)))
		number = ETIMEDOUT;
	else if (getsockopt(made, SOL_SOCKET, SO_ERROR, &number, &length) < 0)
		number = errno;
	if (number) {
		close(made);
		return fail_connect(number, error);
	}
	*ret_fd = made;
	return true;
}
