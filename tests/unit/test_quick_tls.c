/* The agents' cheap TLS server of inox-fleet against the dialer's own client by OpenSSL. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "quick_tls.h"
#include "tls_session.h"

#define TURNS    200
#define IDENTITY "1570ee8a-1a62-413d-b704-93a6cb30dff1:438"

struct pair {
	struct quick_tls *tls;
	struct quick_link *server;
	struct tls_client *client;
	SSL *ssl;
	int fds[2];
};

static void pair_init(struct pair *p, const char *identity, const uint8_t *client_key,
		      const uint8_t *server_key)
{
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds), ==, 0);
	p->tls = quick_tls_new();
	p->server = quick_link_new(p->tls);
	quick_link_start(p->server, p->fds[0], IDENTITY, server_key);
	p->client = tls_client_new();
	p->ssl = tls_client_psk_session(p->client, identity, client_key);
	SSL_set_fd(p->ssl, p->fds[1]);
}

static void pair_clear(struct pair *p)
{
	SSL_free(p->ssl);
	tls_client_free(p->client);
	quick_link_free(p->server);
	quick_tls_free(p->tls);
	close(p->fds[0]);
	close(p->fds[1]);
	ERR_clear_error();
}

/* True if both sides are done; false when either one gives up. */
static bool shake(struct pair *p)
{
	int server = QUICK_AGAIN, client = 0;

	for (int i = 0; i < TURNS && (server != 1 || client != 1); i++) {
		if (client != 1) {
			client = SSL_connect(p->ssl);
			if (client != 1 && SSL_get_error(p->ssl, client) != SSL_ERROR_WANT_READ)
				return false;
		}
		if (server != 1)
			server = quick_accept(p->server);
		if (server == QUICK_BROKEN)
			return false;
	}
	return server == 1 && client == 1;
}

static void test_open(void)
{
	const uint8_t key[TLS_PSK_BYTES] = {1, 2, 3};
	char to[64] = "", from[64] = "";
	struct pair p;

	pair_init(&p, IDENTITY, key, key);
	g_assert_true(shake(&p));
	g_assert_true(tls_client_check(p.ssl, NULL, NULL));
	g_assert_cmpint(SSL_write(p.ssl, "GET /", 5), ==, 5);
	g_assert_cmpint(quick_read(p.server, to, sizeof(to)), ==, 5);
	g_assert_cmpstr(to, ==, "GET /");
	g_assert_cmpint(quick_read(p.server, to, sizeof(to)), ==, QUICK_AGAIN);
	g_assert_cmpint(quick_write(p.server, "200 OK", 6, true), ==, 6);
	g_assert_cmpint(SSL_read(p.ssl, from, sizeof(from)), ==, 6);
	g_assert_cmpstr(from, ==, "200 OK");
	g_assert_cmpint(SSL_read(p.ssl, from, sizeof(from)), ==, 0);
	g_assert_cmpint(SSL_get_error(p.ssl, 0), ==, SSL_ERROR_ZERO_RETURN);
	SSL_shutdown(p.ssl);
	g_assert_cmpint(quick_read(p.server, to, sizeof(to)), ==, 0);
	pair_clear(&p);
}

/* More than a record, read in pieces that do not fit its borders. */
static void test_large(void)
{
	const uint8_t key[TLS_PSK_BYTES] = {9};
	g_autofree char *text = g_strnfill(40000, 'x');
	g_autofree char *got = g_malloc0(40001);
	size_t sent = 0, have = 0;
	struct pair p;

	pair_init(&p, IDENTITY, key, key);
	g_assert_true(shake(&p));
	for (int i = 0; i < 100000 && have < 40000; i++) {
		size_t piece = MIN(40000 - sent, (size_t)16000);
		int n = piece > 0 ? SSL_write(p.ssl, text + sent, (int)piece) : 0;

		sent += (size_t)MAX(n, 0);
		n = quick_read(p.server, got + have, MIN(40000 - have, (size_t)777));
		g_assert_cmpint(n, !=, QUICK_BROKEN);
		have += (size_t)MAX(n, 0);
	}
	g_assert_cmpuint(have, ==, 40000);
	g_assert_true(memcmp(got, text, have) == 0);
	pair_clear(&p);
}

static void test_wrong_key(void)
{
	const uint8_t ours[TLS_PSK_BYTES] = {1}, theirs[TLS_PSK_BYTES] = {2};
	struct pair p;

	pair_init(&p, IDENTITY, theirs, ours);
	g_assert_false(shake(&p));
	pair_clear(&p);
}

static void test_wrong_identity(void)
{
	const uint8_t key[TLS_PSK_BYTES] = {1};
	struct pair p;

	pair_init(&p, "1570ee8a-1a62-413d-b704-93a6cb30dff1:439", key, key);
	g_assert_false(shake(&p));
	pair_clear(&p);
}

/* Every byte of the client's hello, changed or missing, ends the handshake and nothing else. */
static void test_broken_hello(void)
{
	const uint8_t key[TLS_PSK_BYTES] = {1};
	uint8_t hello[2048];
	struct pair p;

	pair_init(&p, IDENTITY, key, key);
	g_assert_cmpint(SSL_connect(p.ssl), ==, -1);
	ssize_t length = recv(p.fds[0], hello, sizeof(hello), 0);

	g_assert_cmpint(length, >, 100);
	pair_clear(&p);
	for (ssize_t i = 5; i < length; i++) {
		uint8_t copy[sizeof(hello)];
		int fds[2];

		memcpy(copy, hello, (size_t)length);
		copy[i] ^= 0x41;
		g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), ==, 0);
		struct quick_tls *t = quick_tls_new();
		struct quick_link *q = quick_link_new(t);

		quick_link_start(q, fds[0], IDENTITY, key);
		g_assert_cmpint(send(fds[1], copy, (size_t)length, 0), ==, length);
		g_assert_cmpint(quick_accept(q), ==, QUICK_BROKEN);
		quick_link_start(q, fds[0], IDENTITY, key);
		g_assert_cmpint(send(fds[1], hello, (size_t)i, 0), ==, i);
		close(fds[1]);
		g_assert_cmpint(quick_accept(q), ==, QUICK_BROKEN);
		quick_link_free(q);
		quick_tls_free(t);
		close(fds[0]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/quick tls/the dialer's client opens the channel and reads to its end",
			test_open);
	g_test_add_func("/quick tls/a text of several records arrives whole", test_large);
	g_test_add_func("/quick tls/a client with another key is refused", test_wrong_key);
	g_test_add_func("/quick tls/a client with another identity is refused",
			test_wrong_identity);
	g_test_add_func("/quick tls/a hello that was changed or cut is refused", test_broken_hello);
	return g_test_run();
}
