#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "errors.h"
#include "limit.h"

static void test_round_trip(void)
{
	g_autoptr(GByteArray) frame = g_byte_array_new();
	struct message out = {.type = MESSAGE_bmc_request};
	g_auto(message) in = {.type = MESSAGE_NONE};

	out.bmc_request.request = 0x1122334455667788u;
	out.bmc_request.node = uuid_new();
	out.bmc_request.driver = g_strdup("redfish");
	out.bmc_request.password = secret_new("calvin");
	out.bmc_request.verify = true;
	g_assert_true(message_encode(&out, frame, NULL));
	g_assert_true(message_decode(frame->data + 4, frame->len - 4, &in, NULL));
	g_assert_cmpuint(in.bmc_request.request, ==, out.bmc_request.request);
	g_assert_cmpstr(in.bmc_request.node.s, ==, out.bmc_request.node.s);
	g_assert_cmpstr(in.bmc_request.driver, ==, "redfish");
	g_assert_cmpstr(in.bmc_request.username, ==, "");
	g_assert_cmpstr(secret_peek(in.bmc_request.password), ==, "calvin");
	message_clear(&out);
	for (size_t cut = 0; cut < frame->len - 4; cut++) {
		struct message m;

		g_assert_false(message_decode(frame->data + 4, cut, &m, NULL));
	}
	static const uint8_t zero = 0;
	struct message m;

	g_byte_array_append(frame, &zero, 1);
	g_assert_false(message_decode(frame->data + 4, frame->len - 4, &m, NULL));
}

static void test_one_form(void)
{
	static const char lower[] = "1c8a331f-3625-476c-80ae-d747479180b7";
	g_autoptr(GByteArray) frame = g_byte_array_new();
	struct message out = {.type = MESSAGE_dialer_forget};
	g_autoptr(GError) error = NULL;
	struct message in;

	g_assert_true(uuid_parse(lower, &out.dialer_forget.node, NULL));
	g_assert_true(message_encode(&out, frame, NULL));
	g_assert_true(message_decode(frame->data + 4, frame->len - 4, &in, NULL));
	frame->data[4 + 2 + 1] = 'C';
	g_assert_false(message_decode(frame->data + 4, frame->len - 4, &in, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_PEER);
	g_assert_nonnull(strstr(error->message, "dialer_forget: field node"));
}

static void test_over_limit(void)
{
	g_autoptr(GByteArray) frame = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	struct message out = {.type = MESSAGE_agent_gone};

	out.agent_gone.node = uuid_new();
	out.agent_gone.reason = g_strnfill(5000, 'x');
	g_assert_true(message_encode(&out, frame, NULL)); /* a sentence is cut */
	message_clear(&out);
	out.type = MESSAGE_dialer_watch;
	out.dialer_watch.node = uuid_new();
	out.dialer_watch.address = g_strnfill(65, '1');
	g_assert_false(message_encode(&out, frame, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
	message_clear(&out);
}

struct ends {
	struct loop *l;
	unsigned received, closed;
	size_t bytes;
	int fd;
};

static void on_message(void *ctx, struct message *m, int fd)
{
	struct ends *e = ctx;

	e->received++;
	if (m->type == MESSAGE_dialer_call)
		e->bytes += strlen(m->dialer_call.params);
	if (fd >= 0)
		e->fd = fd;
	if (e->received == 101)
		loop_stop(e->l);
}

static void on_closed(void *ctx, const GError *error)
{
	struct ends *e = ctx;

	g_assert_no_error(error);
	e->closed++;
	loop_stop(e->l);
}

static void test_channel(void)
{
	g_autoptr(loop) l = loop_new();
	struct ends e = {.l = l, .fd = -1};
	int fds[2], pipe_fds[2];

	g_assert_true(channel_pair(fds, NULL));
	g_assert_cmpint(pipe(pipe_fds), ==, 0);
	struct channel *a = channel_new(l, fds[0], on_message, on_closed, &e);
	struct channel *b = channel_new(l, fds[1], on_message, on_closed, &e);
	struct message attach = {.type = MESSAGE_worker_attached};
	struct message call = {.type = MESSAGE_dialer_call};

	g_assert_true(channel_send_fd(a, &attach, pipe_fds[0], NULL));
	call.dialer_call.node = uuid_new();
	call.dialer_call.params = g_strnfill(300000, 'p');
	for (unsigned i = 0; i < 100; i++)
		g_assert_true(channel_send(a, &call, NULL));
	g_assert_cmpuint(channel_queued_bytes(a), >, 0);
	message_clear(&call);
	loop_run(l);
	g_assert_cmpuint(e.received, ==, 101);
	g_assert_cmpuint(e.bytes, ==, 100 * 300000);
	g_assert_cmpint(e.fd, >=, 0);
	channel_free(a);
	loop_run(l);
	g_assert_cmpuint(e.closed, ==, 1);
	channel_free(b);
	close(e.fd);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

#define FLOOD 100000u

struct flood {
	struct loop *l;
	struct channel *from;
	unsigned received;
	size_t frame, ahead_most;
	bool closed;
};

static void on_flood(void *ctx, struct message *m, int fd)
{
	struct flood *f = ctx;

	(void)fd;
	/* In order, and nothing twice. */
	g_assert_cmpuint(m->agent_gone.epoch, ==, f->received);
	f->received++;
	if (!f->from)
		return;
	/* What left the sender and was not handled yet. */
	size_t ahead = (FLOOD - f->received) * f->frame - channel_queued_bytes(f->from);

	f->ahead_most = MAX(f->ahead_most, ahead);
}

static void on_flood_end(void *ctx, const GError *error)
{
	struct flood *f = ctx;

	(void)error;
	f->closed = true;
}

/* A sender of a hundred thousand messages, and a reader that takes 64 in a turn. */
static void test_flood(void)
{
	g_autoptr(loop) l = loop_new();
	g_autofree char *reason = g_strnfill(200, 'r');
	struct message m = {.type = MESSAGE_agent_gone};
	struct flood f = {.l = l};
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	f.from = channel_new(l, fds[0], on_flood, on_flood_end, &f);
	struct channel *to = channel_new(l, fds[1], on_flood, on_flood_end, &f);
	g_autoptr(GByteArray) one = g_byte_array_new();

	m.agent_gone.node = uuid_new();
	m.agent_gone.reason = reason;
	g_assert_true(message_encode(&m, one, NULL));
	f.frame = one->len;
	for (unsigned i = 0; i < FLOOD; i++) {
		m.agent_gone.epoch = i;
		g_assert_true(channel_send(f.from, &m, NULL));
	}
	while (f.received < FLOOD / 2)
		loop_turn(l, true);
	g_assert_cmpuint(f.ahead_most, <, 4 * 1024 * 1024);
	/* The sender ends in the middle: what had left it arrives. */
	size_t left = channel_queued_bytes(f.from);

	channel_free(g_steal_pointer(&f.from));
	while (!f.closed)
		loop_turn(l, true);
	g_assert_cmpuint(f.received + (left + f.frame - 1) / f.frame, ==, FLOOD);
	channel_free(to);
}

static void send_some(struct channel *from, unsigned first, unsigned count)
{
	struct message m = {.type = MESSAGE_agent_gone};

	m.agent_gone.node = uuid_new();
	for (unsigned i = 0; i < count; i++) {
		m.agent_gone.epoch = first + i;
		g_assert_true(channel_send(from, &m, NULL));
	}
}

/* Held before, in the middle of a turn's frames, and behind the end of the other side. */
static void test_hold(void)
{
	g_autoptr(loop) l = loop_new();
	struct flood f = {.l = l};
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	struct channel *from = channel_new(l, fds[0], on_flood, on_flood_end, &f);
	struct channel *to = channel_new(l, fds[1], on_flood, on_flood_end, &f);

	channel_hold(to, true);
	send_some(from, 0, 100);
	for (unsigned i = 0; i < 10; i++)
		loop_turn(l, false);
	g_assert_cmpuint(f.received, ==, 0);
	channel_hold(to, false);
	/* 64 in a turn. */
	while (f.received == 0)
		loop_turn(l, true);
	g_assert_cmpuint(f.received, <, 100);
	channel_hold(to, true);
	unsigned before = f.received;

	for (unsigned i = 0; i < 10; i++)
		loop_turn(l, false);
	g_assert_cmpuint(f.received, ==, before);
	send_some(from, 100, 10);
	channel_free(from);
	for (unsigned i = 0; i < 10; i++)
		loop_turn(l, false);
	g_assert_false(f.closed);
	channel_hold(to, false);
	while (!f.closed)
		loop_turn(l, true);
	g_assert_cmpuint(f.received, ==, 110);
	channel_free(to);
}

/* ---- a reader that cannot write any more */

static void on_clean_end(void *ctx, const GError *error)
{
	g_assert_no_error(error);
	on_flood_end(ctx, error);
}

/* `to` has much to write, and nobody reads that; 200 messages for it are under way. */
static struct channel *begin_talk(struct flood *f, struct loop *l, struct channel **ret_to)
{
	int fds[2];

	*f = (struct flood){.l = l};
	g_assert_true(channel_pair(fds, NULL));
	struct channel *from = channel_new(l, fds[0], on_flood, on_flood_end, f);

	*ret_to = channel_new(l, fds[1], on_flood, on_clean_end, f);
	channel_hold(from, true);
	while (channel_queued_bytes(*ret_to) < 1000000)
		send_some(*ret_to, 0, 1000);
	send_some(from, 0, 200);
	g_assert_cmpuint(channel_queued_bytes(from), ==, 0);
	return from;
}

static void until_closed(struct flood *f, unsigned received)
{
	for (unsigned i = 0; i < 1000 && !f->closed; i++)
		loop_turn(f->l, true);
	g_assert_true(f->closed);
	g_assert_cmpuint(f->received, ==, received);
}

static void test_end_of_deaf(void)
{
	g_autoptr(loop) l = loop_new();
	struct flood f;
	struct channel *to, *from = begin_talk(&f, l, &to);

	channel_free(from);
	until_closed(&f, 200);
	channel_free(to);
	/* The failure is seen in a callback's own message. */
	from = begin_talk(&f, l, &to);
	while (f.received == 0)
		loop_turn(l, true);
	g_assert_cmpuint(f.received, <, 200);
	channel_free(from);
	send_some(to, 0, 10);
	g_assert_cmpuint(channel_queued_bytes(to), ==, 0);
	until_closed(&f, 200);
	channel_free(to);
}

static void on_late(void *ctx)
{
	*(bool *)ctx = true;
}

static void test_held_behind_deaf(void)
{
	g_autoptr(loop) l = loop_new();
	struct flood f;
	struct channel *to, *from = begin_talk(&f, l, &to);
	bool late = false;
	struct loop_timer *timer = loop_timer_new(l, on_late, &late);
	unsigned turns = 0;

	channel_hold(to, true);
	channel_free(from);
	loop_timer_arm(timer, SPAN_MS(50));
	while (!late) {
		loop_turn(l, true);
		turns++;
	}
	/* It does not spin, either. */
	g_assert_cmpuint(turns, <, 20);
	send_some(to, 0, 10);
	g_assert_cmpuint(channel_queued_bytes(to), ==, 0);
	g_assert_cmpuint(f.received, ==, 0);
	g_assert_false(f.closed);
	channel_hold(to, false);
	until_closed(&f, 200);
	loop_timer_free(timer);
	channel_free(to);
}

/* It stays, and reads no more: that is its end. */
static void test_deaf_peer(void)
{
	g_autoptr(loop) l = loop_new();
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	struct flood f = {.l = l};
	struct message m = {.type = MESSAGE_agent_gone};
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	struct channel *to = channel_new(l, fds[1], on_flood, on_clean_end, &f);

	m.agent_gone.node = uuid_new();
	g_assert_true(message_encode(&m, bytes, NULL));
	g_assert_cmpint(write(fds[0], bytes->data, bytes->len), ==, bytes->len);
	g_assert_cmpint(shutdown(fds[0], SHUT_RD), ==, 0);
	send_some(to, 0, 1);
	until_closed(&f, 1);
	g_assert_cmpint(send(fds[0], "x", 1, MSG_NOSIGNAL), ==, -1);
	channel_free(to);
	close(fds[0]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/message/fields survive and cut or longer frames are refused",
			test_round_trip);
	g_test_add_func("/message/a UUID in capitals is refused", test_one_form);
	g_test_add_func("/message/a text over its limit is not sent", test_over_limit);
	g_test_add_func("/channel/large messages and descriptors arrive whole and in order",
			test_channel);
	g_test_add_func("/channel/a slow reader is not flooded, and what left the sender arrives",
			test_flood);
	g_test_add_func("/channel/who is held hears nothing, and later everything", test_hold);
	g_test_add_func("/channel/what was said counts, also when the speaker did not listen",
			test_end_of_deaf);
	g_test_add_func("/channel/who is held hears that later, too", test_held_behind_deaf);
	g_test_add_func("/channel/who reads no more is at an end", test_deaf_peer);
	return g_test_run();
}
