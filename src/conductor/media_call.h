/* media_call.h: where the BMC reads the ISO of a boot, and how long. */
#pragma once

#include <glib.h>

#include "config.h"

/* A new path of a boot, which counts for [boot]media_url_lifetime from now on; the caller frees it. */
char *media_call_path(const struct config *c);
/* The ISO's URL, signed; a secret; the caller frees it.  Errors: INVALID, NOT_FOUND, DENIED, IO, with the option. */
char *media_call_url(const struct config *c, const char *path, GError **error);
