/* qmp.h: a client of QEMU's machine protocol on the loop.
 *
 * Source: QEMU docs/interop/qmp-spec.rst.  QEMU runs a stranger's operating system, so what comes from
 * it has limits like everything else: a line over QMP_LINE_LIMIT or one that is not QMP ends the
 * connection.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "loop.h"

#define QMP_LINE_LIMIT (256 * 1024)
#define QMP_NAME       64

enum qmp_kind { QMP_GREETING, QMP_RETURN, QMP_REFUSAL, QMP_EVENT };

struct qmp_line {
	enum qmp_kind kind;
	char name[QMP_NAME]; /* of an event */
	char *text;          /* sentence of a refusal, cleaned; else NULL */
};

/* One line, without its end.  PEER if it is not QMP. */
bool qmp_parse_line(const char *text, size_t length, struct qmp_line *ret_line,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void qmp_line_clear(struct qmp_line *l);

struct qmp;

typedef void (*qmp_event_fn)(void *ctx, const char *name);

/* Takes the connected socket and makes the handshake; commands given before are sent after it.  When QEMU ends or breaks the protocol the client is silent from then on: the
 * owner learns of the end from the process. */
struct qmp *qmp_new(struct loop *l, int fd, const char *machine, qmp_event_fn on_event, void *ctx);
void qmp_free(struct qmp *q); /* NULL is fine; not from inside its callbacks */
/* `arguments` is taken, NULL for none.  A refusal is logged. */
void qmp_command(struct qmp *q, const char *name, json_t *arguments);

typedef struct qmp_line qmp_line;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(qmp_line, qmp_line_clear)
