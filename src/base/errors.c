#include "errors.h"

#include <errno.h>
#include <stdarg.h>

G_DEFINE_QUARK(inox - error - quark, inox_error)

int inox_error_exit_status(const GError *error)
{
	return g_error_matches(error, INOX_ERROR, INOX_ERROR_INVALID) ? 2 : 1;
}

static enum inox_error code_of_errno(int number)
{
	switch (number) {
	case ENOENT: return INOX_ERROR_NOT_FOUND;
	case EACCES:
	case EPERM: return INOX_ERROR_DENIED;
	case ETIMEDOUT: return INOX_ERROR_TIMEOUT;
	case EBUSY: return INOX_ERROR_BUSY;
	default: return INOX_ERROR_IO;
	}
}

/* In brackets: for the analyzer the names are macros. */
bool(inox_error_set_errno)(GError **error, int saved_errno, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_autofree char *what = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error(error, INOX_ERROR, (int)code_of_errno(saved_errno), "%s: %s", what,
		    g_strerror(saved_errno));
	return false;
}

bool(inox_error_set)(GError **error, enum inox_error code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_autofree char *sentence = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error_literal(error, INOX_ERROR, (int)code, sentence);
	return false;
}
