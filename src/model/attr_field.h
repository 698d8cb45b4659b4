/* attr_field.h: an attribute's place in its struct.  For the engine's own files. */
#pragma once

#include "attr.h"

static inline void *attr_field(const struct attr *a, void *object)
{
	return (char *)object + a->offset;
}

static inline const void *attr_peek_field(const struct attr *a, const void *object)
{
	return (const char *)object + a->offset;
}

/* The kind's empty value, into a field that holds nothing. */
void attr_init_field(const struct attr *a, void *field);
void attr_clear_field(const struct attr *a, void *field);
/* The attribute's default. */
void attr_reset_field(const struct attr_table *t, void *object, const struct attr *a);
