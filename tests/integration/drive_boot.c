/* drive_boot CONFIG: runs the boot publisher as inoxd does, with a test as its conductor.
 *
 * Each line on stdin is a JSON object: {"publish": {...}} or {"withdraw": {...}} with the fields of the
 * message; the reply is printed as a line {"result", "retry", "reason"}.
 */
#include <stdio.h>
#include <string.h>

#include "boot.h"
#include "channel.h"
#include "jsons.h"

#define NODE "5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c33"

static void on_reply(void *ctx, struct message *m, int fd)
{
	(void)fd;
	g_autoptr(json_t) line =
		json_pack("{s:i, s:b, s:s}", "result", (int)m->boot_reply.result, "retry",
			  m->boot_reply.retry, "reason", m->boot_reply.reason);

	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	loop_stop(ctx);
}

static void on_closed(void *ctx, const GError *error)
{
	(void)error;
	loop_stop(ctx);
}

static char *text_of(const json_t *fields, const char *key)
{
	const char *text = json_peek_string(fields, key);

	return g_strdup(text ? text : "");
}

static void fill_publish(struct message *m, const json_t *fields)
{
	m->type = MESSAGE_boot_publish;
	m->boot_publish = (struct message_boot_publish){
		.node = {NODE},
		.epoch = (uint64_t)json_peek_integer(fields, "epoch", 1),
		.macs = text_of(fields, "macs"),
		.address = text_of(fields, "address"),
		.token = secret_new(json_peek_string(fields, "token")),
		.arguments = text_of(fields, "arguments"),
		.api_url = text_of(fields, "api_url"),
		.path = text_of(fields, "path"),
		.media = json_peek_bool(fields, "media", false),
	};
}

static void fill_withdraw(struct message *m, const json_t *fields)
{
	m->type = MESSAGE_boot_withdraw;
	m->boot_withdraw = (struct message_boot_withdraw){
		.node = {NODE},
		.epoch = (uint64_t)json_peek_integer(fields, "epoch", 1),
		.macs = text_of(fields, "macs"),
		.path = text_of(fields, "path"),
		.token_only = json_peek_bool(fields, "token_only", false),
	};
}

static bool read_request(struct message *m)
{
	char line[16384];
	const json_t *fields;

	if (!fgets(line, sizeof(line), stdin))
		return false;
	g_autoptr(json_t) request = json_loads(line, 0, NULL);

	g_assert_nonnull(request);
	if ((fields = json_peek_object(request, "publish")))
		fill_publish(m, fields);
	else
		fill_withdraw(m, json_peek_object(request, "withdraw"));
	return true;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(config) c = config_load(argc == 2 ? argv[1] : NULL, &error);
	g_autoptr(loop) l = loop_new();
	int fds[2];

	if (!c || !channel_pair(fds, &error))
		g_error("%s", error->message);
	struct channel *conductor = channel_new(l, fds[0], on_reply, on_closed, l);
	struct boot_worker *w = boot_worker_new(l, c, fds[1], &error);

	if (!w)
		g_error("%s", error->message);
	for (;;) {
		g_auto(message) m = {.type = MESSAGE_NONE};

		if (!read_request(&m))
			break;
		if (!channel_send(conductor, &m, &error))
			g_error("%s", error->message);
		loop_run(l);
	}
	boot_worker_free(w);
	channel_free(conductor);
	return 0;
}
