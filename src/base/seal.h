/* seal.h: secrets in rows.
 *
 * A sealed text can be made by everyone who has the public half (the API) and opened only by who has
 * the private half (the conductor): X25519 with a fresh key each time, HKDF-SHA256, AES-256-GCM.  The
 * result is "sealed:v1:" and base64; the node's UUID is authenticated with it, so that a sealed text
 * copied into another node's row does not open.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret.h"

#define SEAL_PREFIX "sealed:v1:"

struct seal_key; /* private half, or only the public one */

/* Reads the key file, or makes it (mode 0600, written whole or not at all) if it is not there.
 * Errors: IO, DENIED, INVALID when the file is not a key or can be read by others. */
struct seal_key *seal_key_load_or_create(const char *path, GError **error);
/* The same from an open file, which is not closed; `name` stands for it in sentences. */
struct seal_key *seal_key_read_fd(int fd, const char *name, GError **error);
/* The public half as base64 text, for handing to a process that only seals.  The caller frees it. */
char *seal_key_public_text(const struct seal_key *k);
struct seal_key *seal_key_from_public_text(const char *text, GError **error);
void seal_key_free(struct seal_key *k);

bool seal_is_sealed(const char *text);
/* The caller frees the result.  `context` is the node's UUID. */
char *seal_text(const struct seal_key *k, const char *context, const char *text);
/* INVALID if it was not sealed with this key and context; UNSUPPORTED with a public half only. */
struct secret *seal_open(const struct seal_key *k, const char *context, const char *sealed,
			 GError **error);

typedef struct seal_key seal_key;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(seal_key, seal_key_free)
