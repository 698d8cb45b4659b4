/* ports.h: the handlers of /v1/ports. */
#pragma once

#include "listing.h"

extern const struct collection port_collection;

bool ports_list(struct request *rq, GError **error);
bool ports_list_detail(struct request *rq, GError **error);
bool ports_create(struct request *rq, GError **error);
bool ports_show(struct request *rq, GError **error);
bool ports_patch(struct request *rq, GError **error);
bool ports_delete(struct request *rq, GError **error);

/* By UUID, or by name; NULL with NOT_FOUND. */
struct port *ports_find(struct store *s, const char *ident, GError **error);
