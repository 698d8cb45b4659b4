/* link.h: one connection to an agent of the fleet, inside a serving process.
 *
 *   server.c     listening sockets, accepting
 *   link.c       reading, writing, ending
 *   channel_tls.c TLS by OpenSSL; quick_tls.c for honest agents with a PSK
 *   answer.c     what an honest agent answers
 *   misbehave.c  what the others do
 *   work.c       commands under way
 */
#pragma once

#include <openssl/ssl.h>

#include "board.h"
#include "fleet.h"
#include "listeners.h"
#include "loop.h"
#include "quick_tls.h"

#define LINK_IN  4096
#define LINK_OUT 4096

struct link;
struct work;

enum link_stage {
	LINK_HANDSHAKE,
	LINK_READ,  /* a request */
	LINK_WAIT,  /* for the end of a command, or for a timer */
	LINK_WRITE, /* `out` */
	LINK_HOLD   /* nothing more is said; until the other side ends it */
};

struct server {
	struct loop *loop;
	struct fleet *fleet;
	struct board *board;
	struct tally *tally;
	struct listeners *listeners;
	struct channel_tls *tls;
	struct quick_tls *quick; /* NULL: all agents use OpenSSL */
	struct work_table *work;
	struct link *links; /* all that are open */
	struct link *spare;
	GByteArray *recorded; /* what an honest agent sent in a whole PSK connection */
	struct wall started;
	struct mono faults_from; /* before that everybody is honest */
	unsigned process, trap_port;
	bool adopt; /* a command that is asked for first is one that runs */
};

/* More to say once `out` is sent: fills it, and says how long to wait before sending it; false: the
 * answer is over. */
typedef bool (*link_refill_fn)(struct link *l, struct span *ret_pause);

struct link {
	struct server *server;
	struct link *next, *previous;
	uint32_t agent;
	enum fault fault; /* that is active now */
	int fd;
	SSL *ssl; /* NULL: plain, or `is_quick` */
	bool is_quick;
	bool keyed; /* the channel proves that the other side knows the token */
	enum link_stage stage;
	struct loop_watch *watch;
	struct loop_timer *timer;
	struct work *waits_for;
	link_refill_fn refill;
	uint64_t progress;               /* for refill */
	size_t have, length, sent, skip; /* of in; of out; bytes of the body still to come */
	size_t head;                     /* length of the request's head, 0: not there yet */
	struct quick_link *quick;        /* stays when the link is used again, as what follows */
	char in[LINK_IN + 1], out[LINK_OUT];
};

/* Takes the descriptor of an accepted connection. */
void link_start(struct server *s, int fd, uint32_t agent);
/* What `out` holds goes out, then refill is asked, then the connection ends. */
void link_send(struct link *l);
/* Keeps the connection, says nothing, and ends when the other side does. */
void link_hold(struct link *l);
void link_end(struct link *l);
/* Ends it with bytes lost on purpose: a reset instead of an end. */
void link_reset(struct link *l);

/* A whole request is in `in`. */
void answer_request(struct link *l);
/* Writes head and body into `out`. */
void answer_put(struct link *l, int status, const char *body);
void answer_status_body(struct link *l, char *out, size_t size);
/* The request needed the token, and had it. */
void answer_count_look(struct link *l);

/* NULL if OpenSSL refuses. */
struct channel_tls *channel_tls_new(struct server *s, const char *certificate_pem,
				    const char *key_pem);
void channel_tls_free(struct channel_tls *t);
/* For an agent of this transport; plain: NULL. */
SSL *channel_tls_session(struct channel_tls *t, struct link *l, enum agent_transport transport);

struct work_table *work_table_new(struct server *s);
void work_table_free(struct work_table *t);
/* A command is asked for by the request in `in`; answers. */
void work_start(struct link *l, const char *name, bool wait);
void work_show(struct link *l, const char *id, bool wait);
void work_list(struct link *l);
/* All commands that run end now. */
void work_end_all(struct work_table *t);
/* The connection ends while it waits. */
void work_forget(struct link *l);
