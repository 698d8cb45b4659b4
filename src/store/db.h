/* db.h: an SQL database, as the store sees it.  sqlite.c is the only file that knows which one.
 *
 * Statements have parameters $1, $2, ... in order; prepared ones are kept by their text.  Errors name
 * the database file: CONFLICT (a UNIQUE value is taken), INVALID (a foreign key leads nowhere), BUSY,
 * DENIED (not writable), IO (full, damaged, disk errors).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "attr.h"

struct db;
struct db_row; /* lives during the callback only */

/* `create`: make the file (mode 0600) if it is not there. */
struct db *db_open(const char *path, bool create, GError **error);
void db_free(struct db *d); /* rolls an open transaction back */
const char *db_peek_path(const struct db *d);

/* The transaction has the write lock from its beginning.  A commit that fails is rolled back. */
bool db_begin(struct db *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool db_commit(struct db *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void db_rollback(struct db *d); /* harmless without a transaction */
bool db_is_in_transaction(const struct db *d);

/* Schema version of the file, 0 when new. */
bool db_get_version(struct db *d, unsigned *ret_version, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool db_set_version(struct db *d, unsigned version, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Several statements, no parameters, no results. */
bool db_run_script(struct db *d, const char *sql, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One statement; `ret_changes` (may be NULL) is the number of rows it changed. */
bool db_run(struct db *d, const char *sql, const struct attr_value *values, unsigned count,
	    int64_t *ret_changes, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Called for each row; false ends the query, with the error set. */
typedef bool (*db_row_fn)(const struct db_row *row, void *user, GError **error);
bool db_query(struct db *d, const char *sql, const struct attr_value *values, unsigned count,
	      db_row_fn on_row, void *user, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Texts are borrowed until the callback returns. */
struct attr_value db_row_value(const struct db_row *row, unsigned column);

typedef struct db db;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(db, db_free)
