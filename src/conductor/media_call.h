/* media_call.h: where the BMC reads the ISO of a boot, and how long. */
#pragma once

#include <glib.h>

#include "config.h"

/* How long the BMC may take to insert the ISO: some fetch the whole of it before they answer. */
#define MEDIA_CALL_SECONDS 150

/* A new path of a boot, which counts for [boot]media_url_lifetime from now on; the caller frees it. */
char *media_call_path(const struct config *c);
/* True if it counts for less than the BMC may take from now on.  NULL is no path, and false. */
bool media_call_is_over(const char *path);
/* The ISO's URL, signed; a secret; the caller frees it.  Errors: INVALID, NOT_FOUND, DENIED, IO, with the option. */
char *media_call_url(const struct config *c, const char *path, GError **error);
