/* machine_file.h: what a machine is made of, read from an INI file with the one group [machine].  The
 * keys are declared in machine_file.c and documented in doc/inox-bmc.md. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "identity.h"

#define MACHINE_MACS_MAX   8
#define MACHINE_FILE_LIMIT (64 * 1024)

enum machine_kind { MACHINE_QEMU, MACHINE_PROCESS };
enum machine_firmware { FIRMWARE_BIOS, FIRMWARE_UEFI };
enum machine_bus { BUS_VIRTIO, BUS_NVME, BUS_AHCI, BUS_SCSI };

struct machine_spec {
	int kind;     /* enum machine_kind */
	int firmware; /* enum machine_firmware: the one it starts with */
	int disk_bus; /* enum machine_bus */
	char *name, *manufacturer, *model, *serial;
	struct uuid uuid; /* made from name and first MAC if the file has none */
	struct mac macs[MACHINE_MACS_MAX];
	unsigned mac_count;
	int memory_mib, cpus;
	char *disk, *disk_format; /* disk NULL: none */
	char **taps;              /* one per MAC, in order; NULL: none */
	char *netdev;             /* of the first MAC without a tap; NULL: none */
	char *nic_model;
	char *romfile;                      /* NULL: QEMU's own; "": none */
	char *ovmf_code, *ovmf_vars, *vars; /* vars: this machine's copy */
	char *media;                        /* where the inserted medium is kept */
	char *serial_log, *serial_socket;   /* NULL: none */
	char *qemu;
	char **extra, **launcher, **command; /* NULL: none */
};

/* Relative paths in the file start at the file's folder.  Errors (INVALID) name file and key. */
struct machine_spec *machine_spec_load(const char *path, GError **error);
/* The same from a text; `path` is for sentences and relative paths. */
struct machine_spec *machine_spec_parse(const char *text, size_t length, const char *path,
					GError **error);
void machine_spec_free(struct machine_spec *s);

typedef struct machine_spec machine_spec;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(machine_spec, machine_spec_free)
