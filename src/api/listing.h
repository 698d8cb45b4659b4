/* listing.h: GET of a collection: paging, sorting, filters, fields, the "next" link. */
#pragma once

#include "attributes.h"

enum filter_kind {
	FILTER_TEXT,     /* equal */
	FILTER_UUID,     /* equal; must be a UUID */
	FILTER_MAC,      /* equal; must be a MAC address */
	FILTER_BOOL,     /* equal */
	FILTER_IS_SET,   /* true: not null, false: null */
	FILTER_STATE,    /* a provisioning state */
	FILTER_FAULT,    /* one of the known faults */
	FILTER_NODE,     /* UUID or name of a node; unknown is NOT_FOUND */
	FILTER_CONTAINS, /* substring */
	FILTER_ANY_OF,   /* equal to one of a comma list */
	FILTER_EITHER,   /* equal to this attribute or the next filter's */
	FILTER_GROUP, /* a comma list that holds this conductor's group; otherwise nothing matches */
	FILTER_HOST,  /* equal to this conductor's name; otherwise nothing matches */
};

struct filter_rule {
	const char *argument;
	enum filter_kind kind;
	unsigned attr;
	unsigned since;      /* microversion; older requests get 406 */
	unsigned other;      /* FILTER_EITHER: the second attribute */
	const char *too_old; /* what older requests are told; NULL: the common sentence */
};

struct collection {
	const char *plural; /* "nodes": key of the envelope, and path */
	const struct attr_table *table;
	const struct filter_rule *filters;
	unsigned filter_count;
	const char *further_fields; /* names in `fields` that are no attributes */
	GPtrArray *(*list)(struct store *s, const struct store_query *q, GError **error);
	/* A new reference.  `fields` NULL: by `flags`. */
	json_t *(*render)(const struct request *rq, const void *object, unsigned flags,
			  char **fields);
	unsigned uuid_attr;
};

/* Answers the request.  `path` is the collection's path as in links ("nodes", "nodes/U/ports");
 * `fixed` (may be NULL) are further filters; `detail` asks for whole objects. */
bool listing_reply(struct request *rq, const struct collection *c, const char *path,
		   const struct store_filter *fixed, unsigned fixed_count, bool detail,
		   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The `fields` argument of a single object; *ret_fields is NULL without one. */
bool listing_parse_fields(const struct request *rq, const struct collection *c, char ***ret_fields,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
