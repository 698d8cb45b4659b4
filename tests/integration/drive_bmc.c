/* drive_bmc CONFIG: runs the bmc worker as inoxd does, with a test as its conductor.
 *
 * Each line on stdin is a JSON object with the fields of bmc_request (operation, power, device and so on
 * as texts); each reply is printed as a line {"request", "result", "retry", "power", "boot_mode",
 * "reason"} when it comes.  It ends with its stdin.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bmc.h"
#include "channel.h"
#include "jsons.h"
#include "vocabulary.h"

#define NODE "5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c33"

struct drive {
	struct loop *l;
	struct channel *conductor;
	struct loop_watch *watch;
	GString *in;
};

static void on_reply(void *ctx, struct message *m, int fd)
{
	const struct message_bmc_reply *r = &m->bmc_reply;

	(void)ctx;
	(void)fd;
	g_autoptr(json_t) line =
		json_pack("{s:i, s:i, s:b, s:s, s:s, s:s}", "request", (int)r->request, "result",
			  (int)r->result, "retry", r->retry, "power", power_state_text(r->power),
			  "boot_mode", boot_mode_text(r->boot_mode), "reason", r->reason);

	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
}

static void on_closed(void *ctx, const GError *error)
{
	struct drive *d = ctx;

	(void)error;
	loop_stop(d->l);
}

static const char *text_or(const json_t *fields, const char *key, const char *otherwise)
{
	const char *text = json_peek_string(fields, key);

	return text ? text : otherwise;
}

static void send_request(struct drive *d, const json_t *fields)
{
	g_auto(message) m = {.type = MESSAGE_bmc_request};
	const char *node = text_or(fields, "node", NODE);

	m.bmc_request = (struct message_bmc_request){
		.request = (uint64_t)json_peek_integer(fields, "request", 0),
		.operation = (uint32_t)bmc_operation_parse(text_or(fields, "operation", "?")),
		.driver = g_strdup(text_or(fields, "driver", "redfish")),
		.address = g_strdup(text_or(fields, "address", "")),
		.system = g_strdup(text_or(fields, "system", "")),
		.username = g_strdup(text_or(fields, "username", "")),
		.password = secret_new(text_or(fields, "password", "")),
		.verify = json_peek_bool(fields, "verify", true),
		.auth = (uint32_t)bmc_auth_parse(text_or(fields, "auth", "auto")),
		.power = (uint32_t)power_target_parse(text_or(fields, "power", "none")),
		.device = (uint32_t)boot_device_parse(text_or(fields, "device", "none")),
		.persistent = json_peek_bool(fields, "persistent", false),
		.boot_mode = (uint32_t)boot_mode_parse(text_or(fields, "boot_mode", "unknown")),
		.media_url = g_strdup(text_or(fields, "media_url", "")),
		.timeout_s = (uint32_t)json_peek_integer(fields, "timeout_s", 20),
	};
	g_strlcpy(m.bmc_request.node.s, node, sizeof(m.bmc_request.node.s));
	if (!channel_send(d->conductor, &m, NULL))
		g_error("the request is not sent");
}

static void on_stdin(void *ctx, bool readable, bool writable)
{
	struct drive *d = ctx;
	char bytes[65536];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
	char *end;

	(void)readable;
	(void)writable;
	if (n <= 0) {
		loop_stop(d->l);
		return;
	}
	g_string_append_len(d->in, bytes, n);
	while ((end = strchr(d->in->str, '\n'))) {
		g_autoptr(json_t) fields =
			json_loadb(d->in->str, (size_t)(end - d->in->str), 0, NULL);

		g_assert_nonnull(fields);
		send_request(d, fields);
		g_string_erase(d->in, 0, end - d->in->str + 1);
	}
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(config) c = config_load(argc == 2 ? argv[1] : NULL, &error);
	g_autoptr(loop) l = loop_new();
	struct drive d = {.l = l, .in = g_string_new(NULL)};
	int fds[2];

	if (!c || !channel_pair(fds, &error))
		g_error("%s", error->message);
	d.conductor = channel_new(l, fds[0], on_reply, on_closed, &d);
	struct bmc_worker *w = bmc_worker_new(l, c, fds[1]);

	d.watch = loop_watch_new(l, STDIN_FILENO, on_stdin, &d);
	loop_run(l);
	loop_watch_free(d.watch);
	bmc_worker_free(w);
	channel_free(d.conductor);
	g_string_free(d.in, TRUE);
	return 0;
}
