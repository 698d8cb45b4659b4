#include "misbehave.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATE_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

static void on_ready(void *ctx, bool readable, bool writable);

/* ---- ends */

static void unlink_link(struct link *l)
{
	struct server *s = l->server;

	if (l->previous)
		l->previous->next = l->next;
	else
		s->links = l->next;
	if (l->next)
		l->next->previous = l->previous;
}

static void give_back(struct link *l)
{
	struct server *s = l->server;

	work_forget(l);
	unlink_link(l);
	loop_watch_free(l->watch);
	loop_timer_free(l->timer);
	SSL_free(l->ssl);
	close(l->fd);
	l->next = s->spare;
	s->spare = l;
}

void link_end(struct link *l)
{
	if (l->ssl && SSL_is_init_finished(l->ssl))
		SSL_shutdown(l->ssl);
	ERR_clear_error();
	give_back(l);
}

void link_reset(struct link *l)
{
	struct linger none = {.l_onoff = 1};

	setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	ERR_clear_error();
	give_back(l);
}

/* ---- bytes */

/* Waits for the descriptor; most plain connections never need to. */
static void want(struct link *l, bool read, bool write)
{
	if (!l->watch)
		l->watch = loop_watch_new(l->server->loop, l->fd, on_ready, l);
	loop_watch_set(l->watch, read, write);
}

/* True if the call can be made again when the descriptor is ready. */
static bool try_again(struct link *l, int result)
{
	if (l->is_quick) {
		if (result == QUICK_AGAIN)
			want(l, !quick_wants_write(l->quick), quick_wants_write(l->quick));
		return result == QUICK_AGAIN;
	}
	if (!l->ssl) {
		if (errno == EAGAIN || errno == EINTR) {
			want(l, l->stage != LINK_WRITE, l->stage == LINK_WRITE);
			return true;
		}
		return false;
	}
	int reason = SSL_get_error(l->ssl, result);

	if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE)
		return false;
	want(l, reason == SSL_ERROR_WANT_READ, reason == SSL_ERROR_WANT_WRITE);
	return true;
}

static int read_some(struct link *l, char *to, size_t room)
{
	if (l->is_quick)
		return quick_read(l->quick, to, room);
	if (l->ssl)
		return SSL_read(l->ssl, to, (int)room);
	return (int)recv(l->fd, to, room, 0);
}

static int write_some(struct link *l)
{
	const char *from = l->out + l->sent;
	size_t length = l->length - l->sent;

	if (l->is_quick)
		return quick_write(l->quick, from, length, !l->refill);
	if (l->ssl)
		return SSL_write(l->ssl, from, (int)length);
	return (int)send(l->fd, from, length, MSG_NOSIGNAL);
}

/* ---- a request */

/* The body is not kept but for its beginning, which names the command. */
static bool is_whole(struct link *l)
{
	if (!l->head) {
		char *end = strstr(l->in, "\r\n\r\n");

		if (!end)
			return false;
		l->head = (size_t)(end - l->in) + 4;
		char *field = strcasestr(l->in, "\r\nContent-Length:");
		uint64_t length = field && field < end ? g_ascii_strtoull(field + 17, NULL, 10) : 0;
		size_t got = l->have - l->head;

		l->skip = length > got ? (size_t)length - got : 0;
	}
	return l->skip == 0;
}

static void read_request(struct link *l)
{
	char ignored[LINK_IN];

	for (;;) {
		bool full = l->have == LINK_IN;

		if (full && !l->head) {
			link_reset(l);
			return;
		}
		int n = full ? read_some(l, ignored, sizeof(ignored))
			     : read_some(l, l->in + l->have, LINK_IN - l->have);

		if (n <= 0) {
			if (n == 0 || !try_again(l, n))
				link_end(l);
			return;
		}
		if (l->head)
			l->skip -= MIN(l->skip, (size_t)n);
		if (!full)
			l->have += (size_t)n;
		l->in[l->have] = '\0';
		if (is_whole(l)) {
			answer_request(l);
			return;
		}
	}
}

static void shake_hands(struct link *l)
{
	int r = l->is_quick ? quick_accept(l->quick) : SSL_accept(l->ssl);

	if (r == 1) {
		l->keyed = l->is_quick || SSL_session_reused(l->ssl);
		l->server->tally->handshakes++;
		l->stage = LINK_READ;
		read_request(l);
	} else if (!try_again(l, r)) {
		l->server->tally->broken_handshakes++;
		link_reset(l);
	}
}

/* ---- an answer */

static void write_out(struct link *l)
{
	struct span pause = {0};

	for (;;) {
		while (l->sent < l->length) {
			int n = write_some(l);

			if (n > 0)
				l->sent += (size_t)n;
			else if (try_again(l, n))
				return;
			else {
				link_reset(l);
				return;
			}
		}
		l->sent = l->length = 0;
		if (!l->refill || !l->refill(l, &pause)) {
			link_end(l);
			return;
		}
		if (pause.us > 0) {
			loop_timer_arm(l->timer, pause);
			want(l, true, false);
			l->stage = LINK_WAIT;
			return;
		}
	}
}

static void on_timer(void *ctx)
{
	struct link *l = ctx;

	if (l->stage != LINK_WAIT)
		return;
	l->stage = LINK_WRITE;
	write_out(l);
}

void link_send(struct link *l)
{
	if (l->refill && !l->timer)
		l->timer = loop_timer_new(l->server->loop, on_timer, l);
	l->sent = 0;
	l->stage = LINK_WRITE;
	write_out(l);
}

void link_hold(struct link *l)
{
	l->stage = LINK_HOLD;
	want(l, true, false);
}

/* The other side ends the wait, or says something that nobody asked for. */
static void on_quiet(struct link *l)
{
	char ignored[LINK_IN];
	ssize_t n = recv(l->fd, ignored, sizeof(ignored), 0);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	/* To a closed door. */
	if (l->fault == FAULT_AFTER_CLOSE)
		send(l->fd, LATE_ANSWER, strlen(LATE_ANSWER), MSG_NOSIGNAL);
	link_reset(l);
}

static void on_ready(void *ctx, bool readable, bool writable)
{
	struct link *l = ctx;

	(void)readable;
	(void)writable;
	switch (l->stage) {
	case LINK_HANDSHAKE: shake_hands(l); break;
	case LINK_READ: read_request(l); break;
	case LINK_WRITE: write_out(l); break;
	case LINK_WAIT:
	case LINK_HOLD: on_quiet(l); break;
	}
}

/* ---- start */

static struct link *take_link(struct server *s)
{
	struct link *l = s->spare;

	if (l)
		s->spare = l->next;
	else
		l = g_new0(struct link, 1);
	memset(l, 0, offsetof(struct link, quick));
	l->in[0] = '\0';
	return l;
}

/* Honest agents with a PSK, but for the one whose bytes are recorded. */
static void start_quick(struct link *l)
{
	struct server *s = l->server;
	struct uuid node = fleet_node(s->fleet, l->agent);
	char identity[TLS_IDENTITY_MAX];
	uint8_t psk[TLS_PSK_BYTES];

	tls_psk_identity(&node, fleet_epoch(s->fleet, l->agent), identity);
	fleet_psk(s->fleet, l->agent, psk);
	if (!l->quick)
		l->quick = quick_link_new(s->quick);
	quick_link_start(l->quick, l->fd, identity, psk);
	l->is_quick = true;
}

static void start_tls(struct link *l, enum agent_transport transport)
{
	struct server *s = l->server;

	if (s->quick && !l->fault && transport == TRANSPORT_PSK && !misbehave_wants_record(s)) {
		start_quick(l);
	} else {
		l->ssl = channel_tls_session(s->tls, l, transport);
		misbehave_record(l);
	}
	l->stage = LINK_HANDSHAKE;
	shake_hands(l);
}

void link_start(struct server *s, int fd, uint32_t agent)
{
	struct link *l = take_link(s);

	l->server = s;
	l->fd = fd;
	l->agent = agent;
	l->next = s->links;
	if (s->links)
		s->links->previous = l;
	s->links = l;
	s->tally->connections++;
	if (mono_reached(s->faults_from, loop_now(s->loop)))
		l->fault = fleet_fault(s->fleet, agent);
	if (l->fault)
		s->tally->contacts[l->fault]++;
	if (misbehave_on_start(l))
		return;
	enum agent_transport transport = fleet_transport(s->fleet, agent);

	if (transport != TRANSPORT_HTTP) {
		start_tls(l, transport);
	} else {
		l->stage = LINK_READ;
		read_request(l);
	}
}
