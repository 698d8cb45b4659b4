/* qemu.h: the command line of a machine's QEMU.  Pure functions. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "machine_file.h"

/* QMP speaks on descriptor `fd` of the new process.  The caller frees the result (g_strfreev). */
char **qemu_make_argv(const struct machine_spec *s, enum machine_firmware firmware, bool disk_first,
		      int fd);
/* The disk's bootindex; the NICs' never change, so that this one number decides the order. */
int qemu_disk_index(bool disk_first);
#define QEMU_DISK_PATH "/machine/peripheral/disk0"
