/* misbehave.h: what the agents with a fault do instead of answering. */
#pragma once

#include "link.h"

/* The connection was just taken.  True: this was all, nothing else looks at it. */
bool misbehave_on_start(struct link *l);
/* A whole request is there.  False: it is answered as an honest agent would. */
bool misbehave_on_request(struct link *l);
/* Where redirects lead at other agents; whoever asks for this followed one. */
#define MISBEHAVE_TRAP_PATH "/v1/redirected"

/* Keeps what an honest agent sends in its first PSK connection, for those who repeat it. */
void misbehave_record(struct link *l);
bool misbehave_wants_record(const struct server *s);
