/* password.h: a secret from a file or from the terminal, never from the command line, which others can read. */
#pragma once

#include <glib.h>

#include "secret.h"

/* First line of the file; "-" is standard input.  NULL `path`: asks at the terminal, twice, without showing
 * what is typed.  Errors: INVALID for an empty, too long or differing one, and where there is no
 * terminal to ask at; IO. */
struct secret *password_read(const char *path, const char *what, GError **error);
