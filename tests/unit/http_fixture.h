/* http_fixture.h: what the tests of HTTP share: a server on loopback that tells what it understood, and who asks it. */
#pragma once

#include "client.h"
#include "server.h"

struct rack {
	struct loop *l;
	struct http_server *server;
	struct endpoint at;
	unsigned requests, heads, gone;
	struct http_request *held; /* by the path /hold */
	bool late;
	bool breaks;
	unsigned pieces, ended;
	size_t largest;
};

/* A body that is made while it is sent: digits that count the bytes, up to where it breaks. */
#define MADE_LENGTH 200000
#define MADE_SHORT  32768
#define MADE_BREAK  150000

/* Without TLS, for bodies of up to 1000 bytes. */
extern const struct http_server_options rack_plain;

struct rack *rack_new(const struct http_server_options *options);
void rack_free(struct rack *r);

/* A listener on a free port of loopback. */
int rack_listen(struct endpoint *ret_at);

/* A connection to the rack's server, or to the last rack_listen(&r->at). */
int rack_dial(const struct rack *r);
void rack_say(int fd, const char *bytes, size_t length);

/* Turns the loop until the connection has ended, or holds `until` (NULL: the end only). */
char *rack_hear(struct rack *r, int fd, const char *until);

/* What comes back for a request on a connection of its own, up to its end. */
char *rack_exchange(struct rack *r, const char *request);

/* What the client made of a call; to be cleared. */
struct answer {
	bool done;
	enum milestone reached;
	int status, code; /* code -1: no error */
	bool sent;
	char *body, *sentence;
};

struct http_call rack_call(const struct rack *r);
struct answer rack_ask(struct rack *r, const struct http_call *call);
void answer_clear(struct answer *a);
