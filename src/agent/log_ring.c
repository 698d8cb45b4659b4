#include "log_ring.h"

#include <glib.h>
#include <pthread.h>
#include <string.h>

#include "log.h"

/* Lines come from every thread.  POSIX locks, so that ThreadSanitizer sees them. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static GString *kept; /* guarded by lock */

/* The older half goes when it is full, so that lines are not moved for each new one. */
static void keep_line(const char *line, size_t length)
{
	pthread_mutex_lock(&lock);
	g_string_append_len(kept, line, (gssize)length);
	if (kept->len > LOG_RING_MOST) {
		const char *middle = strchr(kept->str + kept->len - LOG_RING_MOST / 2, '\n');

		g_string_erase(kept, 0, middle ? middle + 1 - kept->str : -1);
	}
	pthread_mutex_unlock(&lock);
}

void log_ring_start(void)
{
	pthread_mutex_lock(&lock);
	if (!kept)
		kept = g_string_new(NULL);
	pthread_mutex_unlock(&lock);
	log_also_to(keep_line);
}

char *log_ring_text(void)
{
	pthread_mutex_lock(&lock);
	char *text = g_strdup(kept ? kept->str : "");

	pthread_mutex_unlock(&lock);
	return text;
}
