/* secret.h: text that must not leak: zeroed when freed, compared in constant time, in pages of its own that are
 * kept out of core dumps (MADV_DONTDUMP), never printed.  A struct secret is never passed to a log field. */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct secret;

struct secret *secret_new(const char *text); /* copies; NULL gives NULL */
struct secret *secret_new_length(const char *text, size_t length);
struct secret *secret_new_token(void);             /* 32 random bytes as 43 URL-safe characters */
struct secret *secret_dup(const struct secret *s); /* NULL gives NULL */
void secret_free(struct secret *s);                /* NULL is fine */
const char *secret_peek(const struct secret *s);   /* borrowed; NULL gives NULL */
size_t secret_length(const struct secret *s);
/* Constant time in the content; false if either is NULL. */
bool secret_equal(const struct secret *s, const char *text, size_t length);

/* Overwrites a text that held a secret, then frees it.  NULL is fine. */
void secret_wipe_text(char *text);

/* No core dumps of this process and of what it starts, as a secret is more than once in its memory: in TLS, in
 * the request that carries it.  (The processes of inoxd: ipc/sandbox.h.) */
void secret_forbid_dumps(void);

typedef struct secret secret;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(secret, secret_free)
