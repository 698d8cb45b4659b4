#include "qmp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "errors.h"
#include "jsons.h"
#include "log.h"

#define REFUSAL_BYTES 300
/* Commands are a hundred bytes; a QEMU that does not read them is stopped by its owner. */
#define OUT_LIMIT (64 * 1024)

struct qmp {
	struct loop_watch *watch;
	int fd;
	char *machine;
	GString *in, *out;
	bool ready, dead;
	qmp_event_fn on_event;
	void *ctx;
};

bool qmp_parse_line(const char *text, size_t length, struct qmp_line *ret_line, GError **error)
{
	g_autoptr(json_t) value = json_parse_limited(text, length, QMP_LINE_LIMIT, "a line", NULL);
	struct qmp_line line = {.kind = QMP_GREETING};
	const char *event = json_peek_string(value, "event");
	const json_t *refusal = json_peek_object(value, "error");

	if (refusal) {
		const char *text_of = json_peek_string(refusal, "desc");

		line.kind = QMP_REFUSAL;
		line.text = log_clean_text(text_of ? text_of : "no reason",
					   text_of ? strlen(text_of) : 9, REFUSAL_BYTES);
	} else if (event && *event && strlen(event) < sizeof(line.name)) {
		line.kind = QMP_EVENT;
		g_strlcpy(line.name, event, sizeof(line.name));
	} else if (json_object_get(value, "return")) {
		line.kind = QMP_RETURN;
	} else if (!json_peek_object(value, "QMP")) {
		return inox_error_set(error, INOX_ERROR_PEER, "a line is not QMP");
	}
	*ret_line = line;
	return true;
}

void qmp_line_clear(struct qmp_line *l)
{
	g_free(l->text);
	*l = (struct qmp_line){.kind = QMP_GREETING};
}

static void die(struct qmp *q, const char *reason)
{
	log_warn(NULL, "QMP connection ended", F_STR("machine", q->machine),
		 F_STR("reason", reason));
	q->dead = true;
	loop_watch_set(q->watch, false, false);
}

static void flush(struct qmp *q)
{
	while (q->out->len > 0) {
		ssize_t n = send(q->fd, q->out->str, q->out->len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break; /* a full socket, or one that ended: reading tells */
		g_string_erase(q->out, 0, n);
	}
	loop_watch_set(q->watch, true, q->out->len > 0);
}

static void handle_line(struct qmp *q, const char *text, size_t length)
{
	g_auto(qmp_line) line = {.kind = QMP_GREETING};
	g_autoptr(GError) error = NULL;

	if (!qmp_parse_line(text, length, &line, &error)) {
		die(q, error->message);
		return;
	}
	switch (line.kind) {
	case QMP_REFUSAL:
		log_warn(NULL, "QEMU refused a command", F_STR("machine", q->machine),
			 F_STR("reason", line.text));
		break;
	case QMP_EVENT:
		if (q->ready)
			q->on_event(q->ctx, line.name);
		break;
	case QMP_GREETING:
		/* The answer to this command is the first return. */
		g_string_prepend(q->out, "{\"execute\": \"qmp_capabilities\"}\n");
		flush(q);
		break;
	case QMP_RETURN: q->ready = true; break;
	}
}

static void handle_lines(struct qmp *q)
{
	size_t used = 0;
	char *end;

	while (!q->dead && (end = memchr(q->in->str + used, '\n', q->in->len - used))) {
		char *begin = q->in->str + used;

		used = (size_t)(end - q->in->str) + 1;
		handle_line(q, begin, (size_t)(end - begin));
	}
	g_string_erase(q->in, 0, (gssize)used);
	if (!q->dead && q->in->len > QMP_LINE_LIMIT)
		die(q, "a line is too long");
}

static void on_ready(void *ctx, bool readable, bool writable)
{
	struct qmp *q = ctx;
	char bytes[8192];

	if (writable)
		flush(q);
	if (!readable)
		return;
	ssize_t n = recv(q->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		q->dead = true;
		loop_watch_set(q->watch, false, false);
		return;
	}
	g_string_append_len(q->in, bytes, n);
	handle_lines(q);
}

struct qmp *qmp_new(struct loop *l, int fd, const char *machine, qmp_event_fn on_event, void *ctx)
{
	struct qmp *q = g_new0(struct qmp, 1);

	q->fd = fd;
	q->machine = g_strdup(machine);
	q->in = g_string_new(NULL);
	q->out = g_string_new(NULL);
	q->on_event = on_event;
	q->ctx = ctx;
	q->watch = loop_watch_new(l, fd, on_ready, q);
	return q;
}

void qmp_free(struct qmp *q)
{
	if (!q)
		return;
	loop_watch_free(q->watch);
	close(q->fd);
	g_free(q->machine);
	g_string_free(q->in, TRUE);
	g_string_free(q->out, TRUE);
	g_free(q);
}

void qmp_command(struct qmp *q, const char *name, json_t *arguments)
{
	g_autoptr(json_t) command = json_pack("{s:s}", "execute", name);

	if (arguments)
		json_object_set_new(command, "arguments", arguments);
	if (q->dead || q->out->len > OUT_LIMIT)
		return;
	g_autofree char *text = json_print_compact(command);

	g_string_append(q->out, text);
	g_string_append_c(q->out, '\n');
	if (q->ready)
		flush(q);
}
