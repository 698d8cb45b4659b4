/* Network metadata of a node: what the API refuses, and what an interface gets. */
#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "network_data.h"

#define PHY                                                           \
	"{\"id\":\"enp1\",\"type\":\"phy\",\"ethernet_mac_address\":" \
	"\"52:54:00:77:02:10\"}"
#define PHY2 "{\"id\":\"enp2\",\"type\":\"phy\",\"ethernet_mac_address\":\"52-54-00-77-02-11\"}"
#define BOND                                                                                  \
	"{\"id\":\"bond0\",\"type\":\"bond\",\"ethernet_mac_address\":\"52:54:00:77:02:10\"," \
	"\"bond_mode\":\"802.1ad\",\"bond_links\":[\"enp1\",\"enp2\"]}"
#define VLAN                                                                                         \
	"{\"id\":\"v5\",\"type\":\"vlan\",\"vlan_mac_address\":\"52:54:00:77:02:10\",\"vlan_id\":5," \
	"\"vlan_link\":\"bond0\"}"
#define NET4(link, more)                                                         \
	"{\"id\":\"n4\",\"type\":\"ipv4\",\"network_id\":\"a\",\"link\":\"" link \
	"\",\"ip_address\":\"192.0.2.10\",\"netmask\":\"255.255.255.0\"" more "}"
#define DEFAULT4 \
	",\"routes\":[{\"network\":\"0.0.0.0\",\"netmask\":\"0.0.0.0\",\"gateway\":\"192.0.2.1\"}]"
#define NET6(link)                                                                  \
	"{\"id\":\"n6\",\"type\":\"ipv6\",\"network_id\":\"b\",\"link\":\"" link    \
	"\",\"ip_address\":\"2001:db8::10\",\"netmask\":\"ffff:ffff:ffff:ffff::\"," \
	"\"routes\":[{\"network\":\"::\",\"netmask\":\"::\",\"gateway\":\"2001:db8::1\"}]}"
#define DNS "{\"type\":\"dns\",\"address\":\"192.0.2.53\"}"
#define DATA(links, networks, services) \
	"{\"links\":[" links "],\"networks\":[" networks "],\"services\":[" services "]}"

static const struct mac first = {{0x52, 0x54, 0x00, 0x77, 0x02, 0x10}};
static const struct mac second = {{0x52, 0x54, 0x00, 0x77, 0x02, 0x11}};
static const struct mac stranger = {{0x52, 0x54, 0x00, 0x77, 0x02, 0x12}};

static json_t *data_of(const char *text)
{
	json_t *data = json_loads(text, 0, NULL);

	g_assert_nonnull(data);
	return data;
}

static void test_good_data(void)
{
	static const char *const good[] = {
		"{}",
		DATA("", "", ""),
		DATA(PHY "," PHY2 "," BOND "," VLAN, NET4("v5", DEFAULT4) "," NET6("enp2"), DNS),
		DATA(PHY, "{\"id\":\"d\",\"type\":\"ipv4_dhcp\",\"link\":\"enp1\"}", ""),
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(json_t) data = data_of(good[i]);
		g_autoptr(GError) error = NULL;

		g_assert_true(network_data_check(data, &error));
		g_assert_no_error(error);
	}
}

static void test_bad_data(void)
{
	static const struct {
		const char *text, *named;
	} bad[] = {
		{"{\"a\":1}", "'links' is a required property "},
		{"{\"links\":[],\"services\":[]}", "'networks' is a required property "},
		{"{\"links\":{},\"networks\":[],\"services\":[]}", "'links' must be a list"},
		{DATA("7", "", ""), "links[0]: must be an object"},
		{DATA("{\"type\":\"phy\"}", "", ""), "links[0]: 'id' is a required property"},
		{DATA("{\"id\":\"a\",\"type\":\"x\"}", "", ""), "links[0]: 'type'"},
		{DATA("{\"id\":7,\"type\":\"phy\",\"ethernet_mac_address\":\"\"}", "", ""), "'id'"},
		{DATA(PHY ",{\"id\":\"a\",\"type\":\"phy\",\"ethernet_mac_address\":\"1\"}", "",
		      ""),
		 "links[1]: 'ethernet_mac_address' is no MAC"},
		{DATA("{\"id\":\"a\",\"type\":\"vlan\",\"vlan_mac_address\":\"52:54:00:77:02:10\","
		      "\"vlan_link\":\"b\",\"vlan_id\":4095}",
		      "", ""),
		 "'vlan_id' must be a number from 1 to 4094"},
		{DATA("{\"id\":\"a\",\"type\":\"bond\",\"ethernet_mac_address\":\"52:54:00:77:02:10\""
		      ",\"bond_mode\":\"fast\",\"bond_links\":[]}",
		      "", ""),
		 "'bond_mode'"},
		{DATA(PHY, "{\"id\":\"a\",\"link\":\"b\",\"type\":\"ipv5\"}", ""),
		 "networks[0]: 'type'"},
		{DATA(PHY, "{\"id\":\"a\",\"link\":\"b\",\"type\":\"ipv4\"}", ""), "'ip_address'"},
		{DATA(PHY,
		      "{\"id\":\"a\",\"link\":\"b\",\"type\":\"ipv4\",\"ip_address\":\"192.0.2.1\","
		      "\"netmask\":\"255.0.255.0\"}",
		      ""),
		 "'netmask' must be a mask"},
		{DATA(PHY,
		      "{\"id\":\"a\",\"link\":\"b\",\"type\":\"ipv4\",\"ip_address\":\"192.0.2.1\","
		      "\"netmask\":\"0.0.0.0\"}",
		      ""),
		 "'netmask' must be a mask"},
		{DATA(PHY,
		      NET4("enp1", ",\"routes\":[{\"network\":\"::\",\"netmask\":\"0.0.0.0\","
				   "\"gateway\":\"192.0.2.1\"}]"),
		      ""),
		 "networks[0].routes[0]: 'network'"},
		{DATA(PHY, NET4("enp1", ",\"routes\":7"), ""), "'routes' must be a list"},
		{DATA("", "", "{\"type\":\"dns\",\"address\":\"ns.example\"}"),
		 "services[0]: 'address'"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(json_t) data = data_of(bad[i].text);
		g_autoptr(GError) error = NULL;

		g_assert_false(network_data_check(data, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		g_assert_true(g_str_has_prefix(error->message, "Invalid network_data: "));
		g_assert_nonnull(strstr(error->message, bad[i].named));
	}
}

static void test_limits(void)
{
	g_autoptr(json_t) data = data_of(DATA(PHY, "", ""));
	g_autofree char *long_text = g_strnfill(NETWORK_DATA_MAX, 'x');
	g_autoptr(GError) error = NULL;

	json_object_set_new(data, "more", json_string(long_text));
	g_assert_false(network_data_check(data, &error));
	g_assert_nonnull(strstr(error->message, "there is room for"));
	json_object_del(data, "more");
	for (unsigned i = 0; i < 64; i++)
		json_array_append(json_object_get(data, "links"),
				  json_array_get(json_object_get(data, "links"), 0));
	g_assert_false(network_data_check(data, NULL));
}

static void find(const char *text, struct mac mac, const char *wanted, bool own,
		 const char *expected)
{
	g_autoptr(json_t) data = data_of(text);
	g_autoptr(GError) error = NULL;
	struct network_address a;

	g_assert_true(network_data_check(data, NULL));
	bool good = network_data_find(data, mac, wanted, own, &a, &error);
	g_autofree char *found =
		good ? g_strdup_printf("%s/%u %s %s", a.address, a.prefix, a.gateway, a.nameserver)
		     : g_strdup(error->message);

	if (good)
		g_assert_cmpstr(found, ==, expected);
	else
		g_assert_nonnull(strstr(found, expected));
}

static void test_finding(void)
{
	static const char both[] = DATA(PHY "," PHY2, NET6("enp1") "," NET4("enp1", DEFAULT4), DNS);
	static const char layered[] =
		DATA(PHY "," PHY2 "," BOND "," VLAN, NET4("v5", DEFAULT4), DNS);

	find("{}", first, NULL, true, "/0  ");
	find(both, first, NULL, true, "2001:db8::10/64 2001:db8::1 192.0.2.53");
	find(both, first, "192.0.2.10", true, "192.0.2.10/24 192.0.2.1 192.0.2.53");
	find(both, first, "2001:DB8:0::10", true, "2001:db8::10/64 2001:db8::1 192.0.2.53");
	find(both, first, "192.0.2.11", true, "none of the static addresses");
	find(both, second, NULL, true, "/0  ");
	find(both, stranger, NULL, true, "no link with the MAC address 52:54:00:77:02:12");
	find(layered, first, NULL, true, "on a bond or a VLAN");
	find(layered, first, NULL, false, "192.0.2.10/24 192.0.2.1 192.0.2.53");
	find(layered, second, NULL, false, "192.0.2.10/24 192.0.2.1 192.0.2.53");
	find(DATA(PHY, "{\"id\":\"d\",\"type\":\"ipv4_dhcp\",\"link\":\"enp1\"}", ""), first, NULL,
	     true, "/0  ");
}

static void test_routes(void)
{
	static const char other[] =
		DATA(PHY,
		     NET4("enp1", ",\"routes\":[{\"network\":\"10.0.0.0\",\"netmask\":\"255.0.0.0\""
				  ",\"gateway\":\"192.0.2.2\"}]"),
		     "");

	find(other, first, NULL, true,
	     "a route to 10.0.0.0, and the ramdisk sets none but the default");
	find(other, first, NULL, false, "192.0.2.10/24  ");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/network data/what fits the schema is taken", test_good_data);
	g_test_add_func("/network data/what does not is named", test_bad_data);
	g_test_add_func("/network data/size and number have limits", test_limits);
	g_test_add_func("/network data/the boot interface gets its address", test_finding);
	g_test_add_func("/network data/our ramdisk sets no route but the default", test_routes);
	return g_test_run();
}
