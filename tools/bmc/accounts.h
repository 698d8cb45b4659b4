/* accounts.h: who may use the service: one account, and sessions that were opened with it (DSP0266
 * section 13.3): bounded in number, closed by their client or by idleness. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "clocks.h"
#include "secret.h"

#define ACCOUNTS_SESSIONS_MAX 16

struct accounts;

/* `username` NULL: everybody may do everything.  The password is taken. */
struct accounts *accounts_new(const char *username, struct secret *password,
			      struct span idle_limit);
void accounts_free(struct accounts *a);

bool accounts_are_open(const struct accounts *a);
bool accounts_check(const struct accounts *a, const char *username, const char *password);
/* The value of an Authorization header: only "Basic" is known. */
bool accounts_check_header(const struct accounts *a, const char *authorization);

/* Id of a new session, borrowed; NULL when there are too many.  *ret_token is borrowed too. */
const char *accounts_open_session(struct accounts *a, struct mono now, const char **ret_token);
/* True if it is a session's token; the session counts as used. */
bool accounts_use_token(struct accounts *a, const char *token, struct mono now);
bool accounts_close_session(struct accounts *a, const char *id);
bool accounts_has_session(const struct accounts *a, const char *id);
/* Id of the i-th session, NULL past the end. */
const char *accounts_session_at(struct accounts *a, unsigned i, struct mono now);
