/* wire.h: the bytes of one client connection, on one edge-triggered event from connect() to close(), with TLS or
 * without.  Private to http/.
 *
 * What TLS wants to say is collected and leaves with the next wire_send(), so that the end of a handshake
 * and the request behind it are one segment.  After each turn wire_rest() must be called: a peer that
 * never stops talking gets a bounded share of a turn, and the rest of it later.
 */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "dial_address.h"
#include "loop.h"

struct evbuffer;

enum wire_progress { WIRE_MORE, WIRE_AGAIN, WIRE_END, WIRE_BROKEN };

typedef void (*wire_ready_fn)(void *ctx);

struct wire {
	int fd; /* -1: closed */
	bool watched;
	bool readable; /* no edge was used up since something came: there may be more */
	struct event event;
	wire_ready_fn ready;
	void *ctx;
	SSL *ssl; /* NULL: plain */
	struct evbuffer *out;
	size_t share; /* bytes that may still be read in this turn */
	uint64_t bytes_in, bytes_out;
	uint64_t allowed_in;      /* grows with the content that came */
	int number;               /* errno of what broke it, 0 if it was TLS */
	unsigned long tls_reason; /* of OpenSSL, 0 if it was the socket */
	bool over;                /* more than allowed_in came */
};

/* Begins to connect; `ready` is called when something may have become possible.  Who talks on and says nothing
 * (key updates, tickets, tiny records) is cut off.  False with errno in w->number. */
bool wire_dial(struct wire *w, struct loop *l, const struct dial_address *to, wire_ready_fn ready,
	       void *ctx);
/* The same with a socket on which connecting has begun already; takes it. */
void wire_take(struct wire *w, struct loop *l, int fd, wire_ready_fn ready, void *ctx);
/* After the first `ready`: 0, or the errno that says why there is no connection. */
int wire_connected(const struct wire *w);
/* Takes the session, NULL is out of memory. */
bool wire_secure(struct wire *w, SSL *ssl);
/* MORE: done. */
enum wire_progress wire_handshake(struct wire *w);
/* Moves bytes out of `from` to the network; AGAIN when it takes no more for now, MORE when all is gone. */
enum wire_progress wire_send(struct wire *w, struct evbuffer *from);
/* Appends what came, if any, to `to`. */
enum wire_progress wire_receive(struct wire *w, struct evbuffer *to);
void wire_rest(struct wire *w);
/* Closes at once and wipes; harmless for a zeroed one with fd -1. */
void wire_close(struct wire *w);
