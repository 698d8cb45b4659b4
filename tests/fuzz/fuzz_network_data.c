/* Network metadata of a node: what is accepted gives an address, a prefix of it and a gateway of its family. */
#include <string.h>

#include "jsons.h"
#include "network_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void check_found(const struct network_address *a)
{
	bool six = strchr(a->address, ':') != NULL;
	uint8_t bytes[16];

	if (!*a->address) {
		g_assert_cmpstr(a->gateway, ==, "");
		return;
	}
	g_assert_cmpint(inet_pton(six ? AF_INET6 : AF_INET, a->address, bytes), ==, 1);
	g_assert_cmpuint(a->prefix, <=, six ? 128 : 32);
	if (*a->gateway)
		g_assert_cmpint(inet_pton(six ? AF_INET6 : AF_INET, a->gateway, bytes), ==, 1);
	for (const char *c = a->nameserver; *c; c++)
		g_assert_true(g_ascii_isxdigit(*c) || *c == ':' || *c == '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	static const struct mac mac = {{0x52, 0x54, 0x00, 0x77, 0x02, 0x10}};
	g_autoptr(json_t) value =
		json_parse_limited((const char *)data, length, 65536, "network_data", NULL);
	struct network_address a;

	if (!json_is_object(value) || !network_data_check(value, NULL))
		return 0;
	for (unsigned own = 0; own < 2; own++)
		if (network_data_find(value, mac, NULL, own, &a, NULL))
			check_found(&a);
	if (network_data_find(value, mac, "192.0.2.10", true, &a, NULL))
		check_found(&a);
	return 0;
}
