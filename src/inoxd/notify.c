#include "notify.h"

#include <glib.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_send(const char *message)
{
	const char *path = g_getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t length = path ? strlen(path) : 0;

	if (length == 0 || length >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, length);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	(void)sendto(fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT,
		     (struct sockaddr *)&sa,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
}

struct span notify_watchdog_interval(void)
{
	const char *text = g_getenv("WATCHDOG_USEC");
	guint64 us = 0;

	if (!text || !g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT64, &us, NULL))
		return SPAN_MS(0);
	return (struct span){(int64_t)us / 2};
}
