/* rows.h: what nodes and ports have in common: statements made from the attribute lists. */
#pragma once

#include "db.h"
#include "sql.h"
#include "store.h"

struct row_kind {
	const struct attr_table *table;
	const char *title; /* "Node", for sentences */
	unsigned key, created_at, updated_at, revision;
	const unsigned *unique; /* attributes that no two rows share, the key first */
	unsigned unique_count;
	/* Sets the CONFLICT sentence for one of them. */
	bool (*refuse)(const void *object, unsigned attr, GError **error);
	void (*destroy)(void *object);
};

/* Sets created_at and the first revision. */
bool row_insert(struct db *d, const struct row_kind *k, void *object,
		GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The row whose attribute has this text; NOT_FOUND with the sentence about `shown`. */
void *row_get(struct db *d, const struct row_kind *k, unsigned attr, const char *text,
	      const char *shown, GError **error);
bool row_update(struct db *d, const struct row_kind *k, void *object, const attr_set changed,
		GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool row_delete(struct db *d, const struct row_kind *k, const char *uuid,
		GError **error) G_GNUC_WARN_UNUSED_RESULT;
GPtrArray *row_list(struct db *d, const struct row_kind *k, const struct store_query *q,
		    GError **error);

/* Parts of a SELECT, for row_list().  The columns to read (unsigned): the key, then the wanted
 * attributes, or all. */
GArray *row_columns(const struct row_kind *k, const unsigned *attrs, unsigned count);
void row_add_select(struct sql *s, const struct row_kind *k, const GArray *columns);
/* Runs it; the rows as objects. */
GPtrArray *row_read_objects(struct db *d, const struct row_kind *k, const GArray *columns,
			    const struct sql *s, GError **error);
