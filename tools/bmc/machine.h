/* machine.h: a machine as its BMC sees it: power and boot override, in front of a QEMU or a command.
 *
 * A boot begins when the power comes on and with every reset; it uses up an override that is "Once": at
 * once for a command, after a few seconds for QEMU, whose firmware may reset the machine while it starts.
 * QEMU takes its boot order at the begin of a boot, so the order of the *next* boot is set whenever the
 * override changes: a reset by the guest needs nobody in between.  The firmware (boot mode) is chosen
 * when QEMU is started: at power on, and at a restart that changes it.
 *
 * There is one optical drive.  A command is told the URL of its medium; for QEMU the medium is fetched
 * into a file.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "loop.h"
#include "machine_file.h"

enum boot_target { BOOT_NONE, BOOT_PXE, BOOT_HDD, BOOT_CD, BOOT_TARGET_COUNT };
enum boot_enabled { BOOT_DISABLED, BOOT_ONCE, BOOT_CONTINUOUS, BOOT_ENABLED_COUNT };

struct boot_override {
	enum boot_target target;
	enum boot_enabled enabled;
	enum machine_firmware mode;
};

enum machine_reset {
	MACHINE_ON,
	MACHINE_FORCE_OFF,
	MACHINE_GRACEFUL_SHUTDOWN,
	MACHINE_FORCE_RESTART,
	MACHINE_POWER_CYCLE,
	MACHINE_RESET_COUNT
};

struct machine;

/* Takes the spec. */
struct machine *machine_new(struct loop *l, struct machine_spec *spec);
/* Ends what runs: waits at most two seconds. */
void machine_free(struct machine *m);

const struct machine_spec *machine_peek_spec(const struct machine *m);
const struct boot_override *machine_peek_boot(const struct machine *m);
const char *machine_power_text(const struct machine *m); /* "On", "Off", "PoweringOff" */
unsigned machine_version(const struct machine *m);       /* grows with each change; for the ETag */
bool machine_has_firmware(const struct machine *m, enum machine_firmware f);

/* URL of the inserted medium, NULL if there is none. */
const char *machine_peek_media(const struct machine *m);
typedef void (*machine_media_fn)(void *ctx, const GError *error);
/* Begins to insert a medium; `done` is called once, perhaps before this returns.  An error if there is a
 * medium or one is being fetched (CONFLICT), or if it cannot be had. */
void machine_insert_media(struct machine *m, const char *url, machine_media_fn done, void *ctx);
void machine_eject_media(struct machine *m); /* nothing if there is none */

/* CONFLICT for BOOT_CD without a medium. */
bool machine_check_boot(const struct machine *m, const struct boot_override *boot,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
void machine_set_boot(struct machine *m, const struct boot_override *boot);
/* Begins the change and does not wait for it.  CONFLICT if the power state does not allow it; IO and
 * others if it cannot be started. */
bool machine_reset(struct machine *m, enum machine_reset reset,
		   GError **error) G_GNUC_WARN_UNUSED_RESULT;
