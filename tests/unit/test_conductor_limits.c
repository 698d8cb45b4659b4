/* The conductor: what is refused, and what ends. */
#include <string.h>

#include "address.h"
#include "conductor_fixture.h"
#include "errors.h"
#include "media_call.h"

static void test_pool(struct world *w, gconstpointer data)
{
	g_autoptr(node) one = world_get(w), other = node_new();
	struct address_pool pool, wide;
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	(void)data;
	g_assert_false(address_pool_parse("10.0.0.9-10.0.0.1", &pool, NULL));
	g_assert_false(address_pool_parse("10.0.0.1-fd00::1", &pool, NULL));
	g_assert_false(address_pool_parse("10.0.0.1", &pool, NULL));
	g_assert_true(address_pool_parse("127.77.0.255-127.77.1.0", &pool, NULL));
	g_assert_true(address_pool_parse("10.0.0.1-10.0.0.9", &wide, NULL));
	json_object_clear(one->driver_info);
	one->agent_address = address_assign(w->store, w->config, &pool, one, NULL);
	g_assert_true(strcmp(one->agent_address, "127.77.0.255") == 0 ||
		      strcmp(one->agent_address, "127.77.1.0") == 0);
	attr_set_add(changed, NODE_ATTR_agent_address);
	g_assert_true(store_begin(w->store, NULL));
	g_assert_true(store_node_update(w->store, one, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));
	other->uuid = uuid_new();
	g_autofree char *second = address_assign(w->store, w->config, &pool, other, NULL);

	g_assert_cmpstr(second, !=, one->agent_address);
	g_assert_null(address_assign(w->store, w->config, &wide, other, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_DENIED);
	g_clear_error(&error);
	json_object_set_new(other->driver_info, "agent_address", json_string(one->agent_address));
	g_assert_null(address_assign(w->store, w->config, &pool, other, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_CONFLICT);
}

static void change(struct world *w, const struct event *ev, const struct node *as)
{
	g_autoptr(GError) error = NULL;
	attr_set changed = {0};

	g_assert_true(store_begin(w->store, NULL));
	g_autoptr(node) n = world_get(w);

	if (as) {
		g_free(n->driver);
		n->driver = g_strdup(as->driver);
		json_object_update(n->driver_info, as->driver_info);
		n->provision_state = as->provision_state;
		attr_set_add(changed, NODE_ATTR_driver);
		attr_set_add(changed, NODE_ATTR_driver_info);
		attr_set_add(changed, NODE_ATTR_provision_state);
	}
	g_assert_true(!ev || node_fold(n, ev, changed, &error));
	g_assert_no_error(error);
	g_assert_true(store_node_update(w->store, n, changed, NULL));
	g_assert_true(store_commit(w->store, NULL));
}

static void test_deadline(struct world *w, gconstpointer data)
{
	struct event ev = {.kind = EVENT_POWER_REQUEST,
			   .now = wall_now(),
			   .host = "api",
			   .power_target = TARGET_SOFT_POWER_OFF,
			   .timeout_s = 1};

	(void)data;
	w->power = w->ignores_soft_off = true;
	change(w, &ev, NULL);
	world_poke(w);
	world_until_rest(w, STATE_AVAILABLE);
	g_autoptr(node) n = world_get(w);

	g_assert_nonnull(strstr(n->last_error, "soft power off"));
	g_assert_nonnull(strstr(n->last_error, "not done after"));
	g_assert_null(n->target_power_state);
	g_assert_null(n->reservation);
}

static void verify_redfish(struct world *w, const char *address, enum provision_state state)
{
	g_autoptr(node) as = node_new();
	g_autofree char *sealed = seal_text(w->key, w->node.s, "calvin");

	g_free(as->driver);
	as->driver = g_strdup("redfish");
	as->provision_state = STATE_ENROLL;
	json_object_set_new(as->driver_info, "redfish_address", json_string(address));
	json_object_set_new(as->driver_info, "redfish_password", json_string(sealed));
	json_object_set_new(as->driver_info, "redfish_verify_ca", json_string("False"));
	change(w, NULL, as);
	world_verb(w, STATE_EVENT_MANAGE);
	world_poke(w);
	world_until_rest(w, state);
}

static void test_bmc_credentials(struct world *w, gconstpointer data)
{
	(void)data;
	verify_redfish(w, "https://10.0.0.1/", STATE_ENROLL);
	g_autoptr(node) n = world_get(w);

	g_assert_nonnull(strstr(n->last_error, "outside [redfish]allowed_networks"));
	verify_redfish(w, "https://bmc.example.org", STATE_ENROLL);
	g_assert_null(w->password);
	verify_redfish(w, "https://127.0.0.1:8443", STATE_MANAGEABLE);
	g_assert_cmpstr(w->password, ==, "calvin");
	g_assert_false(w->verify);
}

static void test_wrong_machine(struct world *w, gconstpointer data)
{
	(void)data;
	w->mac = "52:54:00:ff:ff:ff";
	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	world_until_rest(w, STATE_DEPLOY_FAILED);
	g_autoptr(node) n = world_get(w);

	g_assert_nonnull(strstr(n->last_error, "52:54:00:ff:ff:ff"));
	g_assert_nonnull(strstr(n->last_error, MAC));
	g_assert_cmpuint(w->writes, ==, 0);
	g_assert_false(w->published);
	g_assert_false(w->power);
	w->mac = MAC;
	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	world_until_rest(w, STATE_ACTIVE);
}

static void test_foreign_messages(struct world *w, gconstpointer data)
{
	struct message m = {.type = MESSAGE_bmc_reply};

	(void)data;
	/* An answer that nobody asked for, through a worker that is not for it. */
	m.bmc_reply.request = 77;
	m.bmc_reply.node = w->node;
	m.bmc_reply.power = POWER_ON;
	world_send(w, ROLE_BMC, &m);
	world_send(w, ROLE_DIALER, &m);
	world_verb(w, STATE_EVENT_DEPLOY);
	world_poke(w);
	world_until_rest(w, STATE_ACTIVE);
}

/* Publish, insert and first contact have 1800 s each; boot device and power on have five attempts of 60 s each, and
 * the pauses between them. */
static void test_media_lifetime(struct world *w, gconstpointer data)
{
	int64_t before = wall_now().us / G_USEC_PER_SEC;
	g_autofree char *path = media_call_path(w->config);
	int64_t seconds = g_ascii_strtoll(path, NULL, 10) - before;

	(void)data;
	g_assert_cmpint(seconds, >=, 3 * 1800 + 2 * 5 * 60);
	g_assert_cmpint(seconds, <, 3 * 1800 + 2 * 5 * 120);
	g_assert_false(media_call_is_over(path));
	memcpy(path, "1700000000", 10);
	g_assert_true(media_call_is_over(path));
	g_assert_false(media_call_is_over(NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("a passed deadline ends an operation", test_deadline);
	CASE("BMC passwords are opened for BMCs in range only", test_bmc_credentials);
	CASE("addresses of the pool are given once", test_pool);
	CASE("the URL of an ISO counts for the longest boot", test_media_lifetime);
	CASE("another machine than the node's is stopped before anything is changed",
	     test_wrong_machine);
	CASE("answers that nobody asked for are dropped", test_foreign_messages);
	return g_test_run();
}
