#include "store_fixture.h"

#define NODES 1000

/* n0 to n999; every third without a resource class, the others in three classes. */
static void insert_many(struct fixture *f)
{
	static const char *const classes[] = {"gold", "silver", "b_onze"};

	g_assert_true(store_begin(f->store, NULL));
	for (unsigned i = 0; i < NODES; i++) {
		g_autofree char *name = g_strdup_printf("n%u", i);
		g_autoptr(node) n = fixture_node(name);

		n->maintenance = i % 10 == 0;
		n->provision_state = i % 2 ? STATE_AVAILABLE : STATE_ACTIVE;
		n->resource_class = i % 3 ? g_strdup(classes[i % 7 % 3]) : NULL;
		fixture_insert(f->store, n);
	}
	g_assert_true(store_commit(f->store, NULL));
}

/* Walks all pages; calls `check` for each pair of neighbours; returns how many nodes there were. */
typedef void (*check_fn)(const struct node *before, const struct node *after);

static unsigned walk(struct fixture *f, struct store_query q, check_fn check)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(node) last = NULL;
	unsigned pages = 0;

	for (;;) {
		g_autoptr(GError) error = NULL;

		q.marker = last ? last->uuid.s : NULL;
		g_autoptr(GPtrArray) page = store_node_list(f->store, &q, &error);
		g_assert_no_error(error);
		for (unsigned i = 0; i < page->len; i++) {
			struct node *n = g_ptr_array_index(page, i);

			g_assert_true(g_hash_table_add(seen, g_strdup(n->uuid.s)));
			if (last && check)
				check(last, n);
			node_free(last);
			last = node_dup(n);
		}
		pages++;
		g_assert_cmpuint(page->len, <=, q.limit);
		if (page->len < q.limit)
			break;
	}
	g_assert_cmpuint(pages, ==, g_hash_table_size(seen) / q.limit + 1);
	return g_hash_table_size(seen);
}

static void later(const struct node *before, const struct node *after)
{
	g_assert_cmpint(atoll(before->name + 1), <, atoll(after->name + 1));
}

static void earlier(const struct node *before, const struct node *after)
{
	later(after, before);
}

static void by_class(const struct node *before, const struct node *after)
{
	int order = g_strcmp0(before->resource_class, after->resource_class);

	g_assert_cmpint(order, <=, 0);
	if (order == 0)
		later(before, after);
}

static void by_class_down(const struct node *before, const struct node *after)
{
	by_class(after, before);
}

static void by_maintenance(const struct node *before, const struct node *after)
{
	g_assert_true(before->maintenance <= after->maintenance);
	if (before->maintenance == after->maintenance)
		later(before, after);
}

static void test_paging(struct fixture *f, gconstpointer unused)
{
	(void)unused;
	insert_many(f);
	struct store_query q = {.sort_attr = -1, .limit = 97};

	g_assert_cmpuint(walk(f, q, later), ==, NODES);
	q.descending = true;
	g_assert_cmpuint(walk(f, q, earlier), ==, NODES);
	q.sort_attr = NODE_ATTR_resource_class;
	g_assert_cmpuint(walk(f, q, by_class_down), ==, NODES);
	q.descending = false;
	g_assert_cmpuint(walk(f, q, by_class), ==, NODES);
	q.sort_attr = NODE_ATTR_maintenance;
	g_assert_cmpuint(walk(f, q, by_maintenance), ==, NODES);
	/* All of them empty: the order of creation decides alone. */
	q.sort_attr = NODE_ATTR_updated_at;
	g_assert_cmpuint(walk(f, q, later), ==, NODES);
	q.sort_attr = NODE_ATTR_owner;
	g_assert_cmpuint(walk(f, q, later), ==, NODES);
	/* The last page is full, so an empty one follows. */
	q = (struct store_query){.sort_attr = -1, .limit = 100};
	g_assert_cmpuint(walk(f, q, later), ==, NODES);
}

static unsigned count(struct fixture *f, const struct store_filter *filters, unsigned filter_count)
{
	g_autoptr(GError) error = NULL;
	struct store_query q = {.sort_attr = -1, .filters = filters, .filter_count = filter_count};
	g_autoptr(GPtrArray) found = store_node_list(f->store, &q, &error);

	g_assert_no_error(error);
	return found->len;
}

static unsigned count_one(struct fixture *f, unsigned attr, enum store_match match, bool negate,
			  const char *json)
{
	g_autoptr(json_t) value = json ? json_loads(json, JSON_DECODE_ANY, NULL) : NULL;
	struct store_filter filter = {
		.attr = attr, .value = value, .negate = negate, .match = match};

	return count(f, &filter, 1);
}

static void test_filters(struct fixture *f, gconstpointer unused)
{
	(void)unused;
	insert_many(f);
	g_assert_cmpuint(count_one(f, NODE_ATTR_name, STORE_EQUAL, false, "\"n7\""), ==, 1);
	g_assert_cmpuint(count_one(f, NODE_ATTR_maintenance, STORE_EQUAL, false, "true"), ==, 100);
	g_assert_cmpuint(count_one(f, NODE_ATTR_maintenance, STORE_EQUAL, true, "true"), ==, 900);
	g_assert_cmpuint(count_one(f, NODE_ATTR_provision_state, STORE_EQUAL, false, "\"active\""),
			 ==, 500);
	/* NULL: 334 of 1,000, by all three spellings. */
	g_assert_cmpuint(count_one(f, NODE_ATTR_resource_class, STORE_EQUAL, false, NULL), ==, 334);
	g_assert_cmpuint(count_one(f, NODE_ATTR_resource_class, STORE_EQUAL, false, "null"), ==,
			 334);
	g_assert_cmpuint(count_one(f, NODE_ATTR_resource_class, STORE_EQUAL, true, NULL), ==, 666);
	/* "Not gold" has those without a class, too. */
	unsigned gold = count_one(f, NODE_ATTR_resource_class, STORE_EQUAL, false, "\"gold\"");
	unsigned rest = count_one(f, NODE_ATTR_resource_class, STORE_EQUAL, true, "\"gold\"");
	g_assert_cmpuint(gold, >, 0);
	g_assert_cmpuint(gold + rest, ==, NODES);
	/* One of several. */
	unsigned silver = count_one(f, NODE_ATTR_resource_class, STORE_EQUAL, false, "\"silver\"");
	unsigned both = count_one(f, NODE_ATTR_resource_class, STORE_ANY_OF, false,
				  "[\"gold\", \"silver\"]");
	g_assert_cmpuint(both, ==, gold + silver);
	g_assert_cmpuint(count_one(f, NODE_ATTR_resource_class, STORE_ANY_OF, false, "[]"), ==, 0);
	g_assert_cmpuint(count_one(f, NODE_ATTR_resource_class, STORE_ANY_OF, true, "[]"), ==,
			 NODES);
	/* Part of a text; wild cards stand for themselves. */
	g_assert_cmpuint(count_one(f, NODE_ATTR_name, STORE_CONTAINS, false, "\"N99\""), ==, 11);
	g_assert_cmpuint(count_one(f, NODE_ATTR_name, STORE_CONTAINS, false, "\"n_9\""), ==, 0);
	g_assert_cmpuint(count_one(f, NODE_ATTR_name, STORE_CONTAINS, false, "\"%\""), ==, 0);
	g_assert_cmpuint(count_one(f, NODE_ATTR_name, STORE_CONTAINS, false, "\"\\\\\""), ==, 0);
	g_assert_cmpuint(count_one(f, NODE_ATTR_resource_class, STORE_CONTAINS, false, "\"b_o\""),
			 >, 0);
	/* Two filters are both to hold; and a value is data. */
	g_autoptr(json_t) yes = json_true(), active = json_string("active");
	struct store_filter two[] = {{.attr = NODE_ATTR_maintenance, .value = yes},
				     {.attr = NODE_ATTR_provision_state, .value = active}};
	g_assert_cmpuint(count(f, two, 2), ==, 100);
	g_assert_cmpuint(count_one(f, NODE_ATTR_owner, STORE_EQUAL, false, "\"' OR 1=1 --\""), ==,
			 0);
}

static void test_refusals(struct fixture *f, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) number = json_integer(5);
	struct store_filter wrong = {.attr = NODE_ATTR_name, .value = number};
	struct store_query q = {.sort_attr = -1, .marker = "99999999-9999-4999-8999-999999999999"};

	(void)unused;
	g_assert_null(store_node_list(f->store, &q, &error));
	assert_failure(error, INOX_ERROR_NOT_FOUND,
		       "Node 99999999-9999-4999-8999-999999999999 could not be found.");
	g_clear_error(&error);
	q = (struct store_query){.sort_attr = NODE_ATTR_extra};
	g_assert_null(store_node_list(f->store, &q, &error));
	assert_failure(error, INOX_ERROR_INVALID,
		       "The sort_key value extra is an invalid field for sorting");
	g_clear_error(&error);
	q = (struct store_query){.sort_attr = -1, .filters = &wrong, .filter_count = 1};
	g_assert_null(store_node_list(f->store, &q, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
}

static void test_columns(struct fixture *f, gconstpointer unused)
{
	static const unsigned attrs[] = {NODE_ATTR_name, NODE_ATTR_power_state};
	struct store_query q = {.sort_attr = -1, .attrs = attrs, .attr_count = 2};
	g_autoptr(node) n = fixture_node("n");
	attr_set changed = {0};

	(void)unused;
	n->description = g_strdup("long");
	fixture_insert(f->store, n);
	g_autoptr(GPtrArray) found = store_node_list(f->store, &q, NULL);
	struct node *part = g_ptr_array_index(found, 0);

	g_assert_cmpstr(part->name, ==, "n");
	g_assert_cmpstr(part->uuid.s, ==, n->uuid.s);
	g_assert_null(part->description);
	g_assert_true(json_is_object(part->extra));
	/* What was read in part cannot be written back by mistake. */
	attr_set_add(changed, NODE_ATTR_description);
	g_assert_false(store_node_update(f->store, part, changed, NULL));
}

static void test_port_list(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = fixture_node("n");
	g_autoptr(node) other = fixture_node("other");

	(void)unused;
	fixture_insert(f->store, n);
	fixture_insert(f->store, other);
	for (unsigned i = 0; i < 6; i++) {
		g_autoptr(port) p = port_new();

		p->uuid = uuid_new();
		p->address = (struct mac){{2, 0, 0, 0, 0, (uint8_t)(6 - i)}};
		p->node_uuid = i % 3 ? n->uuid : other->uuid;
		g_assert_true(store_port_insert(f->store, p, NULL));
	}
	g_autoptr(json_t) uuid = json_string(n->uuid.s);
	struct store_filter filter = {.attr = PORT_ATTR_node_uuid, .value = uuid};
	struct store_query q = {
		.sort_attr = PORT_ATTR_address, .filters = &filter, .filter_count = 1, .limit = 3};
	g_autoptr(GPtrArray) found = store_port_list(f->store, &q, NULL);
	g_assert_cmpuint(found->len, ==, 3);
	const struct port *first = g_ptr_array_index(found, 0);
	g_assert_cmpuint(first->address.b[5], ==, 1);
	q.marker = ((const struct port *)g_ptr_array_index(found, 2))->uuid.s;
	g_autoptr(GPtrArray) second = store_port_list(f->store, &q, NULL);
	g_assert_cmpuint(second->len, ==, 1);
	/* By MAC address, in either case. */
	g_autoptr(json_t) mac = json_string("02:00:00:00:00:06");
	filter = (struct store_filter){.attr = PORT_ATTR_address, .value = mac};
	q = (struct store_query){.sort_attr = -1, .filters = &filter, .filter_count = 1};
	g_autoptr(GPtrArray) by_mac = store_port_list(f->store, &q, NULL);
	g_assert_cmpuint(by_mac->len, ==, 1);
}

/* More shapes of statements than the cache holds. */
static void test_many_statements(struct fixture *f, gconstpointer unused)
{
	g_autoptr(node) n = fixture_node("n");

	(void)unused;
	fixture_insert(f->store, n);
	for (unsigned i = 1; i < 600; i++) {
		attr_set changed = {0};

		for (unsigned bit = 0; bit < 10; bit++)
			if (i >> bit & 1)
				attr_set_add(changed, NODE_ATTR_automated_clean + bit);
		g_assert_true(store_node_update(f->store, n, changed, NULL));
	}
	g_assert_cmpint(n->revision, ==, 600);
}

#define ADD(name, function) \
	g_test_add(name, struct fixture, NULL, fixture_set_up, function, fixture_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/list/pages hold each node once, in any order", test_paging);
	ADD("/list/filters select what they say", test_filters);
	ADD("/list/unknown markers and impossible orders are refused", test_refusals);
	ADD("/list/only the asked columns are read", test_columns);
	ADD("/list/ports are listed by node and by address", test_port_list);
	ADD("/list/any number of statement shapes is served", test_many_statements);
	return g_test_run();
}
