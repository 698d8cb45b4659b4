/* progress.h: one live line on a terminal, one line per change elsewhere. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "clocks.h"

struct progress;

/* `live`: redraw one line (a terminal); otherwise print a line when the phase changes and every tenth
 * of the bytes.  Writes to stderr, so that stdout stays for results. */
struct progress *progress_new(bool live, struct mono start);
void progress_free(struct progress *p); /* ends a live line */

/* `state` is the provision state, `flow` what GET .../flow answered. */
void progress_show(struct progress *p, const char *state, const json_t *flow, struct mono now);

/* "1.4 GiB", "12 MiB/s", "2m05s": the caller frees them. */
char *progress_bytes_text(uint64_t bytes);
char *progress_time_text(uint64_t seconds);

typedef struct progress progress;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(progress, progress_free)
