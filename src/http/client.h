/* client.h: the client of the dialer: one request per connection on the loop, numeric addresses only,
 * no redirects, no decompression, no proxy, hard limits on everything the other side sends.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "dial_address.h"
#include "identity.h"
#include "loop.h"
#include "tls.h"
#include "vocabulary.h"

struct http_client;
struct http_transfer;

struct http_call {
	struct dial_address to;
	const char *method;
	const char *path; /* with the query, already encoded; may hold the token: never logged */
	const char *body; /* JSON, NULL for none */
	size_t body_length;
	size_t reply_limit; /* bytes of the body */
	/* Connecting includes the TLS handshake.  0: 10 s, 60 s and 120 s. */
	struct span connect_timeout, first_byte_timeout, total_timeout;
	enum agent_transport transport;
	const char *psk_identity;       /* TRANSPORT_PSK */
	const uint8_t *psk_key;         /* TLS_PSK_BYTES */
	const char *certificate_sha256; /* TRANSPORT_PINNED, 64 hex digits */
};

struct http_outcome {
	enum milestone reached; /* ADDRESS (refused), PORT (connected), TLS, or NONE */
	int status;             /* 0 if there was no answer */
	bool sent;              /* the request may have been received: its effect is unclear */
	const char *body;       /* borrowed, NUL-terminated beyond length */
	size_t length;
	uint64_t bytes_in, bytes_out; /* on the wire */
	struct span handshake;        /* of TLS; 0 if there was none */
	const GError *
		error; /* NULL if an HTTP answer arrived whole; codes UNAVAILABLE, TIMEOUT, PEER, LIMIT, BUSY */
};

typedef void (*http_done_fn)(void *ctx, const struct http_outcome *outcome);

/* `fd`: a TCP socket whose connection is being made (not blocking), or -1 with an errno. */
typedef void (*http_opened_fn)(void *ctx, int fd, int number);

/* Who opens connections, where this process may not. */
struct http_opener {
	/* Calls `opened` once, later, unless the ask it returns is cancelled before. */
	void *(*open)(void *with, const struct endpoint *to, http_opened_fn opened, void *ctx);
	void (*cancel)(void *ask);
	void *with;
};

struct http_client *http_client_new(struct loop *l);
/* From now on connections come from there; without it they are opened by this process. */
void http_client_open_with(struct http_client *c, const struct http_opener *opener);
/* Bytes of all answers together, above the first 16 KiB of each, that are held at a time; default 256 MiB.  An
 * answer for which there is no room is given up: BUSY. */
void http_client_hold_large(struct http_client *c, size_t most);
size_t http_client_large(const struct http_client *c); /* held now */
void http_client_free(struct http_client *c);          /* cancels what runs, without calling back */
/* Copies what it needs of the call.  `done` is called exactly once, never from inside this function. */
struct http_transfer *http_client_start(struct http_client *c, const struct http_call *call,
					http_done_fn done, void *ctx);
/* Says something to whoever answers, proven by nothing: POST /v1/commands/?wait=true, and nothing else, so that
 * no other request can go this way.  TRANSPORT_PSK: in TLS 1.3 with any certificate, which keeps out those who
 * only listen; TRANSPORT_HTTP: in clear.  Method, path, key and certificate of the call are not looked at. */
struct http_transfer *http_client_introduce(struct http_client *c, const struct http_call *call,
					    http_done_fn done, void *ctx);
/* `done` is not called any more.  Only for a transfer that has not called it yet. */
void http_transfer_cancel(struct http_transfer *t);

typedef struct http_client http_client;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(http_client, http_client_free)
