/* routes.h: the agent's HTTP interface: paths, methods, tokens, and the form of its answers. */
#pragma once

#include "agent.h"
#include "server.h"

/* A handler of http_server_new(); `ctx` is the struct agent. */
void routes_handle(void *ctx, struct http_request *rq);
/* For http_server_options.on_head: answers 401 before the large body of a stranger is read. */
void routes_on_head(void *ctx, struct http_request *rq);
