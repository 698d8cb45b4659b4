#include "connect.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "errors.h"

/* The connector does nothing that blocks: this is a stuck one. */
#define CONNECTOR_MOST SPAN_SECONDS(10)

struct connect_ask {
	struct connect_client *client;
	uint32_t id;
	struct endpoint to;
	bool sent;
	connect_done_fn done; /* NULL: cancelled */
	void *ctx;
};

struct connect_client {
	int fd;
	struct loop_watch *watch;
	struct loop_task *send;
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

union control {
	char space[CMSG_SPACE(CONNECT_BATCH * sizeof(int))];
	struct cmsghdr align;
};

bool connect_replies_send(int fd, const struct connect_replies *r)
{
	union control control = {.space = {0}};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)r->replies,
			    .iov_len = r->count * sizeof(r->replies[0])};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t length = r->fd_count * sizeof(r->fds[0]);

	if (length) {
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(length);
		struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(length);
		memcpy(CMSG_DATA(h), r->fds, length);
	}
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void close_sockets(struct connect_replies *r)
{
	for (unsigned i = 0; i < r->fd_count; i++)
		close(r->fds[i]);
	r->fd_count = 0;
}

/* A socket for each reply without an error, and no other. */
static bool is_consistent(const struct connect_replies *r)
{
	unsigned made = 0;

	for (unsigned i = 0; i < r->count; i++)
		made += r->replies[i].error == 0;
	return r->count > 0 && made == r->fd_count;
}

/* 1, 0 if nothing is there, -1 if the connector is gone or does not say what it should: then nothing is kept of
 * what came. */
static int receive_replies(int fd, struct connect_replies *ret_replies)
{
	union control control;
	struct iovec iov = {.iov_base = ret_replies->replies,
			    .iov_len = sizeof(ret_replies->replies)};
	/* CMSG_SPACE() may have room for one more: the kernel drops what CMSG_LEN() has no room for. */
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = CMSG_LEN(sizeof(ret_replies->fds))};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_TRUNC);
	struct cmsghdr *h = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	ret_replies->count = ret_replies->fd_count = 0;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
		size_t length = h->cmsg_len - CMSG_LEN(0);

		ret_replies->fd_count = (unsigned)(length / sizeof(ret_replies->fds[0]));
		memcpy(ret_replies->fds, CMSG_DATA(h), length);
	}
	if ((size_t)n <= sizeof(ret_replies->replies) &&
	    (size_t)n % sizeof(ret_replies->replies[0]) == 0)
		ret_replies->count = (unsigned)((size_t)n / sizeof(ret_replies->replies[0]));
	if (!(msg.msg_flags & MSG_CTRUNC) && is_consistent(ret_replies))
		return 1;
	close_sockets(ret_replies);
	return -1;
}

/* ---- on the loop */

static void close_client(struct connect_client *c)
{
	loop_watch_set(c->watch, false, false);
	c->on_closed(c->ctx);
}

/* The next requests that wait, in one packet.  False when the connector does not take more now. */
static bool send_batch(struct connect_client *c)
{
	struct connect_request batch[CONNECT_BATCH] = {0};
	unsigned count = 0;

	for (const GList *i = c->unsent.head; i && count < CONNECT_BATCH; i = i->next) {
		const struct connect_ask *a = i->data;

		connect_request_make(a->id, &a->to, &batch[count++]);
	}
	size_t length = count * sizeof(batch[0]);

	if (send(c->fd, batch, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length)
		return false;
	while (count-- > 0)
		((struct connect_ask *)g_queue_pop_head(&c->unsent))->sent = true;
	return true;
}

static void send_unsent(void *arg)
{
	struct connect_client *c = arg;

	while (!g_queue_is_empty(&c->unsent) && send_batch(c))
		;
	loop_watch_set(c->watch, true, !g_queue_is_empty(&c->unsent));
}

/* The socket becomes the callee's. */
static void take_reply(struct connect_client *c, const struct connect_reply *r, int fd)
{
	struct connect_ask *a = g_hash_table_lookup(c->asks, GUINT_TO_POINTER(r->id));
	bool asked = a && a->sent;
	connect_done_fn done = asked ? a->done : NULL;
	void *ctx = asked ? a->ctx : NULL;

	if (asked)
		g_hash_table_remove(c->asks, GUINT_TO_POINTER(r->id));
	if (done)
		done(ctx, fd, r->error);
	else if (fd >= 0)
		close(fd);
}

static void on_ready(void *arg, bool readable, bool writable)
{
	struct connect_client *c = arg;
	struct connect_replies r;
	unsigned next = 0;

	if (writable)
		send_unsent(c);
	if (!readable)
		return;
	int got = receive_replies(c->fd, &r);

	for (unsigned i = 0; got > 0 && i < r.count; i++)
		take_reply(c, &r.replies[i], r.replies[i].error ? -1 : r.fds[next++]);
	if (got < 0)
		close_client(c);
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
	c->send = loop_task_new(l, send_unsent, c);
	loop_watch_set(c->watch, true, false);
	return c;
}

void connect_client_free(struct connect_client *c)
{
	if (!c)
		return;
	loop_watch_free(c->watch);
	loop_task_free(c->send);
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
	g_queue_push_tail(&c->unsent, a);
	loop_task_ask(c->send);
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

/* -1 and an errno, 0 if the connector did not answer. */
static int ask_and_receive(int fd, const struct endpoint *to, int *ret_error)
{
	static uint32_t last_id; /* under the lock */
	struct mono until = mono_add(mono_now(), CONNECTOR_MOST);
	struct connect_request rq;
	struct connect_replies r;

	connect_request_make(++last_id, to, &rq);
	*ret_error = 0;
	if (send(fd, &rq, sizeof(rq), MSG_NOSIGNAL) != sizeof(rq))
		return -1;
	while (wait_for(fd, POLLIN, until)) {
		int got = receive_replies(fd, &r);

		if (got < 0)
			return -1;
		if (got > 0 && r.count == 1 && r.replies[0].id == rq.id) {
			*ret_error = r.replies[0].error;
			return r.fd_count ? r.fds[0] : -1;
		}
		/* The answer to somebody who did not wait for it. */
		close_sockets(&r);
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
	int number = 0;
	socklen_t length = sizeof(number);

	g_mutex_lock(&lock);
	int made = ask_and_receive(fd, to, &number);

	g_mutex_unlock(&lock);
	if (made < 0)
		return fail_connect(number ? number : EPIPE, error);
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
