/* dial_local.h: a local listener as something the client dials. */
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>

#include "dial_address.h"

static inline struct dial_address dial_local_port(unsigned port)
{
	static const struct network loopback = {.family = AF_INET, .prefix = 8, .bytes = {127}};
	struct dial_address to;

	g_assert_true(dial_address_check("127.0.0.1", port, &loopback, 1, &to, NULL));
	return to;
}

static inline struct dial_address dial_local(int listener)
{
	struct sockaddr_in at;
	socklen_t length = sizeof(at);

	g_assert_cmpint(getsockname(listener, (struct sockaddr *)&at, &length), ==, 0);
	return dial_local_port(ntohs(at.sin_port));
}
