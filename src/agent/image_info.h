/* image_info.h: the `image_info` argument of write_image, checked (agent protocol, "image_info - every key").
 *
 * Which bytes a digest covers: os_hash_value and checksum are over the bytes at the URL, so over the
 * compressed file if it is compressed: what the sha256sum of the file says.  Own keys raw_hash_algo and
 * raw_hash_value are over the decompressed image, and may be given in addition.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "agent_error.h"
#include "digest.h"
#include "fetch.h"
#include "secret.h"

struct image_info {
	char *id;
	char **urls;
	struct digest_wanted downloaded, image;
	char *checksum_url;  /* where `downloaded` is read from; NULL: it is known */
	char *checksum_algo; /* for that; NULL: by length */
	struct secret *authorization;
	char *proxy;              /* for the first URL's scheme; NULL: none */
	const char *config_drive; /* borrowed from the JSON; NULL: none */
	bool allow_weak;
};

/* Errors: INVALID_PARAMS, REST, IMAGE_DOWNLOAD, INVALID_IMAGE. */
bool image_info_parse(const json_t *image_info, bool allow_weak, struct image_info *ret_info,
		      struct agent_error *error) G_GNUC_WARN_UNUSED_RESULT;
/* Reads the checksum file, if there is one to read. */
bool image_info_resolve(struct image_info *info, const struct fetch_options *options,
			struct agent_error *error) G_GNUC_WARN_UNUSED_RESULT;
void image_info_clear(struct image_info *info);

typedef struct image_info image_info;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(image_info, image_info_clear)
