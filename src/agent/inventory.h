/* inventory.h: what poll.get_hardware_info answers, read from sysfs, procfs and the kernel; no program is
 * started.  Keys and their order are those of the agent protocol.
 */
#pragma once

#include <glib.h>
#include <jansson.h>

/* The whole inventory; `pxe_interface` is BOOTIF as it was given, or NULL.  New reference.  Errors: IO. */
json_t *inventory_collect(const char *root, const char *pxe_interface, GError **error);

/* ---- parts, for tests; each gives a new reference */
json_t *inventory_interfaces(const char *root);
json_t *inventory_cpu(const char *root);
json_t *inventory_memory(const char *root);
json_t *inventory_system_vendor(const char *root);

/* ---- for the parts */

/* A small text file below the root without the white space around it; NULL if it cannot be read.  The
 * caller frees it. */
char *inventory_read(const char *root, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* A string, or null for NULL; frees the text.  New reference. */
json_t *inventory_text(char *text);
/* Address of the BMC as text, or NULL if there is none or it does not tell.  The caller frees it. */
char *inventory_bmc_address(const char *root);
