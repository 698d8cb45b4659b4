/* SQLite: write-ahead log, synced at each commit. */
#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"

#define BUSY_TIMEOUT_MS   10000
#define STATEMENTS_CACHED 256

struct db {
	sqlite3 *handle;
	char *path;
	GHashTable *statements; /* SQL text to sqlite3_stmt */
	unsigned running;       /* queries inside each other */
};

struct db_row {
	sqlite3_stmt *statement;
};

/* ---- errors */

struct meaning {
	int result; /* result code of SQLite, extended or primary; the first that fits counts */
	enum inox_error code;
	const char *words;
};

static const struct meaning meanings[] = {
	{SQLITE_CONSTRAINT_UNIQUE, INOX_ERROR_CONFLICT, "has that value already"},
	{SQLITE_CONSTRAINT_PRIMARYKEY, INOX_ERROR_CONFLICT, "has that value already"},
	{SQLITE_CONSTRAINT_FOREIGNKEY, INOX_ERROR_INVALID, "has no such parent row"},
	{SQLITE_FULL, INOX_ERROR_IO, "has no space left on its disk"},
	{SQLITE_CORRUPT, INOX_ERROR_IO, "is damaged"},
	{SQLITE_NOTADB, INOX_ERROR_IO, "is damaged or no database"},
	{SQLITE_READONLY_DIRECTORY, INOX_ERROR_DENIED, "is in a folder that cannot be written"},
	{SQLITE_READONLY, INOX_ERROR_DENIED, "cannot be written"},
	{SQLITE_PERM, INOX_ERROR_DENIED, "cannot be written"},
	{SQLITE_CANTOPEN, INOX_ERROR_IO, "cannot be opened, or its folder cannot be written"},
	{SQLITE_BUSY, INOX_ERROR_BUSY, "stayed locked by another process for 10 seconds"},
	{SQLITE_LOCKED, INOX_ERROR_BUSY, "is locked"},
	{SQLITE_IOERR, INOX_ERROR_IO, "cannot be read or written"},
};

static struct meaning meaning_of(int extended)
{
	for (size_t i = 0; i < G_N_ELEMENTS(meanings); i++)
		if (meanings[i].result == extended || meanings[i].result == (extended & 0xff))
			return meanings[i];
	return (struct meaning){extended, INOX_ERROR_IO, "refused a statement"};
}

static bool set_error(const struct db *d, GError **error)
{
	struct meaning m = meaning_of(sqlite3_extended_errcode(d->handle));
	int number = sqlite3_system_errno(d->handle);
	bool has_errno = number != 0 && (m.result == SQLITE_CANTOPEN || m.result == SQLITE_IOERR);

	return inox_error_set(error, m.code, "Database %s %s: %s%s%s.", d->path, m.words,
			      sqlite3_errmsg(d->handle), has_errno ? ": " : "",
			      has_errno ? g_strerror(number) : "");
}

/* ---- statements */

static void finalize(void *statement)
{
	sqlite3_finalize(statement);
}

/* Borrowed from the cache. */
static sqlite3_stmt *prepare(struct db *d, const char *sql, GError **error)
{
	sqlite3_stmt *statement = g_hash_table_lookup(d->statements, sql);

	if (statement)
		return statement;
	/* Many shapes of UPDATE and of lists exist; a full cache starts anew. */
	if (g_hash_table_size(d->statements) >= STATEMENTS_CACHED && d->running == 0)
		g_hash_table_remove_all(d->statements);
	if (sqlite3_prepare_v3(d->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
	    SQLITE_OK) {
		set_error(d, error);
		return NULL;
	}
	g_hash_table_insert(d->statements, g_strdup(sql), statement);
	return statement;
}

/* The values outlive the statement's run, so SQLite need not copy them. */
static int bind_value(sqlite3_stmt *statement, int index, const struct attr_value *value)
{
	switch (value->type) {
	case ATTR_VALUE_NULL: return sqlite3_bind_null(statement, index);
	case ATTR_VALUE_INTEGER: return sqlite3_bind_int64(statement, index, value->integer);
	case ATTR_VALUE_TEXT:
		return sqlite3_bind_text64(statement, index, value->text, value->length,
					   SQLITE_STATIC, SQLITE_UTF8);
	}
	g_assert_not_reached();
}

static bool step_all(struct db *d, sqlite3_stmt *statement, db_row_fn on_row, void *user,
		     GError **error)
{
	struct db_row row = {statement};
	int result;

	while ((result = sqlite3_step(statement)) == SQLITE_ROW)
		if (on_row && !on_row(&row, user, error))
			return false;
	return result == SQLITE_DONE || set_error(d, error);
}

bool db_query(struct db *d, const char *sql, const struct attr_value *values, unsigned count,
	      db_row_fn on_row, void *user, GError **error)
{
	sqlite3_stmt *statement = prepare(d, sql, error);

	if (!statement)
		return false;
	g_assert(!sqlite3_stmt_busy(statement));
	g_assert_cmpint(sqlite3_bind_parameter_count(statement), ==, (int)count);
	for (unsigned i = 0; i < count; i++)
		if (bind_value(statement, (int)i + 1, &values[i]) != SQLITE_OK)
			return set_error(d, error);
	d->running++;
	bool ok = step_all(d, statement, on_row, user, error);

	d->running--;
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return ok;
}

bool db_run(struct db *d, const char *sql, const struct attr_value *values, unsigned count,
	    int64_t *ret_changes, GError **error)
{
	if (!db_query(d, sql, values, count, NULL, NULL, error))
		return false;
	if (ret_changes)
		*ret_changes = sqlite3_changes64(d->handle);
	return true;
}

bool db_run_script(struct db *d, const char *sql, GError **error)
{
	return sqlite3_exec(d->handle, sql, NULL, NULL, NULL) == SQLITE_OK || set_error(d, error);
}

struct attr_value db_row_value(const struct db_row *row, unsigned column)
{
	int type = sqlite3_column_type(row->statement, (int)column);
	struct attr_value value = {.type = ATTR_VALUE_NULL};

	if (type == SQLITE_NULL)
		return value;
	if (type == SQLITE_INTEGER) {
		value.type = ATTR_VALUE_INTEGER;
		value.integer = sqlite3_column_int64(row->statement, (int)column);
		return value;
	}
	value.type = ATTR_VALUE_TEXT;
	value.text = (const char *)sqlite3_column_text(row->statement, (int)column);
	value.length = (size_t)sqlite3_column_bytes(row->statement, (int)column);
	if (!value.text) /* an empty blob, or out of memory */
		value.text = "";
	return value;
}

/* ---- transactions */

bool db_is_in_transaction(const struct db *d)
{
	return !sqlite3_get_autocommit(d->handle);
}

bool db_begin(struct db *d, GError **error)
{
	g_assert(!db_is_in_transaction(d));
	return db_run(d, "BEGIN IMMEDIATE", NULL, 0, NULL, error);
}

/* Some failures (a full disk) end the transaction by themselves; committing it is then an error too. */
bool db_commit(struct db *d, GError **error)
{
	if (db_run(d, "COMMIT", NULL, 0, NULL, error))
		return true;
	db_rollback(d);
	return false;
}

void db_rollback(struct db *d)
{
	if (db_is_in_transaction(d))
		sqlite3_exec(d->handle, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- opening */

static bool copy_value(const struct db_row *row, void *user, GError **error)
{
	(void)error;
	char **text = user;

	g_free(*text);
	*text = g_strdup((const char *)sqlite3_column_text(row->statement, 0));
	return true;
}

bool db_get_version(struct db *d, unsigned *ret_version, GError **error)
{
	g_autofree char *text = NULL;
	guint64 version = 0;

	if (!db_query(d, "PRAGMA user_version", NULL, 0, copy_value, &text, error))
		return false;
	if (!text || !g_ascii_string_to_unsigned(text, 10, 0, INT_MAX, &version, NULL))
		return inox_error_set(error, INOX_ERROR_IO, "Database %s has schema version %s.",
				      d->path, text ? text : "none");
	*ret_version = (unsigned)version;
	return true;
}

bool db_set_version(struct db *d, unsigned version, GError **error)
{
	g_autofree char *sql = g_strdup_printf("PRAGMA user_version = %u", version);

	return db_run_script(d, sql, error);
}

/* SQLite would create it readable for everybody, and open what it cannot write for reading. */
static bool make_file(const char *path, GError **error)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && errno != EEXIST)
		return inox_error_set_errno(error, errno, "Database %s cannot be created", path);
	/* Only a new file is closed here: closing another descriptor of a file that this process has
	 * open already would drop SQLite's locks on it. */
	if (fd >= 0)
		close(fd);
	return true;
}

static bool set_up(struct db *d, GError **error)
{
	g_autofree char *mode = NULL;

	sqlite3_extended_result_codes(d->handle, 1);
	sqlite3_busy_timeout(d->handle, BUSY_TIMEOUT_MS);
	sqlite3_db_config(d->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(d->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (sqlite3_db_readonly(d->handle, "main") == 1)
		return inox_error_set(error, INOX_ERROR_DENIED, "Database %s cannot be written.",
				      d->path);
	if (!db_query(d, "PRAGMA journal_mode = WAL", NULL, 0, copy_value, &mode, error))
		return false;
	if (g_strcmp0(mode, "wal") != 0)
		return inox_error_set(error, INOX_ERROR_IO,
				      "Database %s is on a file system without shared memory, "
				      "which the write-ahead log needs.",
				      d->path);
	return db_run_script(d,
			     "PRAGMA synchronous = FULL;"
			     "PRAGMA foreign_keys = ON;"
			     "PRAGMA journal_size_limit = 67108864;",
			     error);
}

struct db *db_open(const char *path, bool create, GError **error)
{
	g_autoptr(db) d = g_new0(struct db, 1);

	d->path = g_strdup(path);
	d->statements = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, finalize);
	if (create && !make_file(path, error))
		return NULL;
	if (sqlite3_open_v2(path, &d->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK) {
		set_error(d, error);
		return NULL;
	}
	return set_up(d, error) ? g_steal_pointer(&d) : NULL;
}

void db_free(struct db *d)
{
	if (!d)
		return;
	if (d->handle)
		db_rollback(d);
	g_hash_table_unref(d->statements);
	sqlite3_close(d->handle);
	g_free(d->path);
	g_free(d);
}

const char *db_peek_path(const struct db *d)
{
	return d->path;
}
