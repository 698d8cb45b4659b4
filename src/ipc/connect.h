/* connect.h: connections that another process opens: the connector.
 *
 * The workers that meet strangers have neither socket() nor connect().  They ask the connector, which
 * checks the address against the ranges of the asking role and hands over a TCP socket whose connection is
 * being made.  A worker that was taken over can ask for nothing else.
 *
 * On the wire: a SOCK_SEQPACKET pair.  A packet has up to CONNECT_BATCH requests and is answered by one with as
 * many replies in the same order, and, in that order, with the sockets (SCM_RIGHTS) of those whose `error` is 0.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "loop.h"

#define CONNECT_BATCH 32

struct connect_request {
	uint32_t id; /* comes back in the reply */
	uint16_t port;
	uint8_t family; /* 4 or 6 */
	uint8_t zero;
	uint8_t address[16]; /* network order; an IPv4 address has the first four, the rest is 0 */
};

struct connect_reply {
	uint32_t id;
	int32_t error; /* errno; EACCES: the address is outside the ranges */
};

struct connect_replies {
	struct connect_reply replies[CONNECT_BATCH];
	unsigned count;
	int fds[CONNECT_BATCH];
	unsigned fd_count;
};

/* Not blocking, close-on-exec. */
bool connect_pair(int ret_fds[2], GError **error) G_GNUC_WARN_UNUSED_RESULT;
void connect_request_make(uint32_t id, const struct endpoint *to,
			  struct connect_request *ret_request);
/* False for a request that connect_request_make() does not make. */
bool connect_request_read(const struct connect_request *rq, struct endpoint *ret_to);
/* The sockets stay the caller's.  False with errno. */
bool connect_replies_send(int fd, const struct connect_replies *r);

/* ---- on the loop */

struct connect_client;
struct connect_ask;

/* `fd` is a TCP socket (not blocking, TCP_NODELAY) whose connection is being made, and the callee's; or -1 with
 * an errno.  Called once, never from inside connect_ask(). */
typedef void (*connect_done_fn)(void *ctx, int fd, int number);

/* Takes the descriptor.  `on_closed`: the connector is gone; what was asked is not answered any more. */
struct connect_client *connect_client_new(struct loop *l, int fd, loop_fn on_closed, void *ctx);
void connect_client_free(struct connect_client *c); /* after all asks were answered or cancelled */
struct connect_ask *connect_ask(struct connect_client *c, const struct endpoint *to,
				connect_done_fn done, void *ctx);
void connect_ask_cancel(struct connect_ask *ask); /* `done` is not called any more */

typedef struct connect_client connect_client;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(connect_client, connect_client_free)

/* ---- from threads */

/* The same and waits: at most `wait` until the connection stands, then *ret_fd is the caller's.  Threads may
 * share `fd`.  Errors: DENIED (outside the ranges), TIMEOUT, UNAVAILABLE. */
bool connect_and_wait(int fd, const struct endpoint *to, struct span wait, int *ret_fd,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
