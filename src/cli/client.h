/* client.h: the API as the command line sees it: one call, one answer or one sentence. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

struct client;

/* `url` is "http://host:port" with or without a path; a trailing /v1 and slashes are dropped. */
struct client *client_new(const char *url);
void client_free(struct client *c);

/* Sends `body` (may be NULL; stays the caller's) and returns the answer's JSON, json_null() for an empty
 * one; a new reference.  NULL with the server's own sentence for a status of 400 and above (NOT_FOUND for
 * 404, CONFLICT for 409, else INVALID or UNAVAILABLE), and with what went wrong on the way otherwise. */
json_t *client_call(struct client *c, const char *method, const char *path, const json_t *body,
		    GError **error);

/* A path element, percent-encoded.  The caller frees it. */
char *client_escape(const char *text);

typedef struct client client;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(client, client_free)
