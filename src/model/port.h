/* port.h: a port and its attributes, expanded from port.def. */
#pragma once

#include "node.h"

struct port {
#define ATTR(name, kind, flags, since, limit, doc) CTYPE_##kind name;
#include "port.def"
#undef ATTR
};

enum port_attr {
#define ATTR(name, kind, flags, since, limit, doc) PORT_ATTR_##name,
#include "port.def"
#undef ATTR
	PORT_ATTR_COUNT
};

extern const struct attr_table port_attrs;

struct port *port_new(void); /* pxe_enabled is true */
void port_free(struct port *p);

typedef struct port port;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(port, port_free)
