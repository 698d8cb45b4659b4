#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "errors.h"
#include "limit.h"
#include "web.h"

/* A server for one connection: reads until the end of what is expected, sends a fixed answer. */
struct script {
	int listener;
	unsigned port;
	const char *answer;
	const char *until; /* the request has arrived when it contains this */
	GString *request;
	GThread *thread;
};

static void *serve(void *ctx)
{
	struct script *s = ctx;
	char bytes[4096];
	int fd = accept(s->listener, NULL, NULL);

	g_assert_cmpint(fd, >=, 0);
	while (!strstr(s->request->str, s->until)) {
		ssize_t n = read(fd, bytes, sizeof(bytes));

		if (n <= 0)
			break;
		g_string_append_len(s->request, bytes, n);
	}
	(void)send(fd, s->answer, strlen(s->answer), MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

static void script_start(struct script *s, const char *until, const char *answer)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);

	*s = (struct script){.answer = answer, .until = until, .request = g_string_new(NULL)};
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), ==, 0);
	g_assert_cmpint(listen(s->listener, 1), ==, 0);
	g_assert_cmpint(getsockname(s->listener, (struct sockaddr *)&at, &length), ==, 0);
	s->port = ntohs(at.sin_port);
	s->thread = g_thread_new("server", serve, s);
}

static void script_end(struct script *s)
{
	shutdown(s->listener, SHUT_RDWR);
	g_thread_join(s->thread);
	close(s->listener);
	g_string_free(s->request, TRUE);
}

static char *script_url(const struct script *s, const char *rest)
{
	return g_strdup_printf("http://user:pass@127.0.0.1:%u%s", s->port, rest);
}

static void test_call(void)
{
	struct script s;
	static const char *const headers[] = {"X-Auth-Token: t0", NULL};
	g_auto(web_reply) reply = {0};

	script_start(&s, "{\"a\": 1}",
		     "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nETag:  W/\"7\" \r\n"
		     "Content-Length: 5\r\n\r\nhello");
	g_autofree char *url = script_url(&s, "/redfish/v1/../x?a=b");
	struct web_call call = {.method = "PATCH",
				.url = url,
				.headers = headers,
				.body = "{\"a\": 1}",
				.body_length = 8};

	g_assert_true(web_perform(&call, &reply, NULL));
	g_assert_cmpint(reply.status, ==, 302);
	g_assert_cmpstr(reply.body, ==, "hello");
	g_assert_cmpuint(reply.length, ==, 5);
	g_assert_cmpstr(g_hash_table_lookup(reply.headers, "etag"), ==, "W/\"7\"");
	g_assert_true(g_str_has_prefix(s.request->str, "PATCH /redfish/v1/../x?a=b HTTP/1.1\r\n"));
	g_assert_nonnull(strstr(s.request->str, "X-Auth-Token: t0\r\n"));
	g_assert_nonnull(strstr(s.request->str, "Content-Type: application/json\r\n"));
	g_assert_null(strstr(s.request->str, "Accept-Encoding"));
	script_end(&s);
}

static void test_upload(void)
{
	struct script s;
	g_auto(web_reply) reply = {0};
	int fds[2];

	script_start(&s, "the image", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
	g_assert_cmpint(pipe(fds), ==, 0);
	g_assert_cmpint(write(fds[1], "the image", 9), ==, 9);
	close(fds[1]);
	g_autofree char *url = script_url(&s, "/a");
	struct web_call call = {.method = "PUT",
				.url = url,
				.content_type = "application/octet-stream",
				.body_fd = fds[0],
				.body_length = 9};

	g_assert_true(web_perform(&call, &reply, NULL));
	g_assert_cmpint(reply.status, ==, 201);
	g_assert_nonnull(strstr(s.request->str, "Content-Length: 9\r\n"));
	close(fds[0]);
	script_end(&s);
}

static void check_failure(const char *answer, size_t limit, enum inox_error code,
			  const char *sentence)
{
	struct script s;
	g_autoptr(GError) error = NULL;
	struct web_reply reply;

	script_start(&s, "\r\n\r\n", answer);
	g_autofree char *url = script_url(&s, "/secret-path?token=t");
	struct web_call call = {.method = "GET", .url = url, .reply_limit = limit};

	g_assert_false(web_perform(&call, &reply, &error));
	g_assert_error(error, INOX_ERROR, (int)code);
	g_assert_nonnull(strstr(error->message, sentence));
	g_assert_null(strstr(error->message, "secret-path"));
	g_assert_null(strstr(error->message, "token"));
	g_assert_null(strstr(error->message, "pass"));
	script_end(&s);
}

static void test_bad_answers(void)
{
	g_autofree char *filler = g_strnfill(LIMIT_HTTP_HEADERS, 'x');
	g_autofree char *long_header =
		g_strconcat("HTTP/1.1 200 OK\r\nX: ", filler, "\r\n\r\n", NULL);

	check_failure("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", 8, INOX_ERROR_LIMIT,
		      "larger than 8 bytes");
	check_failure("HTTP/1.1 200 OK\r\n\r\n123456789", 8, INOX_ERROR_LIMIT,
		      "larger than 8 bytes");
	check_failure(long_header, 0, INOX_ERROR_LIMIT, "headers are larger");
	check_failure("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234", 0, INOX_ERROR_UNAVAILABLE,
		      "http://127.0.0.1:");
	check_failure("SSH-2.0-OpenSSH_9.2\r\n", 0, INOX_ERROR_PEER, "GET http://127.0.0.1:");
	check_failure("", 0, INOX_ERROR_UNAVAILABLE, "Empty reply");
}

static void test_refused_scheme(void)
{
	g_autoptr(GError) error = NULL;
	struct web_reply reply;
	struct web_call call = {.method = "GET", .url = "file:///etc/passwd"};

	g_assert_false(web_perform(&call, &reply, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
}

static void test_timeout(void)
{
	g_autoptr(GError) error = NULL;
	struct script s;
	struct web_reply reply;

	/* Nobody accepts what is behind the backlog's head; the answer never comes. */
	script_start(&s, "never", "");
	g_autofree char *url = script_url(&s, "/");
	struct web_call call = {.method = "GET", .url = url, .total_timeout_s = 1};

	g_assert_false(web_perform(&call, &reply, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_TIMEOUT);
	script_end(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/web/a redirect is an answer and headers come in lower case", test_call);
	g_test_add_func("/web/a body is sent from a descriptor", test_upload);
	g_test_add_func("/web/broken and oversized answers are errors without secrets",
			test_bad_answers);
	g_test_add_func("/web/only http and https are spoken", test_refused_scheme);
	g_test_add_func("/web/an answer that does not come is a timeout", test_timeout);
	return g_test_run();
}
