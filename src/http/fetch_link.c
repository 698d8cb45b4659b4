#include "fetch_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clocks.h"
#include "errors.h"

#define SLICE_MS        200 /* how often a wait looks whether it was cancelled */
#define STALL_DEFAULT_S 60

struct fetch_link {
	int fd;
	SSL_CTX *context;
	SSL *ssl;
	const struct fetch_options *options; /* borrowed */
	char *shown;
};

void fetch_link_free(struct fetch_link *l)
{
	if (!l)
		return;
	SSL_free(l->ssl);
	SSL_CTX_free(l->context);
	if (l->fd >= 0)
		close(l->fd);
	g_free(l->shown);
	g_free(l);
}

static unsigned stall_seconds(const struct fetch_link *l)
{
	return l->options->stall_s > 0 ? l->options->stall_s : STALL_DEFAULT_S;
}

/* `what` is the start of the sentence when nothing happened in time. */
static bool wait_for(struct fetch_link *l, short events, const char *what, GError **error)
{
	const struct fetch_options *o = l->options;
	struct mono due = mono_add(mono_now(), SPAN_SECONDS(stall_seconds(l)));
	struct pollfd p = {.fd = l->fd, .events = events};

	for (;;) {
		int r = poll(&p, 1, SLICE_MS);

		if (o->cancelled && o->cancelled(o->ctx))
			return inox_error_set(error, INOX_ERROR_BUSY,
					      "the download from %s was cancelled", l->shown);
		if (r > 0)
			return true;
		if (r < 0 && errno != EINTR)
			return inox_error_set_errno(error, errno, "wait for %s", l->shown);
		if (mono_reached(due, mono_now()))
			return inox_error_set(error, INOX_ERROR_TIMEOUT, "%s %s for %u seconds",
					      what, l->shown, stall_seconds(l));
	}
}

static bool connect_one(struct fetch_link *l, const struct addrinfo *a, GError **error)
{
	int failure = 0, one = 1;
	socklen_t size = sizeof(failure);

	l->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return inox_error_set_errno(error, errno, "open a socket for %s", l->shown);
	if (connect(l->fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS)
		failure = errno;
	else if (!wait_for(l, POLLOUT, "no connection to", error))
		return false;
	else
		getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
	if (failure != 0)
		return inox_error_set(error, INOX_ERROR_UNAVAILABLE, "cannot connect to %s: %s",
				      l->shown, g_strerror(failure));
	setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return true;
}

static bool connect_any(struct fetch_link *l, const char *host, unsigned port, GError **error)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *found = NULL;
	g_autofree char *service = g_strdup_printf("%u", port);
	bool connected = false;
	int r = getaddrinfo(host, service, &hints, &found);

	if (r != 0)
		return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
				      "cannot resolve the name '%s': %s", host, gai_strerror(r));
	for (const struct addrinfo *a = found; a && !connected; a = a->ai_next) {
		if (l->fd >= 0)
			close(l->fd);
		l->fd = -1;
		g_clear_error(error);
		connected = connect_one(l, a, error);
	}
	freeaddrinfo(found);
	return connected;
}

/* ---- TLS */

/* A connection that breaks between records is a broken connection; before that it is a bad peer. */
static bool set_tls_error(struct fetch_link *l, const char *what, GError **error)
{
	enum inox_error code =
		l->ssl && SSL_is_init_finished(l->ssl) ? INOX_ERROR_UNAVAILABLE : INOX_ERROR_PEER;
	long verified = l->ssl ? SSL_get_verify_result(l->ssl) : X509_V_OK;
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	if (verified != X509_V_OK)
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the certificate of %s is not trusted: %s", l->shown,
				      X509_verify_cert_error_string(verified));
	return inox_error_set(error, code, "TLS with %s failed (%s): %s", l->shown, what,
			      reason ? reason : "connection closed");
}

static bool is_numeric(const char *host)
{
	struct in6_addr ignored;

	return inet_pton(AF_INET, host, &ignored) == 1 || inet_pton(AF_INET6, host, &ignored) == 1;
}

/* The name or address that the certificate must be for. */
static bool expect_host(struct fetch_link *l, const char *host)
{
	if (is_numeric(host))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(l->ssl), host) == 1;
	g_autofree char *name = g_strdup(host); /* OpenSSL's macro takes no constant text */

	return SSL_set1_host(l->ssl, host) == 1 && SSL_set_tlsext_host_name(l->ssl, name) == 1;
}

static bool make_tls(struct fetch_link *l, const char *host, GError **error)
{
	const struct fetch_options *o = l->options;

	l->context = SSL_CTX_new(TLS_client_method());
	if (!l->context)
		return set_tls_error(l, "set-up", error);
	SSL_CTX_set_min_proto_version(l->context, TLS1_2_VERSION);
	if (!o->insecure) {
		int r = o->ca_file ? SSL_CTX_load_verify_file(l->context, o->ca_file)
				   : SSL_CTX_set_default_verify_paths(l->context);

		if (r != 1)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "cannot read the CA certificates in '%s'",
					      o->ca_file ? o->ca_file : "the system's folder");
	}
	l->ssl = SSL_new(l->context);
	if (!l->ssl || SSL_set_fd(l->ssl, l->fd) != 1 || !expect_host(l, host))
		return set_tls_error(l, "set-up", error);
	SSL_set_verify(l->ssl, o->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	return true;
}

/* True: try the call again.  `r` is what the SSL function returned. */
static bool wait_tls(struct fetch_link *l, int r, const char *what, GError **error)
{
	switch (SSL_get_error(l->ssl, r)) {
	case SSL_ERROR_WANT_READ: return wait_for(l, POLLIN, "no byte from", error);
	case SSL_ERROR_WANT_WRITE: return wait_for(l, POLLOUT, "no progress sending to", error);
	default: return set_tls_error(l, what, error);
	}
}

static bool shake_hands(struct fetch_link *l, const char *host, GError **error)
{
	int r;

	if (!make_tls(l, host, error))
		return false;
	ERR_clear_error();
	while ((r = SSL_connect(l->ssl)) != 1)
		if (!wait_tls(l, r, "handshake", error))
			return false;
	return true;
}

/* ---- bytes */

bool fetch_link_write(struct fetch_link *l, const char *bytes, size_t length, GError **error)
{
	while (length > 0) {
		ssize_t n = l->ssl ? SSL_write(l->ssl, bytes, (int)MIN(length, G_MAXINT))
				   : send(l->fd, bytes, length, MSG_NOSIGNAL);

		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
		} else if (l->ssl) {
			if (!wait_tls(l, (int)n, "write", error))
				return false;
		} else if (errno != EAGAIN && errno != EINTR) {
			return inox_error_set(error, INOX_ERROR_UNAVAILABLE, "send to %s: %s",
					      l->shown, g_strerror(errno));
		} else if (!wait_for(l, POLLOUT, "no progress sending to", error)) {
			return false;
		}
	}
	return true;
}

static bool read_plain(struct fetch_link *l, void *buffer, size_t length, size_t *ret_got,
		       GError **error)
{
	for (;;) {
		ssize_t n = recv(l->fd, buffer, length, 0);

		if (n >= 0) {
			*ret_got = (size_t)n;
			return true;
		}
		if (errno != EAGAIN && errno != EINTR)
			return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
					      "the connection to %s broke: %s", l->shown,
					      g_strerror(errno));
		if (!wait_for(l, POLLIN, "no byte from", error))
			return false;
	}
}

bool fetch_link_read(struct fetch_link *l, void *buffer, size_t length, size_t *ret_got,
		     GError **error)
{
	if (!l->ssl)
		return read_plain(l, buffer, length, ret_got, error);
	for (;;) {
		ERR_clear_error();
		int n = SSL_read(l->ssl, buffer, (int)MIN(length, G_MAXINT));

		if (n > 0 || SSL_get_error(l->ssl, n) == SSL_ERROR_ZERO_RETURN) {
			*ret_got = n > 0 ? (size_t)n : 0;
			return true;
		}
		if (!wait_tls(l, n, "read", error))
			return false;
	}
}

bool fetch_link_own_address(const struct fetch_link *l, char out[static INET6_ADDRSTRLEN])
{
	struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
	socklen_t length = sizeof(own);

	return getsockname(l->fd, (struct sockaddr *)&own, &length) == 0 &&
	       getnameinfo((const struct sockaddr *)&own, length, out, INET6_ADDRSTRLEN, NULL, 0,
			   NI_NUMERICHOST) == 0;
}

/* ---- opening */

/* Asks an HTTP proxy for a tunnel, RFC 9110 section 9.3.6. */
static bool open_tunnel(struct fetch_link *l, const struct fetch_url *url, GError **error)
{
	g_autofree char *request =
		g_strdup_printf(strchr(url->host, ':') ? "CONNECT [%s]:%u HTTP/1.1\r\n"
							 "Host: [%s]:%u\r\n\r\n"
						       : "CONNECT %s:%u HTTP/1.1\r\n"
							 "Host: %s:%u\r\n\r\n",
				url->host, url->port, url->host, url->port);
	g_auto(fetch_head) head = {.etag = NULL};
	char bytes[2048];
	size_t have = 0, got = 0;

	if (!fetch_link_write(l, request, strlen(request), error))
		return false;
	/* Byte by byte: what follows the head belongs to TLS. */
	while (fetch_head_find_end(bytes, have) == 0) {
		if (have == sizeof(bytes))
			return inox_error_set(error, INOX_ERROR_PEER,
					      "the proxy's answer is longer than %zu bytes",
					      sizeof(bytes));
		if (!fetch_link_read(l, bytes + have, 1, &got, error))
			return false;
		if (got == 0)
			return inox_error_set(error, INOX_ERROR_PEER,
					      "the proxy closed the connection");
		have += got;
	}
	if (!fetch_head_parse(bytes, have, &head, error))
		return false;
	if (head.status != 200)
		return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
				      "the proxy refused a tunnel to %s with status %d", l->shown,
				      head.status);
	return true;
}

struct fetch_link *fetch_link_open(const struct fetch_url *url, const struct fetch_options *options,
				   GError **error)
{
	g_autoptr(fetch_link) l = g_new0(struct fetch_link, 1);
	g_auto(fetch_url) proxy = {.host = NULL};

	l->fd = -1;
	l->options = options;
	l->shown = g_strdup(url->shown);
	if (options->proxy && !fetch_url_parse(options->proxy, &proxy, error)) {
		g_prefix_error(error, "the proxy: ");
		return NULL;
	}
	if (proxy.tls) {
		inox_error_set(error, INOX_ERROR_UNSUPPORTED,
			       "a proxy that is reached over https is not supported");
		return NULL;
	}

	const struct fetch_url *peer = proxy.host ? &proxy : url;

	if (!connect_any(l, peer->host, peer->port, error))
		return NULL;
	if (url->tls && proxy.host && !open_tunnel(l, url, error))
		return NULL;
	if (url->tls && !shake_hands(l, url->host, error))
		return NULL;
	return g_steal_pointer(&l);
}
