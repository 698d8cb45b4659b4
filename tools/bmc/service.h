/* service.h: the Redfish service: routes, authentication, and what requests do to machines. */
#pragma once

#include "accounts.h"
#include "loop.h"
#include "machine.h"
#include "server.h"

#define SERVICE_MACHINES_MAX 64
#define SERVICE_BODY_LIMIT   (64 * 1024)

struct service {
	struct loop *l;
	struct accounts *accounts;
	const char *username; /* NULL: no authentication */
	unsigned session_timeout_s;
	struct machine *machines[SERVICE_MACHINES_MAX]; /* Systems/1, Systems/2, ... */
	unsigned machine_count;
};

/* The handler of the HTTP server; ctx is a struct service. */
void service_handle(void *ctx, struct http_request *rq);
