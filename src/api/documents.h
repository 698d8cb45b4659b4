/* documents.h: what describes the server itself, and the resources that it has none of. */
#pragma once

#include "request.h"

bool document_root(struct request *rq, GError **error);
bool document_v1(struct request *rq, GError **error);
bool document_health(struct request *rq, GError **error);
bool document_metrics(struct request *rq, GError **error);

bool drivers_list(struct request *rq, GError **error);
bool drivers_show(struct request *rq, GError **error);
bool drivers_properties(struct request *rq, GError **error);
bool drivers_raid_properties(struct request *rq, GError **error);
bool conductors_list(struct request *rq, GError **error);
bool conductors_show(struct request *rq, GError **error);

/* A collection that is always empty, an element that is never there, a write that is not offered. */
bool absent_list(struct request *rq, GError **error);
bool absent_element(struct request *rq, GError **error);
bool absent_write(struct request *rq, GError **error);
bool absent_volume(struct request *rq, GError **error);
bool shards_list(struct request *rq, GError **error);
