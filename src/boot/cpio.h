/* cpio.h: writes the "newc" archives that the kernel unpacks as an initial ramdisk
 * (Documentation/driver-api/early-userspace/buffer-format.rst). */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret.h"

/* An empty archive; the caller frees it. */
GByteArray *cpio_new(void);
/* `path` is relative, without a leading slash; parents come first.  Owner root, time 0. */
void cpio_add_folder(GByteArray *archive, const char *path, unsigned mode);
void cpio_add_file(GByteArray *archive, const char *path, unsigned mode, const char *bytes,
		   size_t length);
/* The end record, and zeroes up to a multiple of 512 bytes: another archive may follow. */
void cpio_finish(GByteArray *archive);
/* The complete archive with /etc/inox/agent-token in it; and, for agents that are not ours, with
 * /etc/ironic-python-agent.d/inox.conf (agent-protocol 5.2), which their ramdisk finds there when its root
 * is the initial ramdisk itself. */
GByteArray *cpio_of_token(const struct secret *token, bool stock);
/* The configuration file with the token; secret_wipe_text() frees it. */
char *cpio_print_conf(const struct secret *token);
/* Overwrites the content before it is freed. */
void cpio_wipe_free(GByteArray *archive);
