#include <string.h>
#include <unistd.h>

#include "boot.h"
#include "boot_fixture.h"
#include "channel.h"
#include "errors.h"

struct conductor {
	struct loop *l;
	struct channel *channel;
	GPtrArray *replies; /* "request result retry reason" */
	unsigned wanted;
};

static void on_reply(void *ctx, struct message *m, int fd)
{
	struct conductor *k = ctx;

	g_assert_cmpint(fd, ==, -1);
	g_assert_cmpint(m->type, ==, MESSAGE_boot_reply);
	g_assert_cmpstr(m->boot_reply.node.s, ==, NODE);
	g_assert_cmpuint(m->boot_reply.epoch, ==, 7);
	g_ptr_array_add(k->replies, g_strdup_printf("%u %u %d %s", (unsigned)m->boot_reply.request,
						    m->boot_reply.result, m->boot_reply.retry,
						    m->boot_reply.reason));
	if (k->replies->len == k->wanted)
		loop_stop(k->l);
}

static void on_closed(void *ctx, const GError *error)
{
	(void)ctx, (void)error;
}

static void give_up(void *ctx)
{
	(void)ctx;
	g_error("no reply within the deadline");
}

static void send_request(struct conductor *k, bool is_publish, uint64_t request)
{
	g_auto(message) m = {.type = is_publish ? MESSAGE_boot_publish : MESSAGE_boot_withdraw};

	if (is_publish)
		m.boot_publish = boot_publish_message();
	else
		m.boot_withdraw = boot_withdraw_message(false);
	*(is_publish ? &m.boot_publish.request : &m.boot_withdraw.request) = request;
	g_assert_true(channel_send(k->channel, &m, NULL));
}

/* Sends publish, withdraw, publish, withdraw ... and returns the replies. */
static GPtrArray *run_worker(const struct config *c, unsigned requests)
{
	struct conductor k = {.l = loop_new(),
			      .replies = g_ptr_array_new_with_free_func(g_free),
			      .wanted = requests};
	g_autoptr(GError) error = NULL;
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	k.channel = channel_new(k.l, fds[0], on_reply, on_closed, &k);
	g_autoptr(boot_worker) w = boot_worker_new(k.l, c, fds[1], &error);
	struct loop_timer *deadline = loop_timer_new(k.l, give_up, NULL);

	g_assert_no_error(error);
	loop_timer_arm(deadline, SPAN_SECONDS(30));
	for (unsigned i = 0; i < requests; i++)
		send_request(&k, i % 2 == 0, i + 1);
	loop_run(k.l);
	loop_timer_free(deadline);
	g_clear_pointer(&w, boot_worker_free);
	channel_free(k.channel);
	loop_free(k.l);
	return k.replies;
}

static void test_worker(void)
{
	struct host h;

	host_start(&h);
	g_autoptr(config) c = host_config("root", h.root);
	g_autoptr(GPtrArray) replies = run_worker(c, 21);

	for (unsigned i = 0; i < replies->len; i++) {
		g_autofree char *expected = g_strdup_printf("%u 0 0 ", i + 1);

		g_assert_cmpstr(replies->pdata[i], ==, expected);
	}
	g_assert_true(host_has(&h, TOKEN_FILE)); /* the last one was a publish */
	host_end(&h);
}

static void test_worker_without_boot_host(void)
{
	g_autoptr(config) c = config_new_defaults();
	g_autoptr(GPtrArray) replies = run_worker(c, 2);
	g_autofree char *refused =
		g_strdup_printf("1 %d 0 there is no boot host: set [boot]root or [boot]push_url",
				INOX_ERROR_UNSUPPORTED + 1);

	g_assert_cmpstr(replies->pdata[0], ==, refused);
	g_assert_cmpstr(replies->pdata[1], ==, "2 0 0 ");
}

static void test_worker_with_dead_boot_host(void)
{
	g_autoptr(config) c = host_config("push_url", "https://127.0.0.1:9/dav");
	g_autoptr(GPtrArray) replies = run_worker(c, 2);
	const char *text = replies->pdata[0];
	g_autofree char *start = g_strdup_printf("1 %d 1 boot host: PUT https://127.0.0.1:9",
						 INOX_ERROR_UNAVAILABLE + 1);

	g_autofree char *again = g_strdup_printf("2 %d 1 boot host: PUT https://127.0.0.1:9",
						 INOX_ERROR_UNAVAILABLE + 1);

	g_assert_true(g_str_has_prefix(text, start));
	g_assert_true(g_str_has_prefix(replies->pdata[1], again));
	g_assert_null(strstr(text, PATH));
}

static void test_worker_ends_with_conductor(void)
{
	g_autoptr(config) c = config_new_defaults();
	g_autoptr(loop) l = loop_new();
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	g_autoptr(boot_worker) w = boot_worker_new(l, c, fds[1], NULL);
	struct loop_timer *deadline = loop_timer_new(l, give_up, NULL);

	loop_timer_arm(deadline, SPAN_SECONDS(30));
	close(fds[0]);
	loop_run(l);
	loop_timer_free(deadline);
	g_clear_pointer(&w, boot_worker_free);
}

static void test_missing_root(void)
{
	g_autoptr(config) c = host_config("root", "/nonexistent/boot");
	g_autoptr(loop) l = loop_new();
	g_autoptr(GError) error = NULL;
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	g_assert_null(boot_worker_new(l, c, fds[1], &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	g_assert_nonnull(strstr(error->message, "[boot]root '/nonexistent/boot'"));
	close(fds[0]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/worker/requests of a node are answered in order", test_worker);
	g_test_add_func("/worker/without a boot host publishing is refused",
			test_worker_without_boot_host);
	g_test_add_func("/worker/a dead boot host is an error that may pass and hides the path",
			test_worker_with_dead_boot_host);
	g_test_add_func("/worker/it ends with the conductor", test_worker_ends_with_conductor);
	g_test_add_func("/worker/a root that is not there is named", test_missing_root);
	return g_test_run();
}
