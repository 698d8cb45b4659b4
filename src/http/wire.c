#include "wire.h"

#include <errno.h>
#include <event2/buffer.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MOST (16 * 1024) /* what one TLS record holds */
#define SHARE     (256 * 1024)
/* What may come without content, and beside each byte of it: handshake, framing of records. */
#define SILENT_MOST    (64 * 1024)
#define FRAMING_FACTOR 4
#define BACKLOG_MOST   (64 * 1024)
#define JOIN_MOST      1024 /* the end of a handshake leaves together with the request */

/* ---- the socket */

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct wire *w = arg;

	(void)fd;
	w->readable = w->readable || (what & EV_READ);
	w->ready(w->ctx);
}

static int open_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0;

	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* The last packet of connecting waits for the first bytes and travels with them. */
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
	return fd;
}

bool wire_dial(struct wire *w, struct loop *l, const struct dial_address *to, wire_ready_fn ready,
	       void *ctx)
{
	socklen_t length;
	const struct sockaddr *address = dial_address_peek(to, &length);
	int fd = open_socket(address->sa_family);

	if (fd < 0 || (connect(fd, address, length) != 0 && errno != EINPROGRESS)) {
		*w = (struct wire){.fd = fd, .number = errno};
		return false;
	}
	wire_take(w, l, fd, ready, ctx);
	return true;
}

void wire_take(struct wire *w, struct loop *l, int fd, wire_ready_fn ready, void *ctx)
{
	*w = (struct wire){
		.fd = fd, .ready = ready, .ctx = ctx, .allowed_in = SILENT_MOST, .share = SHARE};
	w->out = evbuffer_new();
	event_assign(&w->event, loop_peek_event_base(l), w->fd,
		     EV_READ | EV_WRITE | EV_ET | EV_PERSIST, on_event, w);
	event_add(&w->event, NULL);
	w->watched = true;
}

int wire_connected(const struct wire *w)
{
	int number = 0;
	socklen_t length = sizeof(number);

	/* What failed is told as readable, too. */
	if (!w->readable)
		return 0;
	if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0)
		return errno;
	return number;
}

void wire_close(struct wire *w)
{
	if (w->watched)
		event_del(&w->event);
	SSL_free(w->ssl);
	if (w->out)
		evbuffer_free(w->out);
	if (w->fd >= 0)
		close(w->fd);
	*w = (struct wire){.fd = -1};
}

void wire_rest(struct wire *w)
{
	/* Edges are told once: what was left unread is come back to. */
	if (w->share == 0)
		event_active(&w->event, EV_READ, 0);
	w->share = SHARE;
}

/* -1 with EAGAIN in errno also when the share of this turn is used up. */
static ssize_t read_some(struct wire *w, void *bytes, size_t most)
{
	ssize_t n;

	errno = EAGAIN;
	if (w->share == 0 || !w->readable)
		return -1;
	do
		n = recv(w->fd, bytes, MIN(most, w->share), 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		w->readable = n == 0 || errno != EAGAIN;
		w->number = n < 0 && w->readable ? errno : 0;
		return n;
	}
	w->share -= (size_t)n;
	w->bytes_in += (uint64_t)n;
	w->over = w->bytes_in > w->allowed_in;
	if (!w->over)
		return n;
	errno = w->number = EMSGSIZE;
	return -1;
}

static enum wire_progress write_some(struct wire *w, struct evbuffer *from)
{
	while (evbuffer_get_length(from) > 0) {
		int n = evbuffer_write(from, w->fd);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return WIRE_AGAIN;
		if (n < 0) {
			w->number = errno;
			return WIRE_BROKEN;
		}
		w->bytes_out += (uint64_t)n;
	}
	return WIRE_MORE;
}

/* ---- below OpenSSL */

static int bio_write(BIO *bio, const char *bytes, int length)
{
	struct wire *w = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (evbuffer_get_length(w->out) > BACKLOG_MOST) {
		BIO_set_retry_write(bio);
		return -1;
	}
	return evbuffer_add(w->out, bytes, (size_t)length) == 0 ? length : -1;
}

static int bio_read(BIO *bio, char *bytes, int most)
{
	struct wire *w = BIO_get_data(bio);
	ssize_t n = read_some(w, bytes, (size_t)most);

	BIO_clear_retry_flags(bio);
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	return (int)n;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	/* Everything else is a question about what this one does not have. */
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method(void)
{
	static gsize method;

	if (g_once_init_enter(&method)) {
		BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");

		if (!m || !BIO_meth_set_write(m, bio_write) || !BIO_meth_set_read(m, bio_read) ||
		    !BIO_meth_set_ctrl(m, bio_control))
			g_error("OpenSSL cannot make a transport");
		g_once_init_leave(&method, (gsize)m);
	}
	return (BIO_METHOD *)method;
}

/* ---- TLS */

bool wire_secure(struct wire *w, SSL *ssl)
{
	BIO *bio = ssl ? BIO_new(bio_method()) : NULL;

	if (!bio) {
		SSL_free(ssl);
		return false;
	}
	BIO_set_data(bio, w);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_connect_state(ssl);
	w->ssl = ssl;
	return true;
}

static enum wire_progress tls_progress(struct wire *w, int result)
{
	int what = SSL_get_error(w->ssl, result);

	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
		return WIRE_AGAIN;
	if (what == SSL_ERROR_ZERO_RETURN)
		return WIRE_END;
	w->tls_reason = w->number ? 0 : ERR_peek_error();
	/* The queue is the thread's: nothing may stay for the next connection. */
	ERR_clear_error();
	return WIRE_BROKEN;
}

enum wire_progress wire_handshake(struct wire *w)
{
	ERR_clear_error();
	int r = SSL_do_handshake(w->ssl);

	if (r == 1)
		return WIRE_MORE;
	enum wire_progress p = tls_progress(w, r);

	/* The first flight, or the alert that says why not. */
	if (write_some(w, w->out) == WIRE_BROKEN && p == WIRE_AGAIN)
		return WIRE_BROKEN;
	return p == WIRE_END ? WIRE_BROKEN : p;
}

static enum wire_progress send_secured(struct wire *w, struct evbuffer *from)
{
	enum wire_progress p = WIRE_MORE;
	struct evbuffer_iovec piece;

	while (evbuffer_get_length(from) > 0 && evbuffer_peek(from, -1, NULL, &piece, 1) > 0) {
		ERR_clear_error();
		int r = SSL_write(w->ssl, piece.iov_base, (int)MIN(piece.iov_len, READ_MOST));

		if (r <= 0)
			return tls_progress(w, r) == WIRE_AGAIN ? WIRE_AGAIN : WIRE_BROKEN;
		evbuffer_drain(from, (size_t)r);
		p = write_some(w, w->out);
		if (p != WIRE_MORE)
			return p;
	}
	return p;
}

enum wire_progress wire_send(struct wire *w, struct evbuffer *from)
{
	if (!w->ssl)
		return write_some(w, from);
	bool may_join = evbuffer_get_length(w->out) < JOIN_MOST && evbuffer_get_length(from) > 0;
	enum wire_progress p = may_join ? WIRE_MORE : write_some(w, w->out);

	return p == WIRE_MORE ? send_secured(w, from) : p;
}

enum wire_progress wire_receive(struct wire *w, struct evbuffer *to)
{
	uint8_t bytes[READ_MOST];

	ERR_clear_error();
	ssize_t n = w->ssl ? SSL_read(w->ssl, bytes, sizeof(bytes))
			   : read_some(w, bytes, sizeof(bytes));

	if (n > 0) {
		w->allowed_in += (uint64_t)n * FRAMING_FACTOR;
		return evbuffer_add(to, bytes, (size_t)n) == 0 ? WIRE_MORE : WIRE_BROKEN;
	}
	if (w->ssl)
		return tls_progress(w, (int)n);
	if (n == 0)
		return WIRE_END;
	return errno == EAGAIN ? WIRE_AGAIN : WIRE_BROKEN;
}
