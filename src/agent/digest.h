/* digest.h: which digest is expected, and computing it as the bytes pass. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define DIGEST_HEX_MAX 129

/* Lower-case hex of one algorithm. */
struct digest_wanted {
	char algorithm[16]; /* "sha256", "sha512", ...; "" for none */
	char hex[DIGEST_HEX_MAX];
};

struct digest;

/* Takes an algorithm of the SHA-2 or SHA-3 families, or md5 and sha1 when `allow_weak`.  `text` is a hex
 * digest in either case.  Errors: INVALID, DENIED (weak), UNSUPPORTED. */
bool digest_want(const char *algorithm, const char *text, bool allow_weak,
		 struct digest_wanted *ret_wanted, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* "HEX" or "ALGORITHM:HEX"; without a name the length decides: 32 md5, 64 sha256, 128 sha512. */
bool digest_want_text(const char *text, bool allow_weak, struct digest_wanted *ret_wanted,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Finds the digest of `file_name` in the content of a checksum file: a lone digest, "DIGEST  NAME",
 * "DIGEST *NAME" or "ALGORITHM (NAME) = DIGEST".  Returns hex text; the caller frees it.  Error: INVALID. */
char *digest_find_in_file(const char *content, const char *file_name, GError **error);

struct digest *digest_new(const struct digest_wanted *wanted);
void digest_free(struct digest *d);
void digest_add(struct digest *d, const void *bytes, size_t length);
/* True if it is the one wanted; *ret_hex (the caller frees it) is what was computed.  Once. */
bool digest_check(struct digest *d, char **ret_hex);

typedef struct digest digest;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(digest, digest_free)
