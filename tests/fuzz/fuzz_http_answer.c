/* What the client does with the bytes of a hostile agent: whatever comes, the transfer ends once, with an
 * answer inside its limits or with an error. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/dial_local.h"
#include "client.h"

#define REPLY_LIMIT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

struct hostile {
	int listener, client;
	const uint8_t *data;
	size_t length;
	unsigned done;
};

static void on_client(void *ctx, bool readable, bool writable)
{
	struct hostile *h = ctx;

	(void)readable;
	(void)writable;
	h->client = accept(h->listener, NULL, NULL);
	ssize_t said = send(h->client, h->data, h->length, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)said; /* what does not fit is cut off */
	shutdown(h->client, SHUT_WR);
}

static void on_done(void *ctx, const struct http_outcome *o)
{
	struct hostile *h = ctx;

	h->done++;
	g_assert_cmpuint(o->length, <=, REPLY_LIMIT);
	g_assert_cmpint(o->body[o->length], ==, '\0');
	g_assert_true(o->error || (o->status >= 200 && o->status <= 599));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	struct hostile h = {.client = -1, .data = data, .length = length};
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct http_call call = {.method = "GET",
				 .path = "/",
				 .reply_limit = REPLY_LIMIT,
				 .transport = TRANSPORT_HTTP};

	h.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(h.listener, (struct sockaddr *)&any, sizeof(any)), ==, 0);
	g_assert_cmpint(listen(h.listener, 1), ==, 0);
	call.to = dial_local(h.listener);
	g_autoptr(loop) l = loop_new();
	struct http_client *c = http_client_new(l);
	struct loop_watch *watch = loop_watch_new(l, h.listener, on_client, &h);

	http_client_start(c, &call, on_done, &h);
	while (!h.done)
		loop_turn(l, true);
	http_client_free(c);
	loop_watch_free(watch);
	close(h.client);
	close(h.listener);
	return 0;
}
