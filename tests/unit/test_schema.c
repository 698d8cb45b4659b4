/* The lists, the schema and the files of older schemas fit each other. */
#include "db.h"
#include "schema.h"
#include "store_fixture.h"

/* ---- golden file of the lists */

static void print_flags(GString *out, unsigned flags)
{
	static const char *const names[] = {"read", "create", "patch", "brief",   "null",
					    "mask", "seal",   "key",   "required"};
	const char *separator = "";

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		if (!(flags & 1u << i))
			continue;
		g_string_append_printf(out, "%s%s", separator, names[i]);
		separator = "+";
	}
	if (separator[0] == '\0')
		g_string_append_c(out, '-');
}

static void print_table(GString *out, const struct attr_table *t)
{
	static const char *const kinds[] = {
		[ATTR_TEXT] = "text", [ATTR_UUID] = "uuid", [ATTR_BOOL] = "bool",
		[ATTR_TRI] = "tri",   [ATTR_ENUM] = "enum", [ATTR_INT] = "int",
		[ATTR_TIME] = "time", [ATTR_JSON] = "json", [ATTR_LIST] = "list",
		[ATTR_MAC] = "mac"};

	for (unsigned i = 0; i < t->count; i++) {
		const struct attr *a = &t->attrs[i];

		g_string_append_printf(out, "%s %s %s ", t->noun, a->name, kinds[a->kind]);
		print_flags(out, a->flags);
		g_string_append_printf(out, " %u %zu\n", a->since, a->limit);
	}
}

/* With WRITE_GOLDEN set the file is written instead: the difference is for the review. */
static void test_golden(void)
{
	static const char path[] = TEST_DATA "/attributes.golden";
	g_autoptr(GString) printed = g_string_new("# resource name kind flags since limit\n");
	g_autofree char *golden = NULL;

	print_table(printed, &node_attrs);
	print_table(printed, &port_attrs);
	if (g_getenv("WRITE_GOLDEN"))
		g_assert_true(g_file_set_contents(path, printed->str, -1, NULL));
	g_assert_true(g_file_get_contents(path, &golden, NULL, NULL));
	g_auto(GStrv) is = g_strsplit(printed->str, "\n", -1);
	g_auto(GStrv) should = g_strsplit(golden, "\n", -1);

	for (unsigned i = 0; is[i] && should[i]; i++)
		g_assert_cmpstr(is[i], ==, should[i]);
	g_assert_cmpuint(g_strv_length(is), ==, g_strv_length(should));
}

/* ---- columns */

struct columns {
	const struct attr_table *table;
	unsigned seen;
};

/* Columns of PRAGMA table_info: number, name, type, NOT NULL, default, part of the primary key. */
static bool check_column(const struct db_row *row, void *user, GError **error)
{
	struct columns *c = user;
	g_autofree char *name = g_strdup(db_row_value(row, 1).text);
	g_autofree char *type = g_strdup(db_row_value(row, 2).text);
	int attr = attrs_find(c->table, name);

	(void)error;
	if (strcmp(name, "id") == 0)
		return true;
	g_assert_cmpint(attr, >=, 0);
	g_assert_cmpstr(type, ==, c->table->attrs[attr].sqltype);
	g_assert_cmpint(db_row_value(row, 3).integer, ==, !(c->table->attrs[attr].flags & A_NULL));
	c->seen++;
	return true;
}

static void check_columns(struct db *d, const struct attr_table *t, const char *pragma)
{
	struct columns c = {.table = t};
	g_autoptr(GError) error = NULL;

	g_assert_true(db_query(d, pragma, NULL, 0, check_column, &c, &error));
	g_assert_cmpuint(c.seen, ==, t->count);
}

static void test_columns(struct fixture *f, gconstpointer unused)
{
	g_autoptr(db) d = db_open(f->path, false, NULL);

	(void)unused;
	check_columns(d, &node_attrs, "PRAGMA table_info(nodes)");
	check_columns(d, &port_attrs, "PRAGMA table_info(ports)");
}

/* ---- versions */

static void run_script(const char *path, const char *script)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(db) d = db_open(path, true, &error);

	g_assert_no_error(error);
	g_assert_true(db_run_script(d, script, &error));
}

/* tests/data/schema/N.sql is the dump of a database of version N, made by the program of that time. */
static void test_old_dump(struct fixture *f, gconstpointer unused)
{
	static const char folder[] = TEST_DATA "/schema";
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *name;
	unsigned dumps = 0;

	(void)unused;
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(folder, name, NULL);
		g_autofree char *old = g_strdup_printf("%s/%s.sqlite", f->folder, name);
		g_autofree char *connection = g_strconcat("sqlite://", old, NULL);
		g_autofree char *script = NULL;
		g_autoptr(GError) error = NULL;

		g_assert_true(g_file_get_contents(path, &script, NULL, NULL));
		run_script(old, script);
		g_autoptr(store) s = store_open(connection, true, &error);
		g_assert_no_error(error);
		g_autoptr(GPtrArray) nodes =
			store_node_list(s, &(struct store_query){.sort_attr = -1}, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(nodes->len, ==, 2);
		g_autoptr(GPtrArray) ports =
			store_port_list(s, &(struct store_query){.sort_attr = -1}, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(ports->len, ==, 1);
		g_autoptr(node) n = store_node_get(s, "rack1-u07", &error);
		g_assert_no_error(error);
		g_assert_cmpint(n->provision_state, ==, STATE_DEPLOY_WAIT);
		g_assert_cmpstr(json_peek_string(n->flow, "phase"), ==, "steps");
		g_assert_cmpint(n->created_at.us, ==, INT64_C(1795290947438804));
		dumps++;
	}
	g_assert_cmpuint(dumps, ==, schema_step_count);
}

static void test_newer(struct fixture *f, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *sentence = g_strdup_printf(
		"Database %s has schema version 99, this program knows versions up to %u: use the "
		"newer program that wrote it.",
		f->path, schema_step_count);

	(void)unused;
	run_script(f->path, "PRAGMA user_version = 99");
	for (unsigned migrate = 0; migrate < 2; migrate++) {
		g_assert_null(store_open(f->connection, migrate, &error));
		assert_failure(error, INOX_ERROR_LIMIT, sentence);
		g_clear_error(&error);
	}
}

static void test_older(struct fixture *f, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *fresh = g_strdup_printf("%s/fresh.sqlite", f->folder);
	g_autofree char *connection = g_strconcat("sqlite://", fresh, NULL);
	g_autofree char *sentence = g_strdup_printf(
		"Database %s has schema version 0 and has not been brought to version %u.", fresh,
		schema_step_count);

	(void)unused;
	g_assert_null(store_open(connection, false, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_IO);
	g_assert_false(g_file_test(fresh, G_FILE_TEST_EXISTS));
	g_clear_error(&error);
	run_script(fresh, "PRAGMA user_version = 0");
	g_assert_null(store_open(connection, false, &error));
	assert_failure(error, INOX_ERROR_UNAVAILABLE, sentence);
	g_clear_error(&error);
	g_autoptr(store) migrated = store_open(connection, true, &error);
	g_assert_no_error(error);
	g_assert_nonnull(migrated);
	g_autoptr(store) second = store_open(connection, false, &error);
	g_assert_no_error(error);
	g_assert_nonnull(second);
}

/* A migration that fails half way leaves nothing behind. */
static void test_failed_migration(struct fixture *f, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_strdup_printf("%s/odd.sqlite", f->folder);
	g_autofree char *connection = g_strconcat("sqlite://", path, NULL);

	(void)unused;
	run_script(path, "CREATE TABLE ports (unexpected TEXT)");
	g_assert_null(store_open(connection, true, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_IO);
	g_assert_nonnull(strstr(error->message, path));
	g_assert_nonnull(strstr(error->message, "0001_"));
	run_script(path, "DROP TABLE ports");
	g_clear_error(&error);
	g_autoptr(store) s = store_open(connection, true, &error);
	g_assert_no_error(error);
	g_assert_nonnull(s);
}

/* ---- damage */

static void damage(struct fixture *f, const char *script)
{
	g_autoptr(db) d = db_open(f->path, false, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_true(db_run_script(d, script, &error));
}

static void assert_row_refused(struct fixture *f, const struct node *n, const char *script,
			       const char *format, const char *undo)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *sentence =
		g_strdup_printf("Table nodes, row %s, column %s", n->uuid.s, format);

	damage(f, script);
	g_assert_null(store_node_get(f->store, "n", &error));
	assert_failure(error, INOX_ERROR_IO, sentence);
	damage(f, undo);
}

static void test_bad_rows(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = fixture_node("n");

	(void)unused;
	fixture_insert(f->store, n);
	assert_row_refused(f, n, "UPDATE nodes SET provision_state = 'lost'",
			   "provision_state: Unknown value for provision_state: lost",
			   "UPDATE nodes SET provision_state = 'enroll'");
	assert_row_refused(f, n, "UPDATE nodes SET traits = '{}'",
			   "traits: Schema error for node: {} is not of type 'array', 'null'",
			   "UPDATE nodes SET traits = '[]'");
	assert_row_refused(f, n, "UPDATE nodes SET maintenance = 7",
			   "maintenance: maintenance is neither 0 nor 1",
			   "UPDATE nodes SET maintenance = 0");
	assert_row_refused(f, n, "UPDATE nodes SET instance_uuid = 'x'",
			   "instance_uuid: Expected UUID for instance_uuid: x",
			   "UPDATE nodes SET instance_uuid = NULL");
	/* A good row again. */
	g_autoptr(node) back = store_node_get(f->store, "n", NULL);
	g_assert_nonnull(back);
}

static void test_bad_row_in_motion(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) whole = fixture_node("whole");
	g_autoptr(node) broken = fixture_node("broken");

	(void)unused;
	json_object_set_new(whole->flow, "phase", json_string("prepare"));
	json_object_set_new(broken->flow, "phase", json_string("prepare"));
	fixture_insert(f->store, broken);
	fixture_insert(f->store, whole);
	damage(f, "UPDATE nodes SET uuid = 'x' WHERE name = 'broken'");
	g_autoptr(GArray) nodes = store_nodes_in_motion(f->store, NULL);
	g_assert_nonnull(nodes);
	g_assert_cmpuint(nodes->len, ==, 1);
	g_assert_cmpstr(g_array_index(nodes, struct moving_node, 0).uuid.s, ==, whole->uuid.s);
}

static void test_damaged_file(struct fixture *f, gconstpointer unused)
{
	g_autofree char *path = g_strdup_printf("%s/garbage", f->folder);
	g_autofree char *connection = g_strconcat("sqlite://", path, NULL);
	g_autofree char *garbage = g_strnfill(8192, 'x');
	g_autoptr(GError) error = NULL;
	g_autofree char *sentence = g_strdup_printf(
		"Database %s is damaged or no database: file is not a database.", path);

	(void)unused;
	g_assert_true(g_file_set_contents(path, garbage, -1, NULL));
	g_assert_null(store_open(connection, true, &error));
	assert_failure(error, INOX_ERROR_IO, sentence);
}

static void test_connection(void)
{
	static const char *const bad[] = {"", "sqlite:", "sqlite://relative", "mysql://x"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(store_open(bad[i], true, &error));
		assert_failure(error, INOX_ERROR_INVALID,
			       "The database connection should be sqlite:///PATH.");
	}
}

#define ADD(name, function) \
	g_test_add(name, struct fixture, NULL, fixture_set_up, function, fixture_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/schema/the lists are those of the golden file", test_golden);
	ADD("/schema/all migrations make the columns of the lists", test_columns);
	ADD("/schema/a dump of each version loads and migrates", test_old_dump);
	ADD("/schema/a newer database is refused in one sentence", test_newer);
	ADD("/schema/an older database waits for the one that migrates", test_older);
	ADD("/schema/a failed migration leaves nothing behind", test_failed_migration);
	ADD("/schema/a damaged row is refused by table, row and column", test_bad_rows);
	ADD("/schema/a damaged row does not hide the nodes in motion", test_bad_row_in_motion);
	ADD("/schema/a damaged file is refused by its path", test_damaged_file);
	g_test_add_func("/schema/other connections are refused", test_connection);
	return g_test_run();
}
