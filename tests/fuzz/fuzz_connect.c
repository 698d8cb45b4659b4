/* Both ends of the way to the connector: what a worker that was taken over asks it for, and what one that was
 * taken over answers.  The first byte chooses the end; then come packets, each behind a byte whose low six bits
 * are its length and whose high two say how many descriptors go along. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect.h"
#include "connector.h"

#define RANGES                                                                              \
	"[agent]\nallowed_networks = 127.7.0.0/30, ::1/128\n[redfish]\nallowed_networks = " \
	"127.8.0.0/30\n"
#define LENGTH_MASK  0x3f
#define PACKETS_MOST 32 /* fewer than a socket pair holds */
#define DESCRIPTORS  128
#define ASKS         8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

struct packets {
	const uint8_t *next, *end;
	uint32_t first_id; /* is added to what looks like a reply's */
};

/* The same before and after, or one was lost. */
static unsigned count_open(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < DESCRIPTORS; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static bool send_packet(struct packets *p, int fd)
{
	uint8_t bytes[LENGTH_MASK + 1] = {0};
	union {
		char space[CMSG_SPACE(3 * sizeof(int))];
		struct cmsghdr align;
	} control = {.space = {0}};
	struct iovec iov = {.iov_base = bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	uint32_t id;

	if (p->next == p->end)
		return false;
	unsigned descriptors = *p->next >> 6;

	iov.iov_len = MIN((size_t)(*p->next & LENGTH_MASK), (size_t)(p->end - p->next - 1));
	memcpy(bytes, p->next + 1, iov.iov_len);
	p->next += 1 + iov.iov_len;
	memcpy(&id, bytes, sizeof(id));
	id += p->first_id;
	memcpy(bytes, &id, sizeof(id));
	if (descriptors) {
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
		const int given[3] = {fd, fd, fd};

		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
		memcpy(CMSG_DATA(h), given, descriptors * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* ---- the connector's end */

/* Nothing but the ranges of the role, whatever was asked. */
static void check_made(const struct config *conf, enum role role, int made)
{
	struct endpoint to = {.length = sizeof(to.address)};
	const struct network *list;
	unsigned count;

	/* Refused at once: nobody listens.  Then there is no peer to ask for. */
	if (getpeername(made, (struct sockaddr *)&to.address, &to.length) < 0)
		return;
	list = config_networks(conf,
			       role == ROLE_BMC ? OPTION_redfish_allowed_networks
						: OPTION_agent_allowed_networks,
			       &count);
	g_assert_true(role == ROLE_BMC || role == ROLE_DIALER);
	g_assert_true(network_list_allows(list, count, &to));
}

/* The answers to a packet of requests, and a socket for each that is not an error. */
static void take_answers(const struct config *conf, enum role role, int fd)
{
	union {
		char space[CMSG_SPACE(CONNECT_BATCH * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct connect_replies r = {.count = 0};
	struct iovec iov = {.iov_base = r.replies, .iov_len = sizeof(r.replies)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (n <= 0)
		return;
	g_assert_cmpuint((size_t)n % sizeof(r.replies[0]), ==, 0);
	if (h) {
		r.fd_count = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(r.fds, CMSG_DATA(h), r.fd_count * sizeof(int));
	}
	for (unsigned i = 0; i < (size_t)n / sizeof(r.replies[0]); i++)
		r.count += r.replies[i].error == 0;
	g_assert_cmpuint(r.count, ==, r.fd_count);
	for (unsigned i = 0; i < r.fd_count; i++) {
		check_made(conf, role, r.fds[i]);
		close(r.fds[i]);
	}
}

static void ask_connector(struct packets *p, const struct config *conf, enum role role)
{
	struct loop *l = loop_new();
	struct connector *k = connector_new(l, conf);
	int fds[2];

	g_assert_true(connect_pair(fds, NULL));
	connector_serve(k, role, fds[0]);
	while (send_packet(p, fds[1])) {
		loop_turn(l, false);
		take_answers(conf, role, fds[1]);
	}
	connector_free(k);
	loop_free(l);
	close(fds[1]);
}

/* ---- the worker's end */

struct asked {
	bool cancelled;
	unsigned answers;
};

static void on_done(void *ctx, int fd, int number)
{
	struct asked *a = ctx;

	g_assert_false(a->cancelled);
	g_assert_cmpuint(++a->answers, ==, 1);
	g_assert_cmpint(fd >= 0, ==, number == 0);
	if (fd >= 0)
		close(fd);
}

static void on_closed(void *ctx)
{
	bool *closed = ctx;

	g_assert_false(*closed);
	*closed = true;
}

static void answer_loop(struct packets *p, const struct endpoint *to)
{
	struct loop *l = loop_new();
	struct asked asked[ASKS] = {{0}};
	bool closed = false;
	int fds[2];

	g_assert_true(connect_pair(fds, NULL));
	struct connect_client *c = connect_client_new(l, fds[0], on_closed, &closed);

	for (unsigned i = 0; i < ASKS; i++) {
		struct connect_ask *a = connect_ask(c, to, on_done, &asked[i]);

		asked[i].cancelled = i % 4 == 3;
		if (asked[i].cancelled)
			connect_ask_cancel(a);
	}
	while (send_packet(p, fds[1]))
		loop_turn(l, false);
	connect_client_free(c);
	loop_free(l);
	close(fds[1]);
}

static void answer_thread(struct packets *p, const struct endpoint *to)
{
	static uint32_t calls;
	int fds[2], got = -1;

	g_assert_true(connect_pair(fds, NULL));
	p->first_id = calls++;
	for (unsigned i = 0; i < PACKETS_MOST && send_packet(p, fds[1]); i++)
		;
	shutdown(fds[1], SHUT_WR);
	/* What comes as a socket here is no connected one, so that it is never handed out. */
	if (connect_and_wait(fds[0], to, SPAN_MS(0), &got, NULL))
		close(got);
	close(fds[0]);
	close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	static const enum role roles[] = {ROLE_DIALER, ROLE_BMC, ROLE_API};
	struct packets p = {.next = data + 1, .end = data + length};
	unsigned before = count_open();
	struct endpoint to;

	if (length == 0)
		return 0;
	g_autoptr(config) conf = config_parse(RANGES, strlen(RANGES), "fuzz", NULL);

	g_assert_nonnull(conf);
	g_assert_true(endpoint_parse("127.7.0.1", 9, &to, NULL));
	switch (data[0] % 5) {
	case 3: answer_loop(&p, &to); break;
	case 4: answer_thread(&p, &to); break;
	default: ask_connector(&p, conf, roles[data[0] % 5]); break;
	}
	g_assert_cmpuint(count_open(), ==, before);
	return 0;
}
