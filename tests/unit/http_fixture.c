#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "dial_local.h"
#include "http_fixture.h"

#define PATIENCE SPAN_SECONDS(10)

const struct http_server_options rack_plain = {.body_limit = 1000, .server_name = "test"};

static void on_late(void *ctx)
{
	((struct rack *)ctx)->late = true;
}

static void on_gone(void *ctx)
{
	struct rack *r = ctx;

	r->gone++;
	r->held = NULL;
}

static bool read_made(void *ctx, uint64_t offset, uint8_t *buffer, size_t length)
{
	struct rack *r = ctx;

	r->pieces++;
	r->largest = MAX(r->largest, length);
	if (r->breaks && offset + length > MADE_BREAK)
		return false;
	for (size_t i = 0; i < length; i++)
		buffer[i] = (uint8_t)('0' + (offset + i) % 10);
	return true;
}

static void end_made(void *ctx)
{
	((struct rack *)ctx)->ended++;
}

static void answer_made(struct rack *r, struct http_request *rq)
{
	const char *path = http_request_path(rq);
	uint64_t some = g_str_has_suffix(path, "/short") ? MADE_SHORT : MADE_LENGTH;
	const struct http_body_source source = {g_str_has_suffix(path, "/empty") ? 0 : some,
						read_made, r, end_made};

	http_request_reply_from(rq, 200, "text/plain", &source);
}

/* Answers with what it understood. */
static void on_request(void *ctx, struct http_request *rq)
{
	struct rack *r = ctx;
	size_t length;
	const char *body = http_request_body(rq, &length);
	const char *q = http_request_query(rq, "q");

	r->requests++;
	if (g_str_equal(http_request_path(rq), "/hold")) {
		r->held = rq;
		http_request_on_gone(rq, on_gone, r);
		return;
	}
	if (g_str_has_prefix(http_request_path(rq), "/made")) {
		answer_made(r, rq);
		return;
	}
	g_autofree char *text = g_strdup_printf(
		"%s %s q=%s body=%zu:%.16s psk=%s", http_request_method(rq), http_request_path(rq),
		q ? q : "-", length, body,
		http_request_psk_identity(rq) ? http_request_psk_identity(rq) : "-");

	http_request_add_header(rq, "X-Seen", "one\r\ntwo");
	http_request_reply(rq, 200, NULL, "text/plain", text, strlen(text));
}

int rack_listen(struct endpoint *ret_at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	g_assert_cmpint(bind(fd, (struct sockaddr *)&any, sizeof(any)), ==, 0);
	g_assert_cmpint(listen(fd, 16), ==, 0);
	ret_at->length = sizeof(ret_at->address);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&ret_at->address, &ret_at->length), ==,
			0);
	return fd;
}

struct rack *rack_new(const struct http_server_options *options)
{
	struct rack *r = g_new0(struct rack, 1);

	r->l = loop_new();
	r->server = http_server_new(r->l, options, on_request, r);
	g_assert_true(http_server_accept_on(r->server, rack_listen(&r->at), NULL));
	return r;
}

void rack_free(struct rack *r)
{
	http_server_free(r->server);
	loop_free(r->l);
	g_free(r);
}

int rack_dial(const struct rack *r)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(connect(fd, (const struct sockaddr *)&r->at.address, r->at.length), ==, 0);
	return fd;
}

void rack_say(int fd, const char *bytes, size_t length)
{
	g_assert_cmpint(send(fd, bytes, length, MSG_NOSIGNAL), ==, (ssize_t)length);
}

char *rack_hear(struct rack *r, int fd, const char *until)
{
	GString *text = g_string_new(NULL);
	struct loop_timer *patience = loop_timer_new(r->l, on_late, r);
	char bytes[4096];

	loop_timer_arm(patience, PATIENCE);
	while (!r->late) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		if (n > 0)
			g_string_append_len(text, bytes, n);
		if (until && strstr(text->str, until))
			break;
		loop_turn(r->l, false);
	}
	g_assert_false(r->late);
	loop_timer_free(patience);
	return g_string_free(text, FALSE);
}

char *rack_exchange(struct rack *r, const char *request)
{
	int fd = rack_dial(r);

	rack_say(fd, request, strlen(request));
	char *answer = rack_hear(r, fd, NULL);

	close(fd);
	return answer;
}

static void on_done(void *ctx, const struct http_outcome *o)
{
	struct answer *a = ctx;

	g_assert_false(a->done);
	*a = (struct answer){.done = true,
			     .reached = o->reached,
			     .status = o->status,
			     .code = o->error ? o->error->code : -1,
			     .sent = o->sent,
			     .body = g_strndup(o->body, o->length),
			     .sentence = g_strdup(o->error ? o->error->message : "")};
	g_assert_cmpint(o->body[o->length], ==, '\0');
}

void answer_clear(struct answer *a)
{
	g_free(a->body);
	g_free(a->sentence);
	*a = (struct answer){.done = false};
}

struct http_call rack_call(const struct rack *r)
{
	return (struct http_call){.to = dial_local_port(endpoint_port(&r->at)),
				  .method = "GET",
				  .path = "/x?q=1",
				  .reply_limit = 1000,
				  .transport = TRANSPORT_HTTP};
}

struct answer rack_ask(struct rack *r, const struct http_call *call)
{
	struct http_client *c = http_client_new(r->l);
	struct answer a = {.done = false};
	struct loop_timer *patience = loop_timer_new(r->l, on_late, r);

	loop_timer_arm(patience, PATIENCE);
	http_client_start(c, call, on_done, &a);
	g_assert_false(a.done);
	while (!a.done && !r->late)
		loop_turn(r->l, true);
	g_assert_false(r->late);
	loop_timer_free(patience);
	http_client_free(c);
	g_test_message("%s", a.sentence);
	return a;
}
