/* fetch_call.h: one HTTP request and its whole answer over a connection of its own; blocking, for a thread.
 * No redirects, no content codings, limits on size and time.
 */
#pragma once

#include "fetch_link.h"

struct fetch_call {
	const char *method;
	const char *headers;          /* further lines, each with "\r\n" behind it; "" for none */
	const char *body;             /* NULL: none */
	size_t reply_limit;           /* bytes of the body */
	const char *ca_file;          /* PEM bundle; NULL: the system's */
	bool insecure;                /* do not check the server's certificate */
	unsigned timeout_s;           /* for all of it but the look-up of the name */
	bool (*cancelled)(void *ctx); /* asked several times a second, from this thread */
	void *ctx;
};

struct fetch_reply {
	int status;
	char *body; /* NUL-terminated beyond length; may hold secrets: wiped by fetch_reply_clear() */
	size_t length;
	char own_address[INET6_ADDRSTRLEN]; /* ours on this connection; "": not known */
};

/* True for every answer that arrived whole, whatever its status.  Errors: UNAVAILABLE (refused, no such
 * name, broken off), TIMEOUT, PEER (protocol, TLS), LIMIT, BUSY (cancelled), INVALID (CA file). */
bool fetch_call(const struct fetch_url *url, const struct fetch_call *call,
		struct fetch_reply *ret_reply, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void fetch_reply_clear(struct fetch_reply *r);

typedef struct fetch_reply fetch_reply;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(fetch_reply, fetch_reply_clear)
