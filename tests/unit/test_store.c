#include "store_fixture.h"

static struct port *make_port(const struct node *n, unsigned number)
{
	struct port *p = port_new();

	p->uuid = uuid_new();
	p->node_uuid = n->uuid;
	p->address = (struct mac){{0x52, 0x54, 0, 0, (uint8_t)(number >> 8), (uint8_t)number}};
	return p;
}

static void fill_every_attribute(struct node *n)
{
	for (unsigned i = 0; i < node_attrs.count; i++) {
		const struct attr *a = &node_attrs.attrs[i];
		g_autoptr(json_t) value = NULL;

		switch (a->kind) {
		case ATTR_TEXT: value = json_string("t\xc3\xa9xt"); break;
		case ATTR_UUID: value = json_string("6f1c0ae4-0000-4000-8000-0123456789ab"); break;
		case ATTR_BOOL:
		case ATTR_TRI: value = json_true(); break;
		case ATTR_ENUM: value = json_string("clean wait"); break;
		case ATTR_INT: value = json_integer(7); break;
		case ATTR_TIME: value = json_string("2026-11-21T19:55:47.438804+00:00"); break;
		case ATTR_JSON: value = json_pack("{s:[i,f,n]}", "k", 1, 0.1); break;
		case ATTR_LIST: value = json_pack("[s]", "T"); break;
		case ATTR_MAC: value = json_string("52:54:00:00:00:01"); break;
		}
		g_assert_true(attr_from_json(&node_attrs, n, i, value, NULL));
	}
}

static void assert_equal_nodes(const struct node *a, const struct node *b)
{
	for (unsigned i = 0; i < node_attrs.count; i++)
		if (!attr_is_equal(&node_attrs, a, b, i))
			g_error("attribute %s differs", node_attrs.attrs[i].name);
}

static void test_round_trip(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = node_new();
	g_autoptr(node) full = node_new();
	g_autoptr(GError) error = NULL;
	struct wall before = wall_now();

	(void)unused;
	n->uuid = uuid_new();
	fixture_insert(f->store, n);
	g_assert_cmpint(n->created_at.us, >=, before.us);
	g_assert_cmpint(n->revision, ==, 1);
	g_autoptr(node) back = store_node_get(f->store, n->uuid.s, &error);
	g_assert_no_error(error);
	assert_equal_nodes(n, back);

	fill_every_attribute(full);
	fixture_insert(f->store, full);
	g_autofree char *upper = g_ascii_strup(full->uuid.s, -1);
	g_autoptr(node) by_uuid = store_node_get(f->store, upper, &error);
	g_assert_no_error(error);
	assert_equal_nodes(full, by_uuid);
	g_autoptr(node) by_name = store_node_get(f->store, full->name, &error);
	g_assert_no_error(error);
	assert_equal_nodes(full, by_name);
}

static void test_file_mode(struct fixture *f, gconstpointer unused)
{
	g_autofree char *wal = g_strconcat(f->path, "-wal", NULL);
	struct stat st;

	(void)unused;
	g_assert_true(g_stat(f->path, &st) == 0 && (st.st_mode & 0777) == 0600);
	g_assert_true(g_stat(wal, &st) == 0 && (st.st_mode & 0777) == 0600);
}

static void test_not_found(struct fixture *f, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;

	(void)unused;
	g_assert_null(store_node_get(f->store, "nope", &error));
	assert_failure(error, INOX_ERROR_NOT_FOUND, "Node nope could not be found.");
	g_clear_error(&error);
	g_assert_null(store_port_get(f->store, "99999999-9999-4999-8999-999999999999", &error));
	assert_failure(error, INOX_ERROR_NOT_FOUND,
		       "Port 99999999-9999-4999-8999-999999999999 could not be found.");
	g_clear_error(&error);
	g_assert_false(store_node_delete(f->store, "nope", &error));
	assert_failure(error, INOX_ERROR_NOT_FOUND, "Node nope could not be found.");
	g_clear_error(&error);
	/* A name is data, never SQL. */
	g_assert_null(store_node_get(f->store, "' OR 1=1 --", &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
}

static void test_unique(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) first = fixture_node("node-1");
	g_autoptr(node) second = fixture_node("node-2");
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	(void)unused;
	first->instance_uuid = uuid_new();
	fixture_insert(f->store, first);
	fixture_insert(f->store, second);
	g_autoptr(node) third = node_dup(first);
	g_autofree char *same_uuid =
		g_strdup_printf("A node with UUID %s already exists.", first->uuid.s);
	g_assert_false(store_node_insert(f->store, third, &error));
	assert_failure(error, INOX_ERROR_CONFLICT, same_uuid);
	g_clear_error(&error);
	third->uuid = uuid_new();
	g_assert_false(store_node_insert(f->store, third, &error));
	assert_failure(error, INOX_ERROR_CONFLICT, "A node with name node-1 already exists.");
	g_clear_error(&error);
	g_free(third->name);
	third->name = NULL;
	g_autofree char *instance = g_strdup_printf(
		"Instance %s is already associated with a node, it cannot be associated with "
		"this other node %s",
		first->instance_uuid.s, third->uuid.s);
	g_assert_false(store_node_insert(f->store, third, &error));
	assert_failure(error, INOX_ERROR_CONFLICT, instance);
	g_clear_error(&error);

	g_free(second->name);
	second->name = g_strdup("node-1");
	attr_set_add(changed, NODE_ATTR_name);
	g_assert_false(store_node_update(f->store, second, changed, &error));
	assert_failure(error, INOX_ERROR_CONFLICT, "A node with name node-1 already exists.");
	/* Two nodes without a name do not clash. */
	third->instance_uuid = (struct uuid){""};
	fixture_insert(f->store, third);
	g_autoptr(node) fourth = fixture_node(NULL);
	fixture_insert(f->store, fourth);
}

static void test_revision(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = fixture_node("n");
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	(void)unused;
	fixture_insert(f->store, n);
	g_autoptr(node) mine = store_node_get(f->store, "n", NULL);
	g_autoptr(node) theirs = store_node_get(f->store, "n", NULL);
	attr_set_add(changed, NODE_ATTR_power_state);
	mine->power_state = g_strdup("power on");
	g_assert_true(store_node_update(f->store, mine, changed, NULL));
	g_assert_cmpint(mine->revision, ==, 2);
	g_assert_cmpint(mine->updated_at.us, >=, mine->created_at.us);
	theirs->power_state = g_strdup("power off");
	g_autofree char *sentence = g_strdup_printf(
		"Node %s was changed by another request in the meantime.", n->uuid.s);
	g_assert_false(store_node_update(f->store, theirs, changed, &error));
	assert_failure(error, INOX_ERROR_CONFLICT, sentence);
	g_clear_error(&error);
	g_autoptr(node) back = store_node_get(f->store, "n", NULL);
	g_assert_cmpstr(back->power_state, ==, "power on");
	assert_equal_nodes(back, mine);
	/* Only what is in the set is written. */
	g_free(mine->description);
	mine->description = g_strdup("not in the set");
	g_assert_true(store_node_update(f->store, mine, changed, NULL));
	g_autoptr(node) again = store_node_get(f->store, "n", NULL);
	g_assert_null(again->description);
	/* An update of a deleted node. */
	g_assert_true(store_node_delete(f->store, n->uuid.s, NULL));
	g_assert_false(store_node_update(f->store, mine, changed, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
}

static void test_transactions(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = fixture_node("n");

	(void)unused;
	g_assert_true(store_begin(f->store, NULL));
	fixture_insert(f->store, n);
	store_rollback(f->store);
	store_rollback(f->store);
	g_assert_null(store_node_get(f->store, "n", NULL));
	g_assert_true(store_begin(f->store, NULL));
	fixture_insert(f->store, n);
	/* A refused write leaves the transaction usable. */
	g_autoptr(node) twin = fixture_node("n");
	g_assert_false(store_node_insert(f->store, twin, NULL));
	g_assert_true(store_commit(f->store, NULL));
	g_autoptr(node) back = store_node_get(f->store, "n", NULL);
	g_assert_nonnull(back);
}

static void test_ports(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = fixture_node("n");
	g_autoptr(port) p = make_port(n, 1);
	g_autoptr(port) clash = make_port(n, 1);
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	(void)unused;
	g_autofree char *no_node = g_strdup_printf("Node %s could not be found.", n->uuid.s);
	g_assert_false(store_port_insert(f->store, p, &error));
	assert_failure(error, INOX_ERROR_INVALID, no_node);
	g_clear_error(&error);
	fixture_insert(f->store, n);
	g_assert_true(store_port_insert(f->store, p, NULL));
	g_assert_false(store_port_insert(f->store, clash, &error));
	assert_failure(error, INOX_ERROR_CONFLICT,
		       "A port with MAC address 52:54:00:00:00:01 already exists.");
	g_clear_error(&error);
	g_autoptr(port) by_mac = store_port_get_by_mac(f->store, p->address, NULL);
	g_assert_true(by_mac->pxe_enabled);
	by_mac->pxe_enabled = false;
	attr_set_add(changed, PORT_ATTR_pxe_enabled);
	g_assert_true(store_port_update(f->store, by_mac, changed, NULL));
	g_autoptr(port) back = store_port_get(f->store, p->uuid.s, NULL);
	g_assert_false(back->pxe_enabled);
	by_mac->node_uuid = uuid_new();
	attr_set_add(changed, PORT_ATTR_node_uuid);
	g_assert_false(store_port_update(f->store, by_mac, changed, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	g_clear_error(&error);
	/* A node takes its ports with it. */
	g_assert_true(store_node_delete(f->store, n->uuid.s, NULL));
	g_assert_null(store_port_get(f->store, p->uuid.s, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
}

static void test_motion_and_addresses(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) resting = fixture_node("resting");
	g_autoptr(node) moving = fixture_node("moving");
	g_autoptr(GError) error = NULL;

	(void)unused;
	json_object_set_new(moving->flow, "phase", json_string("prepare"));
	moving->agent_address = g_strdup("10.77.2.5");
	fixture_insert(f->store, resting);
	fixture_insert(f->store, moving);
	g_autoptr(GArray) nodes = store_nodes_in_motion(f->store, NULL);
	g_assert_cmpuint(nodes->len, ==, 1);
	g_assert_cmpstr(g_array_index(nodes, struct moving_node, 0).uuid.s, ==, moving->uuid.s);
	g_assert_cmpint(g_array_index(nodes, struct moving_node, 0).revision, ==, 1);
	g_assert_true(store_address_is_free(f->store, "10.77.2.6", resting->uuid.s, NULL));
	g_assert_true(store_address_is_free(f->store, "10.77.2.5", moving->uuid.s, NULL));
	g_autofree char *sentence =
		g_strdup_printf("Address 10.77.2.5 is assigned to node %s.", moving->uuid.s);
	g_assert_false(store_address_is_free(f->store, "10.77.2.5", resting->uuid.s, &error));
	assert_failure(error, INOX_ERROR_CONFLICT, sentence);
}

static void test_settings(struct fixture *f, gconstpointer unused)
{
	g_autofree char *none = NULL, *value = NULL;

	(void)unused;
	g_assert_true(store_setting_get(f->store, "a", &none, NULL));
	g_assert_null(none);
	g_assert_true(store_setting_set(f->store, "a", "1", NULL));
	g_assert_true(store_setting_set(f->store, "a", "2", NULL));
	g_assert_true(store_setting_get(f->store, "a", &value, NULL));
	g_assert_cmpstr(value, ==, "2");
}

static void test_large_values(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = fixture_node("n");
	g_autofree char *text = g_strnfill(70000, 'x');
	g_autoptr(GError) error = NULL;

	(void)unused;
	json_object_set_new(n->clean_step, "x", json_string(text));
	g_assert_false(store_node_insert(f->store, n, &error));
	assert_failure(error, INOX_ERROR_LIMIT, "clean_step is larger than 65536 bytes");
	g_assert_cmpint(n->revision, ==, 0);
	json_object_clear(n->clean_step);
	n->config_drive = g_strnfill(8 * 1024 * 1024, 'A');
	fixture_insert(f->store, n);
	g_autoptr(node) back = store_node_get(f->store, "n", NULL);
	g_assert_cmpstr(back->config_drive, ==, n->config_drive);
}

#define ADD(name, function) \
	g_test_add(name, struct fixture, NULL, fixture_set_up, function, fixture_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/store/every attribute of a node survives the row", test_round_trip);
	ADD("/store/its files are for nobody else", test_file_mode);
	ADD("/store/what is not there is not found, whatever its name", test_not_found);
	ADD("/store/unique values conflict with the API's sentences", test_unique);
	ADD("/store/an update names the revision it was read at", test_revision);
	ADD("/store/a transaction is all or nothing", test_transactions);
	ADD("/store/ports belong to a node and go with it", test_ports);
	ADD("/store/nodes in motion and assigned addresses are found", test_motion_and_addresses);
	ADD("/store/settings are remembered", test_settings);
	ADD("/store/a value that could not be read again is not written", test_large_values);
	return g_test_run();
}
