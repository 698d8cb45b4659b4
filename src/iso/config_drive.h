/* config_drive.h: config drives: an ISO 9660 image (Rock Ridge, Joliet) labelled config-2 that carries an
 * instance's first data, as OpenStack's metadata service lays it out.  The result is base64 of the
 * gzip-compressed image, the form that states/provision takes and that agents write.
 */
#pragma once

#include <glib.h>
#include <jansson.h>

/* Largest image that an agent writes (agent protocol: whole-disk images), and most files in a folder. */
#define CONFIG_DRIVE_LIMIT      (64 * 1024 * 1024)
#define CONFIG_DRIVE_FILE_LIMIT 4096

/* From {"meta_data": {}, "network_data": {}, "user_data": any, "vendor_data": {}}; every key optional.
 * `node_uuid` and `node_name` (may be NULL) become meta_data's uuid and name where it has none.
 * The caller frees the text.  INVALID names the key that is wrong; LIMIT when it is too large. */
char *config_drive_from_object(const json_t *object, const char *node_uuid, const char *node_name,
			       GError **error);

/* From a folder's regular files and sub-folders (symbolic links are refused).  The caller frees the
 * text.  NOT_FOUND, IO, INVALID with the path; LIMIT. */
char *config_drive_from_folder(const char *path, GError **error);
