#include "crash_point.h"

#ifdef INOX_CRASH_POINTS
#	include <glib.h>
#	include <signal.h>
#	include <stdbool.h>
#	include <string.h>
#	include <unistd.h>

static char *wanted_name;
static unsigned wanted_count, seen_count;

void crash_point_role(const char *role)
{
	const char *at = g_getenv("INOX_CRASH_AT");
	g_auto(GStrv) words = g_strsplit(at ? at : "", ":", 3);

	if (g_strv_length(words) < 2 || strcmp(words[0], role) != 0)
		return;
	g_free(wanted_name);
	wanted_name = g_strdup(words[1]);
	wanted_count = words[2] ? (unsigned)g_ascii_strtoull(words[2], NULL, 10) : 1;
	seen_count = 0;
}

void crash_point(const char *name)
{
	if (wanted_name && strcmp(name, wanted_name) == 0 && ++seen_count == wanted_count)
		kill(getpid(), SIGKILL);
}

char **crash_point_environment(char **environment, const char *role)
{
	static bool handed_over;
	const char *at = g_environ_getenv(environment, "INOX_CRASH_AT");
	g_autofree char *prefix = g_strconcat(role, ":", NULL);

	if (!at || !g_str_has_prefix(at, prefix))
		return environment;
	if (handed_over)
		return g_environ_unsetenv(environment, "INOX_CRASH_AT");
	handed_over = true;
	return environment;
}
#endif
