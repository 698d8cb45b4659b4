/* media.h: fetches the medium that a BMC was told to insert. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "loop.h"

#define MEDIA_LIMIT     (256 * 1024 * 1024)
#define MEDIA_URL_LIMIT 1024

struct media;

/* `error` is NULL when the medium is there; the bytes are taken over then. */
typedef void (*media_fn)(void *ctx, GBytes *bytes, const GError *error);

/* True for an http:// or https:// URL of visible characters. */
bool media_url_is_valid(const char *url);
/* Begins to fetch, in a thread; `done` is called once, from the loop. */
struct media *media_fetch(struct loop *l, const char *url, media_fn done, void *ctx);
/* NULL is fine; `done` is not called any more.  Safe inside `done`. */
void media_free(struct media *m);
