#include "crash_point.h"

#ifdef INOX_CRASH_POINTS
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

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
	const char *file = g_getenv("INOX_CRASH_FILE");

	if (!wanted_name || !file || strcmp(name, wanted_name) != 0 || ++seen_count != wanted_count)
		return;
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	close(fd);
	kill(getpid(), SIGKILL);
}
#endif
