/* qemu.h: the command line of a machine's QEMU.  Pure functions. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "machine_file.h"

struct qemu_order {
	bool disk_first, cd_first; /* the drive, if it is first, comes before the disk, too */
};

/* QMP speaks on descriptor `fd` of the new process.  The caller frees the result (g_strfreev). */
char **qemu_make_argv(const struct machine_spec *s, enum machine_firmware firmware,
		      struct qemu_order order, bool has_media, int fd);
/* The disk's bootindex; the NICs' never change, so that this one number decides the order. */
int qemu_disk_index(bool disk_first);
int qemu_cd_index(bool cd_first);
#define QEMU_CD_ID     "cd0"
#define QEMU_CD_PATH   "/machine/peripheral/cd0"
#define QEMU_DISK_PATH "/machine/peripheral/disk0"
