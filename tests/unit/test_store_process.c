/* Several processes, killed processes, and machines that refuse to write. */
#include "store_fixture.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db.h"

#define COUNT_TO 150

static void wait_for_success(pid_t child)
{
	int status;

	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

/* In a child: ends with 1 and a sentence, as GTest's assertions do not belong there. */
static void must(bool ok, const char *what, const GError *error)
{
	if (ok)
		return;
	fprintf(stderr, "# %s: %s\n", what, error ? error->message : "unexpected");
	_exit(1);
}

/* A handle does not cross a fork: SQLite keeps locks per process. */
static pid_t fork_without_store(struct fixture *f)
{
	store_free(g_steal_pointer(&f->store));
	return fork();
}

static void open_again(struct fixture *f)
{
	g_autoptr(GError) error = NULL;

	f->store = store_open(f->connection, false, &error);
	g_assert_no_error(error);
}

static struct store *open_in_child(const char *connection)
{
	g_autoptr(GError) error = NULL;
	struct store *s = store_open(connection, false, &error);

	must(s != NULL, "open", error);
	return s;
}

/* ---- two writers */

static void count_up(const char *connection)
{
	g_autoptr(store) s = open_in_child(connection);
	attr_set changed = {0};

	attr_set_add(changed, NODE_ATTR_boot_epoch);
	for (unsigned i = 0; i < COUNT_TO; i++) {
		g_autoptr(GError) error = NULL;

		must(store_begin(s, &error), "begin", error);
		g_autoptr(node) n = store_node_get(s, "counter", &error);
		must(n != NULL, "get", error);
		n->boot_epoch++;
		must(store_node_update(s, n, changed, &error), "update", error);
		must(store_commit(s, &error), "commit", error);
	}
}

static void test_two_writers(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = fixture_node("counter");
	pid_t children[2];

	(void)unused;
	fixture_insert(f->store, n);
	for (unsigned i = 0; i < 2; i++) {
		children[i] = fork_without_store(f);
		if (children[i] == 0) {
			count_up(f->connection);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < 2; i++)
		wait_for_success(children[i]);
	open_again(f);
	g_autoptr(node) back = store_node_get(f->store, "counter", NULL);
	g_assert_cmpint(back->boot_epoch, ==, 2 * COUNT_TO);
	g_assert_cmpint(back->revision, ==, 1 + 2 * COUNT_TO);
}

/* ---- killed in the middle */

static void insert_in_child(struct store *s, const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(node) n = fixture_node(name);

	must(store_node_insert(s, n, &error), "insert", error);
}

static void test_killed(struct fixture *f, gconstpointer unused)
{
	int status;
	pid_t child = fork_without_store(f);

	(void)unused;
	if (child == 0) {
		g_autoptr(store) s = open_in_child(f->connection);

		must(store_begin(s, NULL), "begin", NULL);
		insert_in_child(s, "kept");
		must(store_commit(s, NULL), "commit", NULL);
		must(store_begin(s, NULL), "begin", NULL);
		for (unsigned i = 0; i < 300; i++)
			insert_in_child(s, NULL);
		raise(SIGKILL);
	}
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFSIGNALED(status));
	open_again(f);
	g_autoptr(GPtrArray) nodes =
		store_node_list(f->store, &(struct store_query){.sort_attr = -1}, NULL);
	g_assert_cmpuint(nodes->len, ==, 1);
	/* The dead process holds no lock. */
	g_autoptr(node) after = fixture_node("after");
	fixture_insert(f->store, after);
}

/* Inserts a node and its port in one transaction each time, and tells how many are committed. */
static void insert_pairs(const char *connection, int told)
{
	g_autoptr(store) s = open_in_child(connection);

	for (uint32_t i = 1;; i++) {
		g_autoptr(node) n = fixture_node(NULL);
		g_autoptr(port) p = port_new();

		p->uuid = uuid_new();
		p->node_uuid = n->uuid;
		memcpy(&p->address.b[2], &i, sizeof(i));
		must(store_begin(s, NULL), "begin", NULL);
		must(store_node_insert(s, n, NULL), "insert", NULL);
		must(store_port_insert(s, p, NULL), "insert", NULL);
		must(store_commit(s, NULL), "commit", NULL);
		must(write(told, &i, sizeof(i)) == sizeof(i), "tell", NULL);
	}
}

static bool check_word(const struct db_row *row, void *user, GError **error)
{
	(void)error;
	g_assert_cmpstr(db_row_value(row, 0).text, ==, user);
	return true;
}

static void check_integrity(const char *path)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(db) d = db_open(path, false, &error);

	g_assert_no_error(error);
	g_assert_true(
		db_query(d, "PRAGMA integrity_check", NULL, 0, check_word, (char[]){"ok"}, &error));
}

static void test_killed_anywhere(struct fixture *f, gconstpointer unused)
{
	int told[2];
	uint32_t committed = 0;
	struct store_query all = {.sort_attr = -1};

	(void)unused;
	g_assert_cmpint(pipe(told), ==, 0);
	pid_t child = fork_without_store(f);
	if (child == 0) {
		close(told[0]);
		insert_pairs(f->connection, told[1]);
	}
	close(told[1]);
	while (committed < 40)
		g_assert_cmpint(read(told[0], &committed, sizeof(committed)), ==,
				sizeof(committed));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	while (read(told[0], &committed, sizeof(committed)) == sizeof(committed))
		;
	close(told[0]);
	open_again(f);
	g_autoptr(GPtrArray) nodes = store_node_list(f->store, &all, NULL);
	g_autoptr(GPtrArray) ports = store_port_list(f->store, &all, NULL);

	/* The last commit may have been done and not told. */
	g_assert_cmpuint(nodes->len, >=, committed);
	g_assert_cmpuint(nodes->len, <=, committed + 1);
	g_assert_cmpuint(ports->len, ==, nodes->len);
	check_integrity(f->path);
}

/* ---- places that cannot be written */

#define NOBODY 65534

/* Root may write everywhere, so a child tries it as nobody. */
static void refused_as_nobody(const char *connection, const char *path, enum inox_error code)
{
	g_autoptr(GError) error = NULL;

	if (geteuid() == 0)
		must(setresuid(NOBODY, NOBODY, NOBODY) == 0, "setresuid", NULL);
	must(store_open(connection, true, &error) == NULL, "opened all the same", NULL);
	must(error->code == (int)code && strstr(error->message, path) != NULL, "sentence", error);
	_exit(0);
}

static void assert_refused_as_nobody(const char *connection, const char *path, enum inox_error code)
{
	pid_t child = fork();

	if (child == 0)
		refused_as_nobody(connection, path, code);
	wait_for_success(child);
}

static void test_not_writable(struct fixture *f, gconstpointer unused)
{
	g_autofree char *fresh = g_build_filename(f->folder, "fresh.sqlite", NULL);
	g_autofree char *connection = g_strconcat("sqlite://", fresh, NULL);

	(void)unused;
	/* A read-only folder without a database. */
	g_chmod(f->folder, 0555);
	assert_refused_as_nobody(connection, fresh, INOX_ERROR_DENIED);
	/* A database that only others may write; one whose folder takes no log. */
	store_free(g_steal_pointer(&f->store));
	g_chmod(f->path, 0444);
	assert_refused_as_nobody(f->connection, f->path, INOX_ERROR_DENIED);
	g_chmod(f->path, 0666);
	assert_refused_as_nobody(f->connection, f->path, INOX_ERROR_DENIED);
	g_chmod(f->folder, 0755);
}

static void fill_disk(const char *folder)
{
	g_autofree char *connection = g_strdup_printf("sqlite://%s/inox.sqlite", folder);
	g_autofree char *text = g_strnfill(30000, 'x');
	g_autoptr(GError) error = NULL;
	g_autoptr(store) s = store_open(connection, true, &error);
	unsigned kept = 0;

	must(s != NULL, "open", error);
	while (!error) {
		g_autoptr(node) n = fixture_node(NULL);

		must(kept < 1000, "the disk is never full", NULL);
		json_object_set_new(n->extra, "x", json_string(text));
		if (store_begin(s, &error) && store_node_insert(s, n, &error) &&
		    store_commit(s, &error))
			kept++;
	}
	store_rollback(s);
	must(error->code == INOX_ERROR_IO, "code", error);
	must(strstr(error->message, connection + strlen("sqlite://")) != NULL, "path", error);
	must(strstr(error->message, "no space left") != NULL, "sentence", error);
	g_clear_error(&error);
	/* What was committed is there, and can be read with the disk full. */
	g_autoptr(GPtrArray) nodes =
		store_node_list(s, &(struct store_query){.sort_attr = -1}, &error);
	must(nodes && nodes->len == kept, "rows", error);
	_exit(0);
}

static void test_disk_full(void)
{
	g_autofree char *folder = g_dir_make_tmp("inox-full-XXXXXX", NULL);
	pid_t child = fork();
	int status;

	if (child == 0) {
		/* The mount is seen by nobody else and ends with the child. */
		if (unshare(CLONE_NEWNS) != 0 ||
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		    mount("none", folder, "tmpfs", 0, "size=2m") != 0)
			_exit(77);
		fill_disk(folder);
	}
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_rmdir(folder);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		g_test_skip("needs the right to mount");
		return;
	}
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

#define ADD(name, function) \
	g_test_add(name, struct fixture, NULL, fixture_set_up, function, fixture_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/process/two writers lose nothing", test_two_writers);
	ADD("/process/a transaction dies with its process", test_killed);
	ADD("/process/killed anywhere it leaves whole transactions only", test_killed_anywhere);
	ADD("/process/what cannot be written is refused by its path", test_not_writable);
	g_test_add_func("/process/a full disk is one sentence and loses nothing", test_disk_full);
	return g_test_run();
}
