#include "version.h"

#include <string.h>

#include "answer.h"

static bool parse_number(const char **text, unsigned *ret_number)
{
	unsigned number = 0, digits = 0;

	for (; g_ascii_isdigit(**text); (*text)++, digits++) {
		if (digits == 6)
			return false;
		number = number * 10 + (unsigned)(**text - '0');
	}
	*ret_number = number;
	return digits > 0;
}

static bool parse_version(const char *text, unsigned *ret_minor, GError **error)
{
	unsigned major, minor;
	const char *rest = text;

	if (g_ascii_strcasecmp(text, "latest") == 0) {
		*ret_minor = API_MINOR_MAX;
		return true;
	}
	if (!parse_number(&rest, &major) || *rest++ != '.' || !parse_number(&rest, &minor) || *rest)
		return api_error_set(error, API_ERROR_VERSION,
				     "Invalid value for X-OpenStack-Ironic-API-Version header");
	if (major != 1)
		return api_error_set(
			error, API_ERROR_VERSION,
			"Mutually exclusive versions requested. Version %u.%u requested "
			"but not supported by this service. The supported version range "
			"is: [" API_VERSION_MIN ", " API_VERSION_MAX "].",
			major, minor);
	if (minor < API_MINOR_MIN || minor > API_MINOR_MAX)
		return api_error_set(
			error, API_ERROR_VERSION,
			"Version %u.%u was requested but the minor version is not supported by this "
			"service. The supported version range is: [" API_VERSION_MIN
			", " API_VERSION_MAX "].",
			major, minor);
	*ret_minor = minor;
	return true;
}

/* The version of the last item for our service, NULL if there is none. */
static char *newer_version(const char *newer)
{
	g_auto(GStrv) items = g_strsplit(newer, ",", -1);
	char *found = NULL;

	for (size_t i = 0; items[i]; i++) {
		const char *item = g_strstrip(items[i]);
		const char *blank = strpbrk(item, " \t");

		if (!blank || g_ascii_strncasecmp(item, "baremetal", strlen("baremetal")) != 0 ||
		    (size_t)(blank - item) != strlen("baremetal"))
			continue;
		g_free(found);
		found = g_strstrip(g_strdup(blank));
	}
	return found;
}

bool version_negotiate(const char *header, const char *newer, unsigned *ret_minor, GError **error)
{
	g_autofree char *chosen = newer ? newer_version(newer) : NULL;

	if (!chosen && header)
		chosen = g_strstrip(g_strdup(header));
	if (!chosen) {
		*ret_minor = API_MINOR_MIN;
		return true;
	}
	return parse_version(chosen, ret_minor, error);
}
