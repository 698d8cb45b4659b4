/* secure_erase.h: disks that forget by themselves: Format NVM with a secure erase (NVM Express Base Specification,
 * "Format NVM command"), and SECURITY ERASE UNIT of ATA drives (ATA Command Set, "Security feature set") through
 * SCSI's ATA PASS-THROUGH (SAT, 16 bytes).
 *
 * Both go on for as long as the drive takes, which may be hours, and nothing can stop them.  Neither is a proof: the
 * caller looks whether the old bytes are gone.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct secure_disk {
	int fd;
	const char *name; /* "/dev/nvme0n1": for sentences */
	bool alone;       /* no other namespace is behind this controller */
	/* ioctl(2), or what a test puts in its place */
	int (*call)(int fd, unsigned long request, void *argument);
};

/* ioctl(2) itself. */
int secure_erase_ioctl(int fd, unsigned long request, void *argument);

/* Cryptographic erase where the drive has it, else erase of user data; block size and metadata stay as they are.
 * Errors: UNSUPPORTED (the drive cannot, or would erase other namespaces too), IO. */
bool secure_erase_nvme(const struct secure_disk *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Enhanced erase where the drive has it.  *ret_done is false, without an error, for a drive that has no such command or
 * is no ATA drive.  Errors: BUSY (frozen until the next power cycle), DENIED (locked with somebody's password), IO. */
bool secure_erase_ata(const struct secure_disk *d, bool *ret_done,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
