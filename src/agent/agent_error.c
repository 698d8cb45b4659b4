#include "agent_error.h"

#include <stdarg.h>
#include <string.h>

#include "limit.h"
#include "log.h"

static const struct agent_error classes[] = {
#define AGENT_ERROR(constant, t, c, m) [constant] = {.type = (t), .code = (c), .message = (m)},
#include "agent_errors.def"
#undef AGENT_ERROR
};

void agent_error_set(struct agent_error *e, enum agent_error_class class, const char *format, ...)
{
	va_list arguments;

	g_assert(!e->type);
	va_start(arguments, format);
	g_autofree char *details = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	*e = classes[class];
	e->details = log_clean_text(details, strlen(details), LIMIT_ERROR_TEXT);
}

void agent_error_set_reason(struct agent_error *e, enum agent_error_class class,
			    const GError *reason)
{
	agent_error_set(e, class, "%s", reason->message);
}

void agent_error_clear(struct agent_error *e)
{
	g_free(e->details);
	*e = (struct agent_error){.type = NULL};
}

json_t *agent_error_json(const struct agent_error *e)
{
	return json_pack("{s:s, s:i, s:s, s:s}", "type", e->type, "code", e->code, "message",
			 e->message, "details", e->details);
}
