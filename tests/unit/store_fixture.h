/* store_fixture.h: a store in a folder of its own, for the tests of the store. */
#pragma once

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "errors.h"
#include "jsons.h"
#include "store.h"

struct fixture {
	char *folder, *path, *connection;
	struct store *store;
};

static inline void fixture_set_up(struct fixture *f, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;

	(void)unused;
	f->folder = g_dir_make_tmp("inox-store-XXXXXX", NULL);
	f->path = g_build_filename(f->folder, "inox.sqlite", NULL);
	f->connection = g_strconcat("sqlite://", f->path, NULL);
	f->store = store_open(f->connection, true, &error);
	g_assert_no_error(error);
}

static inline void fixture_tear_down(struct fixture *f, gconstpointer unused)
{
	g_autoptr(GDir) dir = g_dir_open(f->folder, 0, NULL);
	const char *name;

	(void)unused;
	store_free(f->store);
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(f->folder, name, NULL);

		g_unlink(path);
	}
	g_rmdir(f->folder);
	g_free(f->folder);
	g_free(f->path);
	g_free(f->connection);
}

static inline struct node *fixture_node(const char *name)
{
	struct node *n = node_new();

	n->uuid = uuid_new();
	n->name = g_strdup(name);
	g_free(n->driver);
	n->driver = g_strdup("fake-hardware");
	return n;
}

static inline void fixture_insert(struct store *s, struct node *n)
{
	g_autoptr(GError) error = NULL;

	if (!store_node_insert(s, n, &error))
		g_error("insert: %s", error->message);
}

static inline void assert_failure(const GError *error, enum inox_error code, const char *sentence)
{
	g_assert_error(error, INOX_ERROR, (int)code);
	g_assert_cmpstr(error->message, ==, sentence);
}
