#include "channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crash_point.h"
#include "errors.h"
#include "limit.h"

#define READ_CHUNK (64 * 1024)
/* While frames are left over, more than this is not read: it stays with the sender, who sees it
 * (channel_queued_bytes). */
#define READ_AHEAD_MOST (1024 * 1024)
#define READS_PER_TURN  16
/* Frames handled in one turn: a chatty worker does not starve the timers. */
#define FRAMES_PER_TURN 64
#define DROP_LEAST      (1024u * 1024)
/* A worker that was taken over could fill our table of descriptors. */
#define FDS_MOST 8

struct channel {
	struct loop_watch *watch;
	struct loop_timer *again; /* frames are left over from the last turn */
	int fd;
	GByteArray *in, *out;
	size_t in_used, out_used;
	GQueue received_fds; /* GINT_TO_POINTER */
	channel_message_fn on_message;
	channel_closed_fn on_closed;
	void *ctx;
	unsigned busy;  /* callbacks on the stack */
	bool left_over; /* frames of the last turn */
	bool held, ended;
	bool unheard;       /* the other side reads no more */
	bool reads, writes; /* what the loop watches for */
	bool freed, dead;
};

bool channel_pair(int ret_fds[2], GError **error)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) < 0)
		return inox_error_set_errno(error, errno, "create a socket pair");
	return true;
}

static void channel_destroy(struct channel *c)
{
	loop_watch_free(c->watch);
	loop_timer_free(c->again);
	close(c->fd);
	while (!g_queue_is_empty(&c->received_fds))
		close(GPOINTER_TO_INT(g_queue_pop_head(&c->received_fds)));
	g_byte_array_unref(c->in);
	g_byte_array_unref(c->out);
	g_free(c);
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	c->freed = true;
	if (c->busy == 0)
		channel_destroy(c);
}

static void set_watch(struct channel *c)
{
	bool reads = !c->held && !c->ended && !c->dead;
	bool writes = !c->dead && c->out->len > c->out_used;

	if (reads == c->reads && writes == c->writes)
		return;
	c->reads = reads;
	c->writes = writes;
	loop_watch_set(c->watch, reads, writes);
}

static void channel_die(struct channel *c, const GError *error)
{
	if (c->dead || c->freed)
		return;
	c->dead = true;
	set_watch(c);
	c->on_closed(c->ctx, error);
}

/* Returns false when the socket is not to be read on now. */
static bool receive(struct channel *c, GError **error)
{
	uint8_t bytes[READ_CHUNK];
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     /* Without the padding, in which a second one would fit. */
			     .msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0) {
		/* It ended without having read all.  This comes behind everything that it said. */
		c->ended = errno == ECONNRESET;
		if (!c->ended && errno != EAGAIN && errno != EINTR)
			inox_error_set_errno(error, errno, "read from another process");
		return false;
	}
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&msg); h; h = CMSG_NXTHDR(&msg, h)) {
		int fd;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
		    h->cmsg_len != CMSG_LEN(sizeof(int)))
			continue;
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
		if (g_queue_get_length(&c->received_fds) == FDS_MOST) {
			close(fd);
			return inox_error_set(error, INOX_ERROR_PEER,
					      "descriptors that no message needs");
		}
		g_queue_push_tail(&c->received_fds, GINT_TO_POINTER(fd));
	}
	if (msg.msg_flags & MSG_CTRUNC)
		return inox_error_set(error, INOX_ERROR_PEER, "more descriptors than one at once");
	c->ended = n == 0;
	g_byte_array_append(c->in, bytes, (guint)n);
	return n == (ssize_t)sizeof(bytes);
}

static int fd_of(struct channel *c, const struct message *m)
{
	if ((m->type != MESSAGE_worker_attached && m->type != MESSAGE_sandboxed) ||
	    g_queue_is_empty(&c->received_fds))
		return -1;
	return GPOINTER_TO_INT(g_queue_pop_head(&c->received_fds));
}

/* Handles one frame if it is there whole. */
static bool handle_frame(struct channel *c, GError **error)
{
	const uint8_t *p = c->in->data + c->in_used;
	size_t have = c->in->len - c->in_used;

	if (have < 4)
		return false;
	size_t length = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;

	if (length > LIMIT_IPC_MESSAGE)
		return inox_error_set(error, INOX_ERROR_PEER, "a frame of %zu bytes", length);
	if (have - 4 < length)
		return false;
	g_auto(message) m = {.type = MESSAGE_NONE};

	if (!message_decode(p + 4, length, &m, error))
		return false;
	c->in_used += 4 + length;
	crash_point("received");
	c->on_message(c->ctx, &m, fd_of(c, &m));
	return true;
}

static void drop_used(GByteArray *bytes, size_t *used)
{
	if (*used == 0)
		return;
	g_byte_array_remove_range(bytes, 0, (guint)*used);
	*used = 0;
}

static void handle_frames(struct channel *c, GError **error)
{
	unsigned n = 0;

	while (n < FRAMES_PER_TURN && !c->held && !c->freed && !c->dead && handle_frame(c, error))
		n++;
	drop_used(c->in, &c->in_used);
	c->left_over = n == FRAMES_PER_TURN || c->held;
	if (c->left_over && !c->held && !c->freed && !c->dead)
		loop_timer_arm(c->again, SPAN_MS(0));
}

/* Nothing is written any more.  What was said can still be read, and behind it there is an end, whatever the other side
 * does. */
static void stop_writing(struct channel *c)
{
	c->unheard = true;
	g_byte_array_set_size(c->out, 0);
	c->out_used = 0;
	(void)shutdown(c->fd, SHUT_RDWR);
	set_watch(c);
}

static void flush(struct channel *c)
{
	while (c->out->len > c->out_used) {
		ssize_t n = send(c->fd, c->out->data + c->out_used, c->out->len - c->out_used,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			stop_writing(c);
			return;
		}
		c->out_used += (size_t)n;
	}
	/* What is left is moved: seldom, while there is much of it. */
	if (c->out_used > MAX(DROP_LEAST, c->out->len / 2) || c->out->len == c->out_used)
		drop_used(c->out, &c->out_used);
	set_watch(c);
}

static void on_ready(void *ctx, bool readable, bool writable)
{
	struct channel *c = ctx;
	g_autoptr(GError) error = NULL;

	c->busy++;
	if (writable)
		flush(c);
	if (readable && !c->held && !(c->left_over && c->in->len > READ_AHEAD_MOST))
		for (unsigned i = 0; i < READS_PER_TURN && !error && !c->ended; i++)
			if (!receive(c, &error))
				break;
	if (!error)
		handle_frames(c, &error);
	/* What was said before the end counts. */
	while (c->ended && !error && c->left_over && !c->held && !c->freed && !c->dead)
		handle_frames(c, &error);
	if (error || (c->ended && !c->held))
		channel_die(c, error);
	else if (!c->freed)
		set_watch(c);
	if (--c->busy == 0 && c->freed)
		channel_destroy(c);
}

static void on_again(void *ctx)
{
	on_ready(ctx, false, false);
}

struct channel *channel_new(struct loop *l, int fd, channel_message_fn on_message,
			    channel_closed_fn on_closed, void *ctx)
{
	struct channel *c = g_new0(struct channel, 1);

	c->fd = fd;
	c->in = g_byte_array_new();
	c->out = g_byte_array_new();
	g_queue_init(&c->received_fds);
	c->on_message = on_message;
	c->on_closed = on_closed;
	c->ctx = ctx;
	c->again = loop_timer_new(l, on_again, c);
	c->watch = loop_watch_new(l, fd, on_ready, c);
	c->reads = true;
	return c;
}

bool channel_send(struct channel *c, const struct message *m, GError **error)
{
	if (c->dead || c->unheard)
		return true;
	if (!message_encode(m, c->out, error))
		return false;
	crash_point("sending");
	/* After a failed write the owner is told of the end in on_ready(). */
	flush(c);
	return true;
}

bool channel_send_fd(struct channel *c, const struct message *m, int fd, GError **error)
{
	if (c->dead)
		return true;
	/* The descriptor travels with one byte; the frame's first byte must be that one. */
	flush(c);
	if (c->unheard)
		return inox_error_set_errno(error, EPIPE, "hand a descriptor to another process");
	if (c->out->len > c->out_used)
		return inox_error_set(error, INOX_ERROR_BUSY, "the other process does not read");
	if (!message_encode(m, c->out, error))
		return false;
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.space = {0}};
	struct iovec iov = {.iov_base = c->out->data + c->out_used, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	if (sendmsg(c->fd, &msg, MSG_NOSIGNAL) != 1) {
		inox_error_set_errno(error, errno, "hand a descriptor to another process");
		/* It would go out later, without its descriptor. */
		g_byte_array_set_size(c->out, 0);
		return false;
	}
	c->out_used++;
	flush(c);
	return true;
}

void channel_hold(struct channel *c, bool hold)
{
	if (c->held == hold || c->dead || c->freed)
		return;
	c->held = hold;
	set_watch(c);
	if (!hold)
		loop_timer_arm(c->again, SPAN_MS(0));
}

size_t channel_queued_bytes(const struct channel *c)
{
	return c->out->len - c->out_used;
}
