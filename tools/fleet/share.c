#include "share.h"

#include <string.h>

#include "errors.h"

bool share_parse(const char *text, unsigned *ret_share, GError **error)
{
	char *end = NULL;
	double percent = g_ascii_strtod(text, &end);

	if (!g_ascii_isdigit(*text) || strcmp(end, "%") != 0 || !(percent >= 0 && percent <= 100))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "'%.32s' is not a share from 0%% to 100%%", text);
	*ret_share = (unsigned)(percent * (SHARE_ALL / 100.0) + 0.5);
	return true;
}

bool share_parse_list(const char *text, share_fn fn, void *ctx, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(text, ",", -1);

	for (unsigned i = 0; parts[i]; i++) {
		char *equals = strchr(parts[i], '=');
		unsigned share;

		if (!equals)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "'%.64s' is not NAME=SHARE, such as tarpit=10%%",
					      parts[i]);
		*equals = '\0';
		if (!share_parse(equals + 1, &share, error) || !fn(ctx, parts[i], share, error))
			return false;
	}
	return true;
}
