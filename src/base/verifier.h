/* verifier.h: a check value of a token: tells whether a text is the token, and nothing of what it is.
 *
 * "v1:SALT:MAC", both in hex: a random salt of 16 bytes and HMAC-SHA256(salt, token).  A token has 256
 * random bits, so nothing slower is needed.  For who may not open a sealed token: the API. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* The caller frees the result.  Another one each time. */
char *verifier_new(const char *token);
/* Constant time in the content of both.  False if either is NULL, or `verifier` is not of this form. */
bool verifier_matches(const char *verifier, const char *token);
