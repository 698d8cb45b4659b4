/* virtual_media.h: what a conductor puts on the media of a boot by virtual media, besides the ramdisk (agent protocol,
 * "Parameters and configuration from virtual media"): parameters.txt of a floppy, and configuration files of a CD.
 */
#pragma once

#include <glib.h>

/* Does nothing unless `words` (the kernel command line) has boot_method=vmedia.  Then
 * - the words of parameters.txt are put over `words`: from the device with the label ir-vfd-dev, or of a model "virtual media";
 * - from the one labelled config-2 or VMEDIA_BOOT_ISO the files of etc/ironic-python-agent are copied to the same folder
 *   below the root, and those of etc/ironic-python-agent.d are returned.
 * Only optical drives, and USB disks of less than 4 GiB, are looked at.
 *
 * Returns texts (wiped when they are freed) in the order of their names, or an empty array.  Errors: IO, LIMIT, INVALID: a
 * device that has the label and cannot be read. */
GPtrArray *virtual_media_read(const char *root, GHashTable *words, GError **error);

/* Elements of /sys/block and /dev below the root: paths of the devices that may be virtual media. */
GPtrArray *virtual_media_devices(const char *root);
/* The files of a folder, as above; `ret_names` (NULL: not wanted) gets their names.  A folder that is not there is empty. */
GPtrArray *virtual_media_files(const char *folder, GPtrArray *ret_names, GError **error);
