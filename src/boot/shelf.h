/* shelf.h: where the boot host's files are put: a local folder, or a WebDAV server.
 *
 * Names are relative, of plain characters, and never appear in errors: the name of a token's file is a
 * secret.  Everything is idempotent, and a reader sees the old file or the new one, never a part.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "boot_iso.h"
#include "config.h"

struct shelf;

/* From [boot]root or [boot]push_url; a shelf that refuses everything (UNSUPPORTED) if neither is set.
 * Errors: IO, NOT_FOUND, DENIED when the local root cannot be used. */
struct shelf *shelf_new(const struct config *c, GError **error);
void shelf_free(struct shelf *s);
/* False if neither is set. */
bool shelf_is_there(const struct shelf *s);

/* Safe to be called from several threads.  `what` is for the error's sentence: "the token's file". */
bool shelf_put(const struct shelf *s, const char *name, const char *what, const char *bytes,
	       size_t length, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What has to be known of a ramdisk's ISO that people put there.  It is read whole when it is a new one, and remembered.
 * Errors: NOT_FOUND, LIMIT, INVALID. */
bool shelf_survey(const struct shelf *s, const char *name, const char *what,
		  struct boot_iso_base *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* With the files in it (not deeper).  True also when there was none. */
bool shelf_remove_folder(const struct shelf *s, const char *name, const char *what,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct shelf shelf;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(shelf, shelf_free)
