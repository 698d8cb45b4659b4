/* store.h: the rows.  SQLite behind it now (WAL, synchronous=FULL), numbered migrations.
 *
 * A store handle belongs to one thread and does not cross a fork.  Writes happen inside store_begin()
 * ... store_commit(); a transaction takes the write lock at once (BEGIN IMMEDIATE), so read-check-write
 * needs no retry.
 * Errors: NOT_FOUND, CONFLICT (unique value taken, or the row's revision moved), BUSY (lock not got in
 * 10 s), DENIED (not writable), IO (disk full, damaged file or row), LIMIT (database newer than this
 * program, or a value larger than its attribute may be), INVALID.
 */
#pragma once

#include "node.h"
#include "port.h"

struct store;

/* `connection` is "sqlite:///absolute/path".  `migrate`: make the file (mode 0600) if it is not there and
 * bring the schema up to date (one process does this at start); otherwise an older schema is
 * UNAVAILABLE.  Each error names the file. */
struct store *store_open(const char *connection, bool migrate, GError **error);
void store_free(struct store *s); /* rolls an open transaction back */

bool store_begin(struct store *s, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A commit that fails is rolled back. */
bool store_commit(struct store *s, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void store_rollback(struct store *s); /* harmless without a transaction */

/* ---- nodes */
/* Sets created_at; uuid must be set. CONFLICT sentences are the API's ("A node with UUID X already
 * exists.", "A node with name X already exists."). */
bool store_node_insert(struct store *s, struct node *n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* `ident` is a UUID or a name.  NOT_FOUND: "Node X could not be found." */
struct node *store_node_get(struct store *s, const char *ident, GError **error);
/* Writes the changed attributes if the row still has n->revision, then raises it; sets updated_at.  An
 * empty set writes nothing.  uuid, created_at, updated_at and revision are the store's own: their bits
 * are ignored.  After a rollback the object is no longer what the row is: read it again. */
bool store_node_update(struct store *s, struct node *n, const attr_set changed,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Deletes the node and its ports. */
bool store_node_delete(struct store *s, const char *uuid, GError **error) G_GNUC_WARN_UNUSED_RESULT;

enum store_match {
	STORE_EQUAL,    /* equals `value`, as attr_to_json gives it */
	STORE_ANY_OF,   /* equals one of the elements of `value`, an array */
	STORE_CONTAINS, /* `value` is a part of the text, in either case */
};

struct store_filter {
	unsigned attr;
	const json_t *value; /* NULL or JSON null: the attribute is null */
	bool negate;         /* the rest of the rows, those without a value included */
	enum store_match match;
};

struct store_query {
	const struct store_filter *filters;
	unsigned filter_count;
	int sort_attr; /* -1: order of creation */
	bool descending;
	const char *marker; /* UUID of the last object of the previous page; NULL: from the start */
	unsigned limit;     /* 0: none */
	const unsigned *attrs; /* columns to read, besides the UUID; NULL: all */
	unsigned attr_count;
};

/* Elements are struct node *, owned by the array.  NOT_FOUND if the marker is unknown. */
GPtrArray *store_node_list(struct store *s, const struct store_query *q, GError **error);
struct moving_node {
	struct uuid uuid;
	int64_t revision;
};

/* The nodes (struct moving_node) whose flow is not {}; the conductor's sweep and restart.  A row whose UUID is
 * damaged is logged and left out. */
GArray *store_nodes_in_motion(struct store *s, GError **error);
/* Number of nodes per value of a text or enum attribute: char * -> GUINT; "" for those without one. */
GHashTable *store_node_counts(struct store *s, unsigned attr, GError **error);
/* True if no other node has the address; else CONFLICT names the node that has it. */
bool store_address_is_free(struct store *s, const char *address, const char *node_uuid,
			   GError **error);

/* ---- ports */
/* INVALID if the port's node does not exist. */
bool store_port_insert(struct store *s, struct port *p, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct port *store_port_get(struct store *s, const char *uuid, GError **error);
struct port *store_port_get_by_mac(struct store *s, struct mac address, GError **error);
bool store_port_update(struct store *s, struct port *p, const attr_set changed,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_port_delete(struct store *s, const char *uuid, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GPtrArray *store_port_list(struct store *s, const struct store_query *q, GError **error);

/* ---- what the service itself remembers */
/* `*ret_value` is NULL if it was never set; the caller frees it. */
bool store_setting_get(struct store *s, const char *name, char **ret_value,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool store_setting_set(struct store *s, const char *name, const char *value,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct store store;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(store, store_free)
