/* state.h: what the supervisor makes before any process runs: the state folder, its lock, the sealing
 * key, the schema, the sockets.  All of it is closed by state_free(). */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "config.h"
#include "seal.h"
#include "users.h"

struct state {
	struct users users;
	char *folder;
	int lock_fd;
	int listen_fd; /* the API's socket; -1 without the api role */
	int poke_fd;   /* -1 without the conductor role */
	struct seal_key *key;
	char *key_path;
};

/* In this order: folder (0700), lock, API socket, user, sealing key, schema, poke socket.  When
 * inoxd was started by root, the process is another user afterwards (users.h).
 * Errors are sentences for the operator: they name the folder, the address or the file. */
struct state *state_prepare(const struct config *c, bool with_api, bool with_conductor,
			    GError **error);
void state_free(struct state *s);

/* Path of the socket that takes pokes; the caller frees it. */
char *state_poke_path(const char *folder);

typedef struct state state;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(state, state_free)
