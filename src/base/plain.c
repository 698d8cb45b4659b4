#include "plain.h"

#include <glib.h>
#include <string.h>

#define PATH_SET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-"
#define URL_SET  PATH_SET ":[]%~"

static bool consists_of(const char *text, const char *set)
{
	return text[strspn(text, set)] == '\0';
}

bool plain_is_url(const char *text)
{
	const char *rest = g_str_has_prefix(text, "http://")    ? text + 7
			   : g_str_has_prefix(text, "https://") ? text + 8
								: "";

	return *rest && *rest != '/' && consists_of(rest, URL_SET);
}

bool plain_is_path(const char *text)
{
	g_auto(GStrv) elements = g_strsplit(text, "/", -1);

	if (!*text || !consists_of(text, PATH_SET))
		return false;
	for (char **e = elements; *e; e++)
		if (!**e || strcmp(*e, ".") == 0 || strcmp(*e, "..") == 0)
			return false;
	return true;
}
