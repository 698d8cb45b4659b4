/* media_ticket.h: the signed path under which a BMC reads the ISO of one boot.
 *
 *     /media/<until>-<random>-<signature>/boot.iso
 *
 * `until` is a second since 1970 (10 digits), `random` 256 bits, `signature` HMAC-SHA256 of both, cut to 192 bits; the last two
 * in URL-safe base64.  "<until>-<random>" is the boot's path, which the conductor makes; the rest is known by who has the
 * key: conductor and inox-media.  All of it is in the path, as many BMCs cut a query off.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "clocks.h"
#include "key_file.h"

#define MEDIA_PATH_LENGTH 54 /* of a boot's path */

struct media_key {
	uint8_t bytes[KEY_FILE_BYTES];
};

/* Errors as of key_file_read(). */
bool media_key_load(const char *path, struct media_key *ret_key,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void media_key_clear(struct media_key *k); /* wipes */

/* A new path of a boot, from fresh random bits; the caller frees it. */
char *media_path_new(struct wall until);
/* True for a text that media_path_new() makes. */
bool media_path_is_valid(const char *path);
/* True if the path counts no more at `then`; false for what is no such path. */
bool media_path_is_over(const char *path, struct wall then);
/* "media/.../boot.iso" for a path; the caller frees it.  INVALID if it is none that media_path_new() makes. */
char *media_ticket_print(const struct media_key *k, const char *path, GError **error);
/* Checks what a client asks for, the path of a URL with its first slash; signature first, in constant time.  The path of the boot is
 * in `ret_path` only on success.  Errors: NOT_FOUND (no such form), DENIED (signature), TIMEOUT (over); none shows the path. */
bool media_ticket_check(const struct media_key *k, const char *target, struct wall now,
			char ret_path[static MEDIA_PATH_LENGTH + 1],
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct media_key media_key;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(media_key, media_key_clear)
