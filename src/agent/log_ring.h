/* log_ring.h: the newest lines of the program's own log, for whoever asks later: the ramdisk has no journal. */
#pragma once

#define LOG_RING_MOST (128 * 1024) /* bytes */

/* From now on lines are kept; once per process. */
void log_ring_start(void);
/* Whole lines, oldest first; the caller frees it.  Callable from any thread. */
char *log_ring_text(void);
