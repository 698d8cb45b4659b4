/* kept.h: small texts that outlive the program but not the boot: files in <root>/run/inox that only
 * their owner can read.  An agent that is started again is then the same agent to the API. */
#pragma once

#include <stdbool.h>

#define KEPT_TOKEN       "agent-token"
#define KEPT_CERTIFICATE "agent.pem" /* and the key behind it: never one without the other */

/* Where that text is; the caller frees it. */
char *kept_path(const char *root, const char *name);
/* Replaces the file at once or not at all; that it cannot is logged. */
void kept_write(const char *root, const char *name, const char *text);
/* NULL if there is none, or if it is not ours alone.  The caller frees it with secret_wipe_text(). */
char *kept_read(const char *root, const char *name);
