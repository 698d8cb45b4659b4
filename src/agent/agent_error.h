/* agent_error.h: what a command that failed tells the control plane: a class of the agent protocol
 * (agent_errors.def) and a sentence.
 */
#pragma once

#include <glib.h>
#include <jansson.h>

enum agent_error_class {
#define AGENT_ERROR(constant, type, code, message) constant,
#include "agent_errors.def"
#undef AGENT_ERROR
};

struct agent_error {
	const char *type; /* NULL: no error */
	int code;
	const char *message;
	char *details; /* owned */
};

/* Sets *e (which must hold no error yet); `format` gives the details. */
void agent_error_set(struct agent_error *e, enum agent_error_class class, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
/* The same with the sentence of a GError as details. */
void agent_error_set_reason(struct agent_error *e, enum agent_error_class class,
			    const GError *reason);
void agent_error_clear(struct agent_error *e);
/* {"type", "code", "message", "details"}: the form inside a command's result.  New reference. */
json_t *agent_error_json(const struct agent_error *e);

typedef struct agent_error agent_error;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(agent_error, agent_error_clear)
