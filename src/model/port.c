#include "port.h"

#include <stddef.h>

#include "attr_row.h"

static const struct attr rows[PORT_ATTR_COUNT] = {
#define ATTR(name, kind, flags, since, limit, doc) \
	[PORT_ATTR_##name] = ATTR_ROW(struct port, name, kind, flags, since, limit, doc),
#include "port.def"
#undef ATTR
};

_Static_assert(PORT_ATTR_COUNT <= sizeof(attr_set) * 8, "a change set has one bit per attribute");

static void set_defaults(void *object)
{
	struct port *p = object;

	p->pxe_enabled = true;
}

const struct attr_table port_attrs = {
	.table = "ports",
	.noun = "port",
	.attrs = rows,
	.count = PORT_ATTR_COUNT,
	.size = sizeof(struct port),
	.set_defaults = set_defaults,
};

struct port *port_new(void)
{
	struct port *p = g_new(struct port, 1);

	attrs_init(&port_attrs, p);
	return p;
}

void port_free(struct port *p)
{
	if (!p)
		return;
	attrs_clear(&port_attrs, p);
	g_free(p);
}
