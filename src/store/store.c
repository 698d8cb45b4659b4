#include "store.h"

#include <string.h>

#include "errors.h"
#include "log.h"
#include "rows.h"
#include "schema.h"
#include "sql.h"

struct store {
	struct db *db;
};

/* ---- the two kinds of rows */

static bool refuse_node(const void *object, unsigned attr, GError **error)
{
	const struct node *n = object;

	if (attr == NODE_ATTR_name)
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "A node with name %s already exists.", n->name);
	if (attr == NODE_ATTR_instance_uuid)
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Instance %s is already associated with a node, it cannot be "
				      "associated with this other node %s",
				      n->instance_uuid.s, n->uuid.s);
	return inox_error_set(error, INOX_ERROR_CONFLICT, "A node with UUID %s already exists.",
			      n->uuid.s);
}

static bool refuse_port(const void *object, unsigned attr, GError **error)
{
	const struct port *p = object;
	char address[MAC_TEXT];

	mac_print(p->address, address);
	if (attr == PORT_ATTR_address)
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "A port with MAC address %s already exists.", address);
	if (attr == PORT_ATTR_name)
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "A port with name %s already exists.", p->name);
	return inox_error_set(error, INOX_ERROR_CONFLICT, "A port with UUID %s already exists.",
			      p->uuid.s);
}

static void destroy_node(void *object)
{
	node_free(object);
}

static void destroy_port(void *object)
{
	port_free(object);
}

static const unsigned node_unique[] = {NODE_ATTR_uuid, NODE_ATTR_name, NODE_ATTR_instance_uuid};
static const unsigned port_unique[] = {PORT_ATTR_uuid, PORT_ATTR_address, PORT_ATTR_name};

static const struct row_kind node_rows = {
	.table = &node_attrs,
	.title = "Node",
	.key = NODE_ATTR_uuid,
	.created_at = NODE_ATTR_created_at,
	.updated_at = NODE_ATTR_updated_at,
	.revision = NODE_ATTR_revision,
	.unique = node_unique,
	.unique_count = G_N_ELEMENTS(node_unique),
	.refuse = refuse_node,
	.destroy = destroy_node,
};

static const struct row_kind port_rows = {
	.table = &port_attrs,
	.title = "Port",
	.key = PORT_ATTR_uuid,
	.created_at = PORT_ATTR_created_at,
	.updated_at = PORT_ATTR_updated_at,
	.revision = PORT_ATTR_revision,
	.unique = port_unique,
	.unique_count = G_N_ELEMENTS(port_unique),
	.refuse = refuse_port,
	.destroy = destroy_port,
};

/* ---- opening, transactions */

struct store *store_open(const char *connection, bool migrate, GError **error)
{
	g_autoptr(store) s = g_new0(struct store, 1);

	if (!g_str_has_prefix(connection, "sqlite:///")) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "The database connection should be sqlite:///PATH.");
		return NULL;
	}
	s->db = db_open(connection + strlen("sqlite://"), migrate, error);
	if (!s->db)
		return NULL;
	if (!(migrate ? schema_migrate(s->db, error) : schema_check(s->db, error)))
		return NULL;
	return g_steal_pointer(&s);
}

void store_free(struct store *s)
{
	if (!s)
		return;
	db_free(s->db);
	g_free(s);
}

bool store_begin(struct store *s, GError **error)
{
	return db_begin(s->db, error);
}

bool store_commit(struct store *s, GError **error)
{
	return db_commit(s->db, error);
}

void store_rollback(struct store *s)
{
	db_rollback(s->db);
}

/* ---- nodes */

bool store_node_insert(struct store *s, struct node *n, GError **error)
{
	return row_insert(s->db, &node_rows, n, error);
}

struct node *store_node_get(struct store *s, const char *ident, GError **error)
{
	struct uuid uuid;

	if (uuid_parse(ident, &uuid, NULL))
		return row_get(s->db, &node_rows, NODE_ATTR_uuid, uuid.s, ident, error);
	return row_get(s->db, &node_rows, NODE_ATTR_name, ident, ident, error);
}

bool store_node_update(struct store *s, struct node *n, const attr_set changed, GError **error)
{
	return row_update(s->db, &node_rows, n, changed, error);
}

bool store_node_delete(struct store *s, const char *uuid, GError **error)
{
	return row_delete(s->db, &node_rows, uuid, error);
}

GPtrArray *store_node_list(struct store *s, const struct store_query *q, GError **error)
{
	return row_list(s->db, &node_rows, q, error);
}

static bool collect_text(const struct db_row *row, void *user, GError **error)
{
	(void)error;
	struct attr_value value = db_row_value(row, 0);

	if (value.type == ATTR_VALUE_TEXT)
		g_ptr_array_add(user, g_strndup(value.text, value.length));
	return true;
}

static bool collect_moving(const struct db_row *row, void *user, GError **error)
{
	struct attr_value value = db_row_value(row, 0);
	g_autofree char *text =
		value.type == ATTR_VALUE_TEXT ? g_strndup(value.text, value.length) : g_strdup("");
	struct moving_node m = {.revision = db_row_value(row, 1).integer};
	g_autoptr(GError) reason = NULL;

	(void)error;
	if (uuid_parse(text, &m.uuid, &reason))
		g_array_append_val((GArray *)user, m);
	else /* One damaged row does not keep the others from their work. */
		log_error(NULL, "row in table nodes is damaged", F_ERR(reason));
	return true;
}

GArray *store_nodes_in_motion(struct store *s, GError **error)
{
	g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(struct moving_node));

	if (!db_query(s->db, "SELECT uuid, revision FROM nodes WHERE flow <> '{}' ORDER BY id",
		      NULL, 0, collect_moving, nodes, error))
		return NULL;
	return g_steal_pointer(&nodes);
}

static bool collect_count(const struct db_row *row, void *user, GError **error)
{
	(void)error;
	struct attr_value value = db_row_value(row, 0);
	bool is_text = value.type == ATTR_VALUE_TEXT;
	char *text = is_text ? g_strndup(value.text, value.length) : g_strdup("");

	g_hash_table_insert(user, text, GUINT_TO_POINTER((unsigned)db_row_value(row, 1).integer));
	return true;
}

GHashTable *store_node_counts(struct store *s, unsigned attr, GError **error)
{
	g_autoptr(GHashTable) counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	const char *column = node_attrs.attrs[attr].name;
	g_autofree char *query =
		g_strdup_printf("SELECT %s, count(*) FROM nodes GROUP BY %s", column, column);

	if (!db_query(s->db, query, NULL, 0, collect_count, counts, error))
		return NULL;
	return g_steal_pointer(&counts);
}

bool store_address_is_free(struct store *s, const char *address, const char *node_uuid,
			   GError **error)
{
	g_autoptr(GPtrArray) holders = g_ptr_array_new_with_free_func(g_free);
	g_auto(sql) q = sql_start("SELECT uuid FROM nodes WHERE agent_address = ");

	sql_add_text(&q, address);
	sql_add(&q, " AND uuid <> ");
	sql_add_text(&q, node_uuid);
	if (!db_query(s->db, q.text->str, sql_peek_values(&q), q.values->len, collect_text, holders,
		      error))
		return false;
	if (holders->len == 0)
		return true;
	return inox_error_set(error, INOX_ERROR_CONFLICT, "Address %s is assigned to node %s.",
			      address, (const char *)g_ptr_array_index(holders, 0));
}

/* ---- ports */

static bool no_such_node(const struct port *p, GError **error)
{
	g_clear_error(error);
	return inox_error_set(error, INOX_ERROR_INVALID, "Node %s could not be found.",
			      p->node_uuid.s);
}

bool store_port_insert(struct store *s, struct port *p, GError **error)
{
	g_autoptr(GError) reason = NULL;

	if (row_insert(s->db, &port_rows, p, &reason))
		return true;
	/* The only foreign key. */
	if (g_error_matches(reason, INOX_ERROR, INOX_ERROR_INVALID))
		no_such_node(p, &reason);
	g_propagate_error(error, g_steal_pointer(&reason));
	return false;
}

struct port *store_port_get(struct store *s, const char *uuid, GError **error)
{
	struct uuid parsed;
	bool is_uuid = uuid_parse(uuid, &parsed, NULL);

	return row_get(s->db, &port_rows, PORT_ATTR_uuid, is_uuid ? parsed.s : uuid, uuid, error);
}

struct port *store_port_get_by_mac(struct store *s, struct mac address, GError **error)
{
	char text[MAC_TEXT];

	mac_print(address, text);
	return row_get(s->db, &port_rows, PORT_ATTR_address, text, text, error);
}

bool store_port_update(struct store *s, struct port *p, const attr_set changed, GError **error)
{
	g_autoptr(GError) reason = NULL;

	if (row_update(s->db, &port_rows, p, changed, &reason))
		return true;
	if (g_error_matches(reason, INOX_ERROR, INOX_ERROR_INVALID))
		no_such_node(p, &reason);
	g_propagate_error(error, g_steal_pointer(&reason));
	return false;
}

bool store_port_delete(struct store *s, const char *uuid, GError **error)
{
	return row_delete(s->db, &port_rows, uuid, error);
}

GPtrArray *store_port_list(struct store *s, const struct store_query *q, GError **error)
{
	return row_list(s->db, &port_rows, q, error);
}

/* ---- settings */

bool store_setting_get(struct store *s, const char *name, char **ret_value, GError **error)
{
	g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
	g_auto(sql) q = sql_start("SELECT value FROM settings WHERE name = ");

	sql_add_text(&q, name);
	if (!db_query(s->db, q.text->str, sql_peek_values(&q), q.values->len, collect_text, values,
		      error))
		return false;
	*ret_value = values->len > 0 ? g_ptr_array_steal_index(values, 0) : NULL;
	return true;
}

bool store_setting_set(struct store *s, const char *name, const char *value, GError **error)
{
	g_auto(sql) q = sql_start("INSERT INTO settings (name, value) VALUES (");

	sql_add_text(&q, name);
	sql_add(&q, ", ");
	sql_add_text(&q, value);
	sql_add(&q, ") ON CONFLICT (name) DO UPDATE SET value = excluded.value");
	return db_run(s->db, q.text->str, sql_peek_values(&q), q.values->len, NULL, error);
}
