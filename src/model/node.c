#include "node.h"

#include <stddef.h>

/* An ENUM attribute names its text functions; the other kinds have none. */
#define ENUM_TEXT_provision_state         provision_state_text
#define ENUM_TEXT_target_provision_state  provision_state_text
#define ENUM_PARSE_provision_state        provision_state_parse
#define ENUM_PARSE_target_provision_state provision_state_parse
#include "attr_row.h"

static const struct attr rows[NODE_ATTR_COUNT] = {
#define ATTR(name, kind, flags, since, limit, doc) \
	[NODE_ATTR_##name] = ATTR_ROW(struct node, name, kind, flags, since, limit, doc),
#include "node.def"
#undef ATTR
};

_Static_assert(NODE_ATTR_COUNT <= sizeof(attr_set) * 8, "a change set has one bit per attribute");

static void set_defaults(void *object)
{
	struct node *n = object;

	n->provision_state = STATE_ENROLL;
}

const struct attr_table node_attrs = {
	.table = "nodes",
	.noun = "node",
	.attrs = rows,
	.count = NODE_ATTR_COUNT,
	.size = sizeof(struct node),
	.set_defaults = set_defaults,
};

struct node *node_new(void)
{
	struct node *n = g_new(struct node, 1);

	attrs_init(&node_attrs, n);
	return n;
}

struct node *node_dup(const struct node *n)
{
	struct node *copy = g_new(struct node, 1);

	attrs_copy(&node_attrs, n, copy);
	return copy;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	attrs_clear(&node_attrs, n);
	g_free(n);
}
