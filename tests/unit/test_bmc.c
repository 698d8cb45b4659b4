#include "bmc.h"
#include "channel.h"
#include "errors.h"
#include "vocabulary.h"

struct conductor {
	struct loop *l;
	GArray *replies; /* struct message_bmc_reply, without its text */
	unsigned wanted;
	bool closed;
};

static void on_message(void *ctx, struct message *m, int fd)
{
	struct conductor *c = ctx;

	g_assert_cmpint(m->type, ==, MESSAGE_bmc_reply);
	g_assert_cmpint(fd, ==, -1);
	g_array_append_val(c->replies, m->bmc_reply);
	if (c->replies->len == c->wanted)
		loop_stop(c->l);
}

static void on_closed(void *ctx, const GError *error)
{
	struct conductor *c = ctx;

	g_assert_no_error(error);
	c->closed = true;
}

static void ask(struct channel *ch, uint64_t request, const struct uuid *node, const char *driver,
		uint32_t operation, uint32_t power)
{
	struct message m = {.type = MESSAGE_bmc_request};

	m.bmc_request.request = request;
	m.bmc_request.node = *node;
	m.bmc_request.driver = g_strdup(driver);
	m.bmc_request.address = g_strdup("https://10.0.0.1");
	m.bmc_request.operation = operation;
	m.bmc_request.power = power;
	g_assert_true(channel_send(ch, &m, NULL));
	message_clear(&m);
}

static const struct message_bmc_reply *reply_of(const struct conductor *c, uint64_t request)
{
	for (unsigned i = 0; i < c->replies->len; i++) {
		const struct message_bmc_reply *r =
			&g_array_index(c->replies, struct message_bmc_reply, i);

		if (r->request == request)
			return r;
	}
	g_assert_not_reached();
}

static void test_requests(void)
{
	g_autoptr(loop) l = loop_new();
	g_autoptr(config) conf = config_new_defaults();
	struct conductor c = {
		.l = l, .replies = g_array_new(FALSE, FALSE, sizeof(struct message_bmc_reply))};
	struct uuid nodes[20];
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	struct channel *ch = channel_new(l, fds[0], on_message, on_closed, &c);
	struct bmc_worker *w = bmc_worker_new(l, conf, fds[1]);

	for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++) {
		nodes[i] = uuid_new();
		ask(ch, 10 * i + 1, &nodes[i], "fake-hardware", BMC_GET_POWER, 0);
		ask(ch, 10 * i + 2, &nodes[i], "fake-hardware", BMC_SET_POWER, TARGET_POWER_ON);
		ask(ch, 10 * i + 3, &nodes[i], "fake-hardware", BMC_GET_POWER, 0);
		ask(ch, 10 * i + 4, &nodes[i], "fake-hardware", BMC_SET_POWER, TARGET_POWER_OFF);
		ask(ch, 10 * i + 5, &nodes[i], "fake-hardware", BMC_GET_POWER, 0);
	}
	ask(ch, 1001, &nodes[0], "no-such", BMC_GET_POWER, 0);
	ask(ch, 1002, &nodes[0], "fake-hardware", 99, 0);
	ask(ch, 1003, &nodes[0], "redfish", BMC_GET_POWER, 0); /* no range is allowed */
	c.wanted = 5 * G_N_ELEMENTS(nodes) + 3;
	loop_run(l);
	for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++) {
		g_assert_cmpuint(reply_of(&c, 10 * i + 1)->power, ==, POWER_OFF);
		g_assert_cmpuint(reply_of(&c, 10 * i + 2)->power, ==, POWER_ON);
		g_assert_cmpuint(reply_of(&c, 10 * i + 3)->power, ==, POWER_ON);
		g_assert_cmpuint(reply_of(&c, 10 * i + 4)->power, ==, POWER_OFF);
		g_assert_cmpuint(reply_of(&c, 10 * i + 5)->power, ==, POWER_OFF);
		g_assert_cmpuint(reply_of(&c, 10 * i + 5)->result, ==, 0);
	}
	g_assert_cmpuint(reply_of(&c, 1001)->result, ==, INOX_ERROR_INVALID + 1);
	g_assert_cmpuint(reply_of(&c, 1002)->result, ==, INOX_ERROR_INVALID + 1);
	g_assert_cmpuint(reply_of(&c, 1003)->result, ==, INOX_ERROR_DENIED + 1);
	g_assert_false(reply_of(&c, 1003)->retry);

	channel_free(ch);
	loop_run(l); /* ended by the worker, whose conductor is gone */
	bmc_worker_free(w);
	g_array_unref(c.replies);
}

static void test_end_with_work(void)
{
	g_autoptr(loop) l = loop_new();
	g_autoptr(config) conf = config_new_defaults();
	struct uuid node = uuid_new();
	struct conductor c = {.l = l};
	int fds[2];

	g_assert_true(channel_pair(fds, NULL));
	struct channel *ch = channel_new(l, fds[0], on_message, on_closed, &c);
	struct bmc_worker *w = bmc_worker_new(l, conf, fds[1]);

	for (unsigned i = 0; i < 1000; i++)
		ask(ch, i, &node, "fake-hardware", BMC_SET_POWER, TARGET_REBOOT);
	channel_free(ch);
	loop_run(l);
	bmc_worker_free(w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/bmc/requests of a node are carried out in order and each is answered",
			test_requests);
	g_test_add_func("/bmc/the worker ends with requests under way", test_end_with_work);
	return g_test_run();
}
