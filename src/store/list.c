/* Lists: filters, order and pages.
 *
 * A page begins behind its marker: rows are in the order (has a value, value, id), so that rows without
 * a value come first everywhere, and ties are in the order of creation. */
#include <string.h>

#include "errors.h"
#include "rows.h"
#include "sql.h"

/* Adds a filter's JSON value as the column would hold it. */
static bool add_json(struct sql *s, const struct row_kind *k, unsigned attr, const json_t *value,
		     GError **error)
{
	g_autofree void *scratch = g_malloc(k->table->size);
	struct attr_value column;
	char *made = NULL;

	attrs_init(k->table, scratch);
	bool ok = attr_from_json(k->table, scratch, attr, value, error) &&
		  attr_to_value(k->table, scratch, attr, &column, &made, error);

	if (ok && column.type == ATTR_VALUE_TEXT)
		sql_take_text(s, g_strndup(column.text, column.length));
	else if (ok)
		sql_add_value(s, column);
	g_free(made);
	attrs_clear(k->table, scratch);
	return ok;
}

/* The wild cards of LIKE in the text stand for themselves. */
static char *like_pattern(const char *text)
{
	GString *pattern = g_string_new("%");

	for (const char *p = text; *p; p++) {
		if (strchr("\\%_", *p))
			g_string_append_c(pattern, '\\');
		g_string_append_c(pattern, *p);
	}
	g_string_append_c(pattern, '%');
	return g_string_free(pattern, FALSE);
}

static bool add_any_of(struct sql *s, const struct row_kind *k, const struct store_filter *f,
		       GError **error)
{
	size_t count = json_array_size(f->value);

	if (count == 0) {
		sql_add(s, "0 = 1");
		return true;
	}
	sql_add(s, k->table->attrs[f->attr].name);
	sql_add(s, " IN (");
	for (size_t i = 0; i < count; i++) {
		sql_add(s, i > 0 ? ", " : "");
		if (!add_json(s, k, f->attr, json_array_get(f->value, i), error))
			return false;
	}
	sql_add(s, ")");
	return true;
}

static bool add_condition(struct sql *s, const struct row_kind *k, const struct store_filter *f,
			  GError **error)
{
	const char *name = k->table->attrs[f->attr].name;

	if (!f->value || json_is_null(f->value)) {
		sql_add(s, name);
		sql_add(s, " IS NULL");
		return true;
	}
	switch (f->match) {
	case STORE_EQUAL:
		sql_add(s, name);
		sql_add(s, " = ");
		return add_json(s, k, f->attr, f->value, error);
	case STORE_ANY_OF: return add_any_of(s, k, f, error);
	case STORE_CONTAINS:
		sql_add(s, name);
		sql_add(s, " LIKE ");
		sql_take_text(s, like_pattern(json_string_value(f->value)));
		sql_add(s, " ESCAPE '\\'");
		return true;
	}
	g_assert_not_reached();
}

/* In SQL a comparison with NULL is neither true nor false; in a filter it is false. */
static bool add_filter(struct sql *s, const struct row_kind *k, const struct store_filter *f,
		       GError **error)
{
	sql_add(s, f->negate ? "NOT COALESCE(" : "(");
	if (!add_condition(s, k, f, error))
		return false;
	sql_add(s, f->negate ? ", 0 = 1)" : ")");
	return true;
}

/* ---- order and marker */

static bool is_text_column(const struct attr *a)
{
	return strcmp(a->sqltype, "TEXT") == 0;
}

static bool sort_is_possible(const struct row_kind *k, int attr, GError **error)
{
	const struct attr *a = attr < 0 ? NULL : &k->table->attrs[attr];

	if (a && (a->kind == ATTR_JSON || a->kind == ATTR_LIST))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The sort_key value %s is an invalid field for sorting",
				      a->name);
	return true;
}

struct marker {
	int64_t id;
	struct attr_value value; /* of the column that is sorted by */
	char *text;
	bool found;
};

static bool read_marker(const struct db_row *row, void *user, GError **error)
{
	(void)error;
	struct marker *m = user;

	m->id = db_row_value(row, 0).integer;
	m->value = db_row_value(row, 1);
	if (m->value.type == ATTR_VALUE_TEXT) {
		m->text = g_strndup(m->value.text, m->value.length);
		m->value.text = m->text;
	}
	m->found = true;
	return true;
}

static bool find_marker(struct db *d, const struct row_kind *k, const struct store_query *q,
			struct marker *m, GError **error)
{
	g_auto(sql) s = sql_start("SELECT id, ");

	sql_add(&s, q->sort_attr < 0 ? "id" : k->table->attrs[q->sort_attr].name);
	sql_add(&s, " FROM ");
	sql_add(&s, k->table->table);
	sql_add(&s, " WHERE uuid = ");
	sql_add_text(&s, q->marker);
	if (!db_query(d, s.text->str, sql_peek_values(&s), s.values->len, read_marker, m, error))
		return false;
	if (!m->found)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "%s %.64s could not be found.",
				      k->title, q->marker);
	return true;
}

/* The columns of the order: rows without a value first, whatever the database's own habit is. */
static void add_sort_columns(struct sql *s, const struct attr *a, const char *direction)
{
	const char *empty = is_text_column(a) ? "''" : "0";

	g_string_append_printf(s->text,
			       "CASE WHEN %s IS NULL THEN 0 ELSE 1 END%s, COALESCE(%s, %s)%s, id%s",
			       a->name, direction, a->name, empty, direction, direction);
}

static void add_behind_marker(struct sql *s, const struct row_kind *k, const struct store_query *q,
			      const struct marker *m)
{
	const char *compare = q->descending ? " < " : " > ";

	if (q->sort_attr < 0) {
		sql_add(s, "id");
		sql_add(s, compare);
		sql_add_integer(s, m->id);
		return;
	}
	const struct attr *a = &k->table->attrs[q->sort_attr];

	sql_add(s, "(");
	add_sort_columns(s, a, "");
	sql_add(s, ")");
	sql_add(s, compare);
	sql_add(s, "(");
	sql_add_integer(s, m->value.type == ATTR_VALUE_NULL ? 0 : 1);
	sql_add(s, ", ");
	if (m->value.type != ATTR_VALUE_NULL)
		sql_add_value(s, m->value);
	else
		sql_add(s, is_text_column(a) ? "''" : "0");
	sql_add(s, ", ");
	sql_add_integer(s, m->id);
	sql_add(s, ")");
}

static void add_order(struct sql *s, const struct row_kind *k, const struct store_query *q)
{
	const char *direction = q->descending ? " DESC" : "";

	sql_add(s, " ORDER BY ");
	if (q->sort_attr < 0)
		g_string_append_printf(s->text, "id%s", direction);
	else
		add_sort_columns(s, &k->table->attrs[q->sort_attr], direction);
	if (q->limit > 0) {
		sql_add(s, " LIMIT ");
		sql_add_integer(s, q->limit);
	}
}

static bool add_conditions(struct sql *s, struct db *d, const struct row_kind *k,
			   const struct store_query *q, struct marker *m, GError **error)
{
	const char *word = " WHERE ";

	for (unsigned i = 0; i < q->filter_count; i++) {
		sql_add(s, word);
		word = " AND ";
		if (!add_filter(s, k, &q->filters[i], error))
			return false;
	}
	if (!q->marker)
		return true;
	if (!find_marker(d, k, q, m, error))
		return false;
	sql_add(s, word);
	add_behind_marker(s, k, q, m);
	return true;
}

GPtrArray *row_list(struct db *d, const struct row_kind *k, const struct store_query *q,
		    GError **error)
{
	g_autoptr(GArray) columns = row_columns(k, q->attrs, q->attr_count);
	struct marker m = {0};
	GPtrArray *objects = NULL;

	if (!sort_is_possible(k, q->sort_attr, error))
		return NULL;
	g_auto(sql) s = sql_start(NULL);
	row_add_select(&s, k, columns);
	if (add_conditions(&s, d, k, q, &m, error)) {
		add_order(&s, k, q);
		objects = row_read_objects(d, k, columns, &s, error);
	}
	g_free(m.text);
	return objects;
}
