/* rescue_hash.h: the password of the user `rescue`, as crypt(3) writes it. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* True for the text of a kind that logins of today check (crypt(5)): $5$ (SHA-256), $6$ (SHA-512), $y$ (yescrypt)
 * and $2b$ (bcrypt), complete and with its own alphabet only.  Errors: INVALID, LIMIT; never with the text. */
bool rescue_hash_check(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The $5$ text of a password, with a salt of its own; secret_wipe_text() frees it.  NULL with INVALID for one that
 * nobody could type (empty, control characters), LIMIT for a long one, IO when crypt(3) fails. */
char *rescue_hash_make(const char *password, GError **error) G_GNUC_WARN_UNUSED_RESULT;
