/* The store, in memory.  What is handed out are copies; what is committed survives a crash as the text
 * of its columns, and is read back through the same checks as a real row. */
#include <string.h>

#include "errors.h"
#include "sim.h"
#include "store.h"

int rows_find(const char *uuid)
{
	for (unsigned i = 0; i < sim->nodes; i++)
		if (sim->rows[i].n && strcmp(sim->rows[i].n->uuid.s, uuid) == 0)
			return (int)i;
	return -1;
}

struct node *rows_peek(unsigned index)
{
	return sim->rows[index].n;
}

void rows_add(unsigned index, struct node *n, struct port *p)
{
	sim->rows[index] = (struct sim_row){.n = n, .p = p};
}

void rows_end(void)
{
	for (unsigned i = 0; i < NODES_MOST; i++) {
		node_free(sim->rows[i].n);
		port_free(sim->rows[i].p);
	}
}

static struct node *through_text(const struct node *n)
{
	struct node *copy = node_new();

	for (unsigned a = 0; a < node_attrs.count; a++) {
		g_autofree char *text = NULL;
		g_autoptr(GError) error = NULL;
		struct attr_value value;

		if (!attr_to_value(&node_attrs, n, a, &value, &text, &error) ||
		    !attr_from_value(&node_attrs, copy, a, &value, &error))
			sim_broken("a row does not survive as text: %s", error->message);
	}
	return copy;
}

void rows_reload(void)
{
	for (unsigned i = 0; i < sim->nodes; i++) {
		struct node *n = sim->rows[i].n;

		if (!n)
			continue;
		sim->rows[i].n = through_text(n);
		for (unsigned a = 0; a < node_attrs.count; a++)
			if (!attr_is_equal(&node_attrs, n, sim->rows[i].n, a))
				sim_broken("%s is another one after a restart",
					   node_attrs.attrs[a].name);
		node_free(n);
	}
}

/* ---- transactions: what a row was before is kept until the end */

static void forget_saved(bool restore)
{
	for (unsigned i = 0; i < NODES_MOST; i++) {
		struct sim_row *saved = &sim->saved[i], *row = &sim->rows[i];

		if (!saved->n)
			continue;
		if (restore) {
			node_free(row->n);
			*row = *saved;
		} else {
			if (row->n)
				check_row(saved->n, row->n);
			node_free(saved->n);
			if (row->p != saved->p)
				port_free(saved->p);
		}
		*saved = (struct sim_row){.n = NULL};
	}
	sim->in_transaction = false;
}

static void save(unsigned index)
{
	if (!sim->saved[index].n)
		sim->saved[index] = sim->rows[index];
}

bool store_begin(struct store *s, GError **error)
{
	(void)s, (void)error;
	if (sim->in_transaction)
		sim_broken("a transaction inside a transaction");
	sim->in_transaction = true;
	return true;
}

static bool dies_now(void)
{
	if (!sim->in_api && sim->crash_in > 0 && --sim->crash_in == 0)
		sim->dead = true;
	return sim->dead && !sim->in_api;
}

bool store_commit(struct store *s, GError **error)
{
	(void)s, (void)error;
	/* A conductor that dies here does so before the commit, or right behind it. */
	bool lost = (sim->dead && !sim->in_api) || (dies_now() && sim_coin(500));

	forget_saved(lost);
	return true;
}

void store_rollback(struct store *s)
{
	(void)s;
	forget_saved(true);
}

/* ---- settings: the figures of dialers, which nothing here reads */

bool store_setting_set(struct store *s, const char *name, const char *value, GError **error)
{
	(void)s, (void)name, (void)value, (void)error;
	return true;
}

bool store_setting_get(struct store *s, const char *name, char **ret_value, GError **error)
{
	(void)s, (void)name, (void)error;
	*ret_value = NULL;
	return true;
}

/* ---- nodes */

/* Values are shared where nobody changes them in place: a third of the time goes here otherwise. */
static struct node *copy_node(const struct node *n)
{
	struct node *copy = g_memdup2(n, sizeof(*n));

	for (unsigned a = 0; a < node_attrs.count; a++) {
		void *field = (char *)copy + node_attrs.attrs[a].offset;
		enum attr_kind kind = node_attrs.attrs[a].kind;

		if (kind == ATTR_TEXT)
			*(char **)field = g_strdup(*(char **)field);
		else if (a == NODE_ATTR_driver_internal_info)
			*(json_t **)field = json_deep_copy(*(json_t **)field);
		else if (kind == ATTR_JSON || kind == ATTR_LIST)
			json_incref(*(json_t **)field);
	}
	return copy;
}

static bool not_found(GError **error, const char *ident)
{
	return inox_error_set(error, INOX_ERROR_NOT_FOUND, "Node %s could not be found.", ident);
}

struct node *store_node_get(struct store *s, const char *ident, GError **error)
{
	int i = rows_find(ident);

	(void)s;
	if (i >= 0)
		return copy_node(sim->rows[i].n);
	not_found(error, ident);
	return NULL;
}

bool store_node_update(struct store *s, struct node *n, const attr_set changed, GError **error)
{
	int i = rows_find(n->uuid.s);

	(void)s;
	if (i < 0)
		return not_found(error, n->uuid.s);
	if (attr_set_is_empty(changed))
		return true;
	if (!sim->in_transaction)
		sim_broken("a row is written outside a transaction");
	if (sim->rows[i].n->revision != n->revision)
		return inox_error_set(error, INOX_ERROR_CONFLICT, "the row's revision moved");
	save((unsigned)i);
	/* Looked at now and then only: it costs as much as all the rest. */
	for (unsigned a = 0; a < node_attrs.count && n->revision % 8 == 0; a++)
		if (!attr_set_has(changed, a) && a != NODE_ATTR_updated_at &&
		    !attr_is_equal(&node_attrs, n, sim->rows[i].n, a))
			sim_broken("%s was changed and not said to be", node_attrs.attrs[a].name);
	n->revision++;
	n->updated_at.us = sim->now;
	if (sim->rows[i].n != sim->saved[i].n)
		node_free(sim->rows[i].n);
	sim->rows[i].n = copy_node(n);
	return true;
}

bool store_node_delete(struct store *s, const char *uuid, GError **error)
{
	int i = rows_find(uuid);

	(void)s;
	if (i < 0)
		return not_found(error, uuid);
	save((unsigned)i);
	if (sim->rows[i].n != sim->saved[i].n)
		node_free(sim->rows[i].n);
	sim->rows[i] = (struct sim_row){.n = NULL};
	return true;
}

GPtrArray *store_node_list(struct store *s, const struct store_query *q, GError **error)
{
	GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)node_free);

	(void)s, (void)q, (void)error;
	for (unsigned i = 0; i < sim->nodes; i++)
		if (sim->rows[i].n)
			g_ptr_array_add(list, copy_node(sim->rows[i].n));
	return list;
}

GArray *store_nodes_in_motion(struct store *s, GError **error)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct moving_node));

	(void)s, (void)error;
	for (unsigned i = 0; i < sim->nodes; i++) {
		const struct node *n = sim->rows[i].n;

		if (n && json_object_size(n->flow) > 0) {
			struct moving_node m = {.uuid = n->uuid, .revision = n->revision};

			g_array_append_val(list, m);
		}
	}
	return list;
}

bool store_address_is_free(struct store *s, const char *address, const char *node_uuid,
			   GError **error)
{
	(void)s;
	for (unsigned i = 0; i < sim->nodes; i++) {
		const struct node *n = sim->rows[i].n;

		if (n && strcmp(n->uuid.s, node_uuid) != 0 &&
		    g_strcmp0(n->agent_address, address) == 0)
			return inox_error_set(error, INOX_ERROR_CONFLICT,
					      "the address %s belongs to node %s", address,
					      n->uuid.s);
	}
	return true;
}

/* ---- ports: one per node */

static struct port *copy_port(const struct port *p)
{
	struct port *copy = port_new();

	attrs_clear(&port_attrs, copy);
	attrs_copy(&port_attrs, p, copy);
	return copy;
}

struct port *store_port_get_by_mac(struct store *s, struct mac address, GError **error)
{
	(void)s;
	for (unsigned i = 0; i < sim->nodes; i++)
		if (sim->rows[i].p && mac_equal(sim->rows[i].p->address, address))
			return copy_port(sim->rows[i].p);
	inox_error_set(error, INOX_ERROR_NOT_FOUND, "there is no such port");
	return NULL;
}

GPtrArray *store_port_list(struct store *s, const struct store_query *q, GError **error)
{
	GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)port_free);
	const char *owner = json_string_value(q->filters[0].value);

	(void)s, (void)error;
	for (unsigned i = 0; i < sim->nodes; i++)
		if (sim->rows[i].p && strcmp(sim->rows[i].p->node_uuid.s, owner) == 0)
			g_ptr_array_add(list, copy_port(sim->rows[i].p));
	return list;
}

/* ---- what nobody in these worlds calls, and the handlers are linked with */

#define NOT_CALLED(prototype)           \
	prototype                       \
	{                               \
		g_assert_not_reached(); \
	}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
NOT_CALLED(bool store_node_insert(struct store *s, struct node *n, GError **error))
NOT_CALLED(GHashTable *store_node_counts(struct store *s, unsigned attr, GError **error))
NOT_CALLED(bool store_port_insert(struct store *s, struct port *p, GError **error))
NOT_CALLED(struct port *store_port_get(struct store *s, const char *uuid, GError **error))
NOT_CALLED(bool store_port_update(struct store *s, struct port *p, const attr_set c,
				  GError **error))
NOT_CALLED(bool store_port_delete(struct store *s, const char *uuid, GError **error))
#pragma GCC diagnostic pop
