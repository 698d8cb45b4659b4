#include "rows.h"

#include <string.h>

#include "errors.h"
#include "log.h"
#include "sql.h"

/* ---- reading rows */

struct reading {
	const struct row_kind *kind;
	const unsigned *attrs; /* of the columns, the key first */
	unsigned count;
	GPtrArray *objects;
};

/* A row that our own checks refuse was damaged or edited by hand: say where. */
static bool refuse_row(const struct reading *r, const struct db_row *row, unsigned attr,
		       GError **error)
{
	struct attr_value key = db_row_value(row, 0);
	g_autofree char *uuid = key.type == ATTR_VALUE_TEXT
					? log_clean_text(key.text, key.length, UUID_TEXT)
					: g_strdup("without a key");
	g_autoptr(GError) reason = g_steal_pointer(error);

	return inox_error_set(error, INOX_ERROR_IO, "Table %s, row %s, column %s: %s",
			      r->kind->table->table, uuid, r->kind->table->attrs[attr].name,
			      reason->message);
}

static bool read_row(const struct db_row *row, void *user, GError **error)
{
	struct reading *r = user;
	const struct attr_table *t = r->kind->table;
	g_autoptr(GError) reason = NULL;
	void *object = g_malloc(t->size);

	attrs_init(t, object);
	g_ptr_array_add(r->objects, object);
	for (unsigned i = 0; i < r->count; i++) {
		struct attr_value value = db_row_value(row, i);

		if (attr_from_value(t, object, r->attrs[i], &value, &reason))
			continue;
		refuse_row(r, row, r->attrs[i], &reason);
		g_propagate_error(error, g_steal_pointer(&reason));
		return false;
	}
	return true;
}

GArray *row_columns(const struct row_kind *k, const unsigned *attrs, unsigned count)
{
	GArray *columns = g_array_new(FALSE, FALSE, sizeof(unsigned));

	g_array_append_val(columns, k->key);
	for (unsigned i = 0; i < (attrs ? count : k->table->count); i++) {
		unsigned attr = attrs ? attrs[i] : i;

		if (attr != k->key)
			g_array_append_val(columns, attr);
	}
	return columns;
}

void row_add_select(struct sql *s, const struct row_kind *k, const GArray *columns)
{
	for (unsigned i = 0; i < columns->len; i++) {
		sql_add(s, i == 0 ? "SELECT " : ", ");
		sql_add(s, k->table->attrs[g_array_index(columns, unsigned, i)].name);
	}
	sql_add(s, " FROM ");
	sql_add(s, k->table->table);
}

GPtrArray *row_read_objects(struct db *d, const struct row_kind *k, const GArray *columns,
			    const struct sql *s, GError **error)
{
	g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func(k->destroy);
	struct reading r = {k, (const unsigned *)(const void *)columns->data, columns->len,
			    objects};

	if (!db_query(d, s->text->str, sql_peek_values(s), s->values->len, read_row, &r, error))
		return NULL;
	return g_steal_pointer(&objects);
}

static bool not_found(const struct row_kind *k, const char *shown, GError **error)
{
	g_autofree char *clean = log_clean_text(shown, strlen(shown), 255);

	return inox_error_set(error, INOX_ERROR_NOT_FOUND, "%s %s could not be found.", k->title,
			      clean);
}

void *row_get(struct db *d, const struct row_kind *k, unsigned attr, const char *text,
	      const char *shown, GError **error)
{
	g_autoptr(GArray) columns = row_columns(k, NULL, 0);
	g_auto(sql) s = sql_start(NULL);

	row_add_select(&s, k, columns);
	sql_add(&s, " WHERE ");
	sql_add(&s, k->table->attrs[attr].name);
	sql_add(&s, " = ");
	sql_add_text(&s, text);
	g_autoptr(GPtrArray) found = row_read_objects(d, k, columns, &s, error);

	if (!found)
		return NULL;
	if (found->len == 0) {
		not_found(k, shown, error);
		return NULL;
	}
	return g_ptr_array_steal_index(found, 0);
}

/* ---- conflicts */

static bool note_row(const struct db_row *row, void *user, GError **error)
{
	(void)row;
	(void)error;
	*(bool *)user = true;
	return true;
}

/* True if another row has the object's value of a unique attribute. */
static bool is_taken(struct db *d, const struct row_kind *k, const void *object, unsigned attr)
{
	bool taken = false;
	g_auto(sql) s = sql_start("SELECT 1 FROM ");

	sql_add(&s, k->table->table);
	sql_add(&s, " WHERE ");
	sql_add(&s, k->table->attrs[attr].name);
	sql_add(&s, " = ");
	if (!sql_add_attr(&s, k->table, object, attr, NULL))
		return false;
	if (attr != k->key) {
		sql_add(&s, " AND uuid <> ");
		if (!sql_add_attr(&s, k->table, object, k->key, NULL))
			return false;
	}
	return db_query(d, s.text->str, sql_peek_values(&s), s.values->len, note_row, &taken,
			NULL) &&
	       taken;
}

/* The database refused a write for a value that another row has: finds out which, for the sentence.
 * `for_insert`: the key itself may be taken. */
static void explain_conflict(struct db *d, const struct row_kind *k, const void *object,
			     bool for_insert, GError **error)
{
	g_autoptr(GError) original = g_steal_pointer(error);

	for (unsigned i = for_insert ? 0 : 1; i < k->unique_count; i++) {
		if (is_taken(d, k, object, k->unique[i])) {
			k->refuse(object, k->unique[i], error);
			return;
		}
	}
	*error = g_steal_pointer(&original);
}

/* Runs an INSERT or UPDATE. */
static bool write_row(struct db *d, const struct row_kind *k, const void *object,
		      const struct sql *s, bool for_insert, int64_t *ret_changes, GError **error)
{
	g_autoptr(GError) reason = NULL;

	if (db_run(d, s->text->str, sql_peek_values(s), s->values->len, ret_changes, &reason))
		return true;
	if (g_error_matches(reason, INOX_ERROR, INOX_ERROR_CONFLICT))
		explain_conflict(d, k, object, for_insert, &reason);
	g_propagate_error(error, g_steal_pointer(&reason));
	return false;
}

/* ---- writing rows */

static void *field(const struct row_kind *k, void *object, unsigned attr)
{
	return (char *)object + k->table->attrs[attr].offset;
}

static bool insert_as_is(struct db *d, const struct row_kind *k, const void *object, GError **error)
{
	const struct attr_table *t = k->table;
	g_auto(sql) s = sql_start("INSERT INTO ");

	sql_add(&s, t->table);
	for (unsigned i = 0; i < t->count; i++) {
		sql_add(&s, i == 0 ? " (" : ", ");
		sql_add(&s, t->attrs[i].name);
	}
	for (unsigned i = 0; i < t->count; i++) {
		sql_add(&s, i == 0 ? ") VALUES (" : ", ");
		if (!sql_add_attr(&s, t, object, i, error))
			return false;
	}
	sql_add(&s, ")");
	return write_row(d, k, object, &s, true, NULL, error);
}

bool row_insert(struct db *d, const struct row_kind *k, void *object, GError **error)
{
	struct wall *created_at = field(k, object, k->created_at);
	struct wall *updated_at = field(k, object, k->updated_at);
	int64_t *revision = field(k, object, k->revision);
	struct wall old_created_at = *created_at, old_updated_at = *updated_at;
	int64_t old_revision = *revision;

	g_assert(uuid_is_set(field(k, object, k->key)));
	*created_at = wall_now();
	*updated_at = (struct wall){0};
	*revision = 1;
	if (insert_as_is(d, k, object, error))
		return true;
	*created_at = old_created_at;
	*updated_at = old_updated_at;
	*revision = old_revision;
	return false;
}

/* Nothing was updated: the row is gone, or somebody else wrote it. */
static bool refuse_update(struct db *d, const struct row_kind *k, const void *object,
			  GError **error)
{
	const struct uuid *key =
		(const void *)((const char *)object + k->table->attrs[k->key].offset);

	if (!is_taken(d, k, object, k->key))
		return not_found(k, key->s, error);
	return inox_error_set(error, INOX_ERROR_CONFLICT,
			      "%s %s was changed by another request in the meantime.", k->title,
			      key->s);
}

/* The store's own columns are not the caller's to set. */
static bool is_callers(const struct row_kind *k, unsigned attr)
{
	return attr != k->key && attr != k->created_at && attr != k->updated_at &&
	       attr != k->revision;
}

bool row_update(struct db *d, const struct row_kind *k, void *object, const attr_set changed,
		GError **error)
{
	const struct attr_table *t = k->table;
	int64_t *revision = field(k, object, k->revision);
	struct wall now = wall_now();
	int64_t changes = 0;

	if (attr_set_is_empty(changed))
		return true;
	g_auto(sql) s = sql_start("UPDATE ");
	sql_add(&s, t->table);
	sql_add(&s, " SET revision = revision + 1, updated_at = ");
	sql_add_integer(&s, now.us);
	for (unsigned i = 0; i < t->count; i++) {
		if (!attr_set_has(changed, i) || !is_callers(k, i))
			continue;
		sql_add(&s, ", ");
		sql_add(&s, t->attrs[i].name);
		sql_add(&s, " = ");
		if (!sql_add_attr(&s, t, object, i, error))
			return false;
	}
	sql_add(&s, " WHERE uuid = ");
	sql_add_text(&s, ((const struct uuid *)field(k, object, k->key))->s);
	sql_add(&s, " AND revision = ");
	sql_add_integer(&s, *revision);
	if (!write_row(d, k, object, &s, false, &changes, error))
		return false;
	if (changes == 0)
		return refuse_update(d, k, object, error);
	++*revision;
	*(struct wall *)field(k, object, k->updated_at) = now;
	return true;
}

bool row_delete(struct db *d, const struct row_kind *k, const char *uuid, GError **error)
{
	int64_t changes = 0;
	g_auto(sql) s = sql_start("DELETE FROM ");

	sql_add(&s, k->table->table);
	sql_add(&s, " WHERE uuid = ");
	sql_add_text(&s, uuid);
	if (!db_run(d, s.text->str, sql_peek_values(&s), s.values->len, &changes, error))
		return false;
	return changes > 0 || not_found(k, uuid, error);
}
