/* sql.h: a statement under construction: text from our own names, values as parameters. */
#pragma once

#include "attr.h"

struct sql {
	GString *text;
	GArray *values;   /* struct attr_value */
	GPtrArray *owned; /* texts that values point to */
};

struct sql sql_start(const char *text);
void sql_clear(struct sql *q);

void sql_add(struct sql *q, const char *text);
/* Adds the next parameter ($1, $2, ...).  The text of the value has to outlive the statement. */
void sql_add_value(struct sql *q, struct attr_value value);
void sql_add_text(struct sql *q, const char *text);
void sql_add_integer(struct sql *q, int64_t number);
/* Adds a text that the statement owns from now on. */
void sql_take_text(struct sql *q, char *text);
/* Adds an attribute of the object, which has to outlive the statement.  LIMIT if it is too large. */
bool sql_add_attr(struct sql *q, const struct attr_table *t, const void *object, unsigned attr,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;

const struct attr_value *sql_peek_values(const struct sql *q);

typedef struct sql sql;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(sql, sql_clear)
