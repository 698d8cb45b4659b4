/* What the store costs on top of SQLite: updates with their commits, a page of a thousand nodes, and one
 * whole node, each beside the bare calls of the library that move as many bytes. */
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "clocks.h"
#include "store.h"

#define NODES   1000
#define UPDATES 500
#define PAGES   50
#define GETS    5000

static void must(bool ok, const GError *error)
{
	if (!ok)
		g_error("%s", error ? error->message : "SQLite");
}

static double seconds_since(struct mono start)
{
	return (double)(mono_now().us - start.us) / 1e6;
}

static void fill(struct node *n, unsigned number)
{
	n->uuid = uuid_new();
	n->name = g_strdup_printf("node-%u", number);
	g_free(n->driver);
	n->driver = g_strdup("redfish");
	n->power_state = g_strdup("power on");
	json_object_set_new(n->driver_info, "redfish_address", json_string("https://10.0.0.5"));
	json_object_set_new(n->driver_info, "redfish_username", json_string("admin"));
	json_object_set_new(n->properties, "cpu_arch", json_string("x86_64"));
	json_object_set_new(n->flow, "phase", json_string("steps"));
}

/* ---- the store */

static void insert_nodes(struct store *s)
{
	g_autoptr(GError) error = NULL;

	must(store_begin(s, &error), error);
	for (unsigned i = 0; i < NODES; i++) {
		g_autoptr(node) n = node_new();

		fill(n, i);
		must(store_node_insert(s, n, &error), error);
	}
	must(store_commit(s, &error), error);
}

/* As the conductor does it: read the row, change it, commit. */
static double store_updates(struct store *s)
{
	struct mono start = mono_now();
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	attr_set_add(changed, NODE_ATTR_flow);
	attr_set_add(changed, NODE_ATTR_provision_state);
	for (unsigned i = 0; i < UPDATES; i++) {
		g_autofree char *name = g_strdup_printf("node-%u", i);

		must(store_begin(s, &error), error);
		g_autoptr(node) n = store_node_get(s, name, &error);
		must(n != NULL, error);
		json_object_set_new(n->flow, "step", json_integer(i));
		must(store_node_update(s, n, changed, &error), error);
		must(store_commit(s, &error), error);
	}
	return seconds_since(start);
}

static double store_pages(struct store *s)
{
	static const unsigned brief[] = {NODE_ATTR_uuid,        NODE_ATTR_instance_uuid,
					 NODE_ATTR_maintenance, NODE_ATTR_name,
					 NODE_ATTR_power_state, NODE_ATTR_provision_state};
	struct store_query q = {
		.sort_attr = -1, .limit = NODES, .attrs = brief, .attr_count = G_N_ELEMENTS(brief)};
	struct mono start = mono_now();
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < PAGES; i++) {
		g_autoptr(GPtrArray) page = store_node_list(s, &q, &error);

		must(page && page->len == NODES, error);
	}
	return seconds_since(start);
}

static double store_gets(struct store *s)
{
	struct mono start = mono_now();
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < GETS; i++) {
		g_autofree char *name = g_strdup_printf("node-%u", i % NODES);
		g_autoptr(node) n = store_node_get(s, name, &error);

		must(n != NULL, error);
	}
	return seconds_since(start);
}

/* ---- bare SQLite */

static void run(sqlite3 *handle, const char *sql)
{
	must(sqlite3_exec(handle, sql, NULL, NULL, NULL) == SQLITE_OK, NULL);
}

/* An INSERT of a row as large as a node's, with its commit. */
static double bare_inserts(sqlite3 *handle)
{
	struct mono start = mono_now();
	g_autofree char *text = g_strnfill(700, 'x');
	sqlite3_stmt *insert = NULL;

	must(sqlite3_prepare_v2(handle, "INSERT INTO bare (text) VALUES (?1)", -1, &insert, NULL) ==
		     SQLITE_OK,
	     NULL);
	for (unsigned i = 0; i < UPDATES; i++) {
		run(handle, "BEGIN IMMEDIATE");
		sqlite3_bind_text(insert, 1, text, -1, SQLITE_STATIC);
		must(sqlite3_step(insert) == SQLITE_DONE, NULL);
		sqlite3_reset(insert);
		run(handle, "COMMIT");
	}
	sqlite3_finalize(insert);
	return seconds_since(start);
}

/* Copies `columns` texts of each row that the statement gives, `rounds` times. */
static double bare_reads(sqlite3 *handle, const char *sql, unsigned columns, unsigned rounds)
{
	struct mono start = mono_now();
	sqlite3_stmt *statement = NULL;

	must(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) == SQLITE_OK, NULL);
	for (unsigned i = 0; i < rounds; i++) {
		sqlite3_bind_int(statement, 1, (int)(i % NODES) + 1);
		while (sqlite3_step(statement) == SQLITE_ROW)
			for (unsigned c = 0; c < columns; c++)
				g_free(g_strdup(
					(const char *)sqlite3_column_text(statement, (int)c)));
		sqlite3_reset(statement);
	}
	sqlite3_finalize(statement);
	return seconds_since(start);
}

static void measure(const char *path)
{
	g_autofree char *connection = g_strconcat("sqlite://", path, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(store) s = store_open(connection, true, &error);
	sqlite3 *handle = NULL;

	must(s != NULL, error);
	must(sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK, NULL);
	run(handle,
	    "PRAGMA synchronous = FULL; CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)");
	insert_nodes(s);
	double ours = store_updates(s), bare = bare_inserts(handle);

	printf("store: %.0f updates/s with commit; bare SQLite inserts %.0f/s; ratio %.2f\n",
	       UPDATES / ours, UPDATES / bare, ours / bare);
	ours = store_pages(s);
	bare = bare_reads(handle,
			  "SELECT uuid, instance_uuid, maintenance, name, power_state, "
			  "provision_state FROM nodes WHERE ?1 ORDER BY id",
			  6, PAGES);
	printf("store: list of 1000 nodes %.2f ms; bare SQLite %.2f ms; ratio %.2f\n",
	       ours / PAGES * 1000, bare / PAGES * 1000, ours / bare);
	ours = store_gets(s);
	bare = bare_reads(handle, "SELECT * FROM nodes WHERE id = ?1", NODE_ATTR_COUNT + 1, GETS);
	printf("store: one whole node %.1f us; bare SQLite %.1f us; ratio %.2f\n",
	       ours / GETS * 1e6, bare / GETS * 1e6, ours / bare);
	sqlite3_close(handle);
}

int main(int argc, char **argv)
{
	/* A folder on the disk to measure, or one of our own. */
	g_autofree char *own = argc > 1 ? NULL : g_dir_make_tmp("inox-bench-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(own ? own : argv[1], "bench.sqlite", NULL);
	static const char *const endings[] = {"", "-wal", "-shm"};

	measure(path);
	for (size_t i = 0; i < G_N_ELEMENTS(endings); i++) {
		g_autofree char *file = g_strconcat(path, endings[i], NULL);

		g_unlink(file);
	}
	if (own)
		g_rmdir(own);
	return 0;
}
