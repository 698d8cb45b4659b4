/* The framing of a channel between two processes, from the side of one that was taken over: bytes in pieces of any length,
 * descriptors with any of them, pauses in which the reader handles what it has or is held.  Each piece is behind a byte:
 * its low five bits are its length, the next one holds or releases the reader, the high two are the number of
 * descriptors. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"

#define LENGTH_MASK 0x1f
#define HOLD        0x20
#define DESCRIPTORS 128
#define PIECES_MOST 200 /* fewer than a socket pair holds */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

struct reader {
	struct channel *channel;
	GByteArray *heard; /* as frames again */
	unsigned closed, messages, descriptors;
	bool held;
};

static unsigned count_open(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < DESCRIPTORS; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct reader *r = ctx;

	g_assert_false(r->held);
	g_assert_cmpuint(r->closed, ==, 0);
	g_assert_cmpint(m->type, !=, MESSAGE_NONE);
	g_assert_true(message_encode(m, r->heard, NULL));
	r->messages++;
	if (fd < 0)
		return;
	/* Only with the messages that are made for it. */
	g_assert_true(m->type == MESSAGE_worker_attached || m->type == MESSAGE_sandboxed);
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	r->descriptors++;
	close(fd);
}

static void on_closed(void *ctx, const GError *error)
{
	struct reader *r = ctx;

	(void)error;
	g_assert_false(r->held && !error);
	r->closed++;
}

static bool send_piece(int to, const uint8_t *bytes, size_t length, unsigned descriptors)
{
	static int any = -1;

	union {
		char space[CMSG_SPACE(3 * sizeof(int))];
		struct cmsghdr align;
	} control = {.space = {0}};
	/* sendmsg() does not write through it. */
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (descriptors) {
		if (any < 0)
			any = open("/dev/null", O_RDONLY | O_CLOEXEC);
		const int given[3] = {any, any, any};

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
		memcpy(CMSG_DATA(h), given, descriptors * sizeof(int));
	}
	return sendmsg(to, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* What was heard is what was said, in order and from the beginning: the frames have one form. */
static void check_heard(const struct reader *r, const GByteArray *said)
{
	g_assert_cmpuint(r->heard->len, <=, said->len);
	g_assert_true(r->heard->len == 0 || memcmp(r->heard->data, said->data, r->heard->len) == 0);
	g_assert_cmpuint(r->descriptors, <=, r->messages);
}

static void turn(struct loop *l)
{
	for (unsigned i = 0; i < 3; i++)
		loop_turn(l, false);
}

static void play(struct loop *l, struct reader *r, int to, const uint8_t *data, const uint8_t *end)
{
	g_autoptr(GByteArray) said = g_byte_array_new();

	for (unsigned i = 0; i < PIECES_MOST && data < end; i++) {
		unsigned head = *data++;
		size_t piece = MIN((size_t)(head & LENGTH_MASK), (size_t)(end - data));

		r->held = head & HOLD;
		channel_hold(r->channel, r->held);
		if (piece && send_piece(to, data, piece, head >> 6))
			g_byte_array_append(said, data, (guint)piece);
		data += piece;
		turn(l);
		check_heard(r, said);
	}
	close(to);
	r->held = false;
	channel_hold(r->channel, false);
	for (unsigned i = 0; i < 1000 && !r->closed; i++)
		loop_turn(l, false);
	g_assert_cmpuint(r->closed, ==, 1);
	check_heard(r, said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	(void)send_piece(-1, data, 0, 1); /* opens what stays open */
	unsigned before = count_open();
	struct loop *l = loop_new();
	struct reader r = {.heard = g_byte_array_new()};
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	r.channel = channel_new(l, fds[0], on_message, on_closed, &r);
	play(l, &r, fds[1], data, data + length);
	channel_free(r.channel);
	g_byte_array_unref(r.heard);
	loop_free(l);
	g_assert_cmpuint(count_open(), ==, before);
	return 0;
}
