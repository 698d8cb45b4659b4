/* Processor time that one poll of an agent costs the dialer's client, by transport: a new connection and a
 * new handshake each, to a server in another process.  Limit: a poll with a PSK costs at most 200 us.
 *
 *   bench_poll [POLLS [TRANSPORT]]     10000 of every transport
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/dial_local.h"
#include "certificate.h"
#include "client.h"
#include "server.h"

#define STATUS   "{\"started_at\": 7.5, \"version\": \"0.1\", \"agent\": \"inox-agent\"}"
#define PARALLEL 32u
#define LIMIT_US 200.0
#define IDENTITY "1c8a331f-3625-476c-80de-d747479180b7:1"

struct bench {
	struct loop *l;
	struct http_client *client;
	struct http_call call;
	unsigned wanted, started, done;
};

static const uint8_t key[TLS_PSK_BYTES] = {1, 2, 3};

static bool find_key(void *ctx, const char *identity, uint8_t ret_key[static TLS_PSK_BYTES])
{
	(void)ctx;
	memcpy(ret_key, key, TLS_PSK_BYTES);
	return strcmp(identity, IDENTITY) == 0;
}

static void on_request(void *ctx, struct http_request *rq)
{
	(void)ctx;
	http_request_reply(rq, 200, NULL, "application/json", STATUS, strlen(STATUS));
}

/* Serves until it is killed. */
static pid_t serve(enum agent_transport transport, const char *certificate, const char *private_key,
		   struct dial_address *ret_at)
{
	struct http_tls_server_options secure = {.certificate_pem = certificate,
						 .private_key_pem = private_key};
	struct http_server_options options = {
		.body_limit = 4096, .connection_limit = 4096, .close_always = true};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	g_assert_cmpint(bind(fd, (struct sockaddr *)&any, sizeof(any)), ==, 0);
	g_assert_cmpint(listen(fd, 1024), ==, 0);
	*ret_at = dial_local(fd);
	pid_t child = fork();

	if (child) {
		close(fd);
		return child;
	}
	g_autoptr(loop) l = loop_new();

	if (transport == TRANSPORT_PSK)
		secure.psk = find_key;
	if (transport != TRANSPORT_HTTP)
		options.tls = http_tls_server_new(&secure, NULL);
	struct http_server *s = http_server_new(l, &options, on_request, NULL);

	g_assert_true(http_server_accept_on(s, fd, NULL));
	loop_run(l);
	_exit(0);
}

static void start(struct bench *b);

static void on_done(void *ctx, const struct http_outcome *outcome)
{
	struct bench *b = ctx;

	if (outcome->error || outcome->status != 200 || outcome->length != strlen(STATUS))
		g_error("a poll failed: %s", outcome->error ? outcome->error->message : "status");
	b->done++;
	if (b->started < b->wanted)
		start(b);
	else if (b->done == b->wanted)
		loop_stop(b->l);
}

static void start(struct bench *b)
{
	b->started++;
	http_client_start(b->client, &b->call, on_done, b);
}

static double cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void run(struct bench *b, unsigned polls)
{
	b->started = b->done = 0;
	b->wanted = polls;
	for (unsigned i = 0; i < MIN(PARALLEL, polls); i++)
		start(b);
	loop_run(b->l);
}

static double measure(enum agent_transport transport, unsigned polls)
{
	g_autofree char *certificate = NULL, *private_key = NULL;
	char pin[CERTIFICATE_PIN_TEXT] = "";
	struct bench b = {.call = {.method = "GET",
				   .path = "/v1/status",
				   .reply_limit = 4096,
				   .transport = transport,
				   .psk_identity = IDENTITY,
				   .psk_key = key,
				   .certificate_sha256 = pin}};

	g_assert_true(tls_make_certificate("bench", "127.0.0.1", &certificate, &private_key, NULL));
	g_assert_true(certificate_pin(certificate, pin, NULL));
	pid_t server = serve(transport, certificate, private_key, &b.call.to);

	b.l = loop_new();
	b.client = http_client_new(b.l);
	run(&b, MIN(polls, 200)); /* what is made once is not counted */
	double before = cpu_us();
	uint64_t began = mono_now().us;

	run(&b, polls);
	double each = (cpu_us() - before) / polls;

	printf("dialer: a poll by %s costs %.1f us of processor time; %.0f polls a second\n",
	       agent_transport_text(transport), each,
	       polls * 1e6 / (double)(mono_now().us - began));
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	http_client_free(b.client);
	loop_free(b.l);
	return each;
}

int main(int argc, char **argv)
{
	static const enum agent_transport transports[] = {TRANSPORT_HTTP, TRANSPORT_PINNED,
							  TRANSPORT_PSK};
	unsigned polls = argc > 1 ? (unsigned)g_ascii_strtoull(argv[1], NULL, 10) : 10000;
	bool good = true;

	for (size_t i = 0; i < G_N_ELEMENTS(transports); i++)
		if (argc < 3 || strcmp(argv[2], agent_transport_text(transports[i])) == 0)
			good = (measure(transports[i], polls) <= LIMIT_US ||
				transports[i] != TRANSPORT_PSK) &&
			       good;
	return good ? 0 : 1;
}
