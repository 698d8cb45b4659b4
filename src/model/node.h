/* node.h: a node and its attributes, expanded from node.def. */
#pragma once

#include "attr.h"
#include "states.h"

#define CTYPE_TEXT char *
#define CTYPE_UUID struct uuid
#define CTYPE_BOOL bool
#define CTYPE_TRI  int
#define CTYPE_ENUM int
#define CTYPE_INT  int64_t
#define CTYPE_TIME struct wall
#define CTYPE_JSON json_t *
#define CTYPE_LIST json_t *
#define CTYPE_MAC  struct mac

struct node {
#define ATTR(name, kind, flags, since, limit, doc) CTYPE_##kind name;
#include "node.def"
#undef ATTR
};

enum node_attr {
#define ATTR(name, kind, flags, since, limit, doc) NODE_ATTR_##name,
#include "node.def"
#undef ATTR
	NODE_ATTR_COUNT
};

extern const struct attr_table node_attrs;

struct node *node_new(void); /* every attribute has its default; uuid is unset */
struct node *node_dup(const struct node *n);
void node_free(struct node *n);

typedef struct node node;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(node, node_free)
