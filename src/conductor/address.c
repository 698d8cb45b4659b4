#include "address.h"

#include <arpa/inet.h>
#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "identity_check.h"
#include "jsons.h"
#include "port.h"

/* Looking further than this for a free address would hold the transaction for too long. */
#define TRIES_MOST 65536

static size_t family_bytes(int family)
{
	return family == AF_INET ? 4 : 16;
}

static int parse_ip(const char *text, uint8_t out[16])
{
	if (inet_pton(AF_INET, text, out) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, out) == 1 ? AF_INET6 : 0;
}

bool address_pool_parse(const char *text, struct address_pool *ret_pool, GError **error)
{
	g_auto(GStrv) ends = g_strsplit(text, "-", 3);
	struct address_pool pool = {.family = 0};

	if (!*text) {
		*ret_pool = pool;
		return true;
	}
	if (g_strv_length(ends) == 2)
		pool.family = parse_ip(g_strstrip(ends[0]), pool.first);
	if (pool.family == 0 || parse_ip(g_strstrip(ends[1]), pool.last) != pool.family ||
	    memcmp(pool.first, pool.last, family_bytes(pool.family)) > 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "[boot]address_pool: '%s' is not FIRST-LAST of two numeric "
				      "addresses of one family",
				      text);
	*ret_pool = pool;
	return true;
}

static bool check_agent(const struct config *conf, const char *address, GError **error)
{
	unsigned count;
	const struct network *list = config_networks(conf, OPTION_agent_allowed_networks, &count);
	struct endpoint e;

	if (!endpoint_parse(address, (unsigned)config_int(conf, OPTION_agent_port), &e, error))
		return false;
	if (!network_list_allows(list, count, &e))
		return inox_error_set(error, INOX_ERROR_DENIED,
				      "the agent's address %s is outside [agent]allowed_networks",
				      address);
	return true;
}

/* Addresses as numbers: the lower 32 bits are enough, a pool is never larger. */
static uint32_t low_bits(const uint8_t *bytes, size_t length)
{
	uint32_t n = 0;

	for (size_t i = length - 4; i < length; i++)
		n = n << 8 | bytes[i];
	return n;
}

static uint32_t pool_size(const struct address_pool *pool)
{
	size_t length = family_bytes(pool->family);
	uint32_t span = low_bits(pool->last, length) - low_bits(pool->first, length);

	return span == UINT32_MAX ? span : span + 1;
}

static void print_nth(const struct address_pool *pool, uint32_t nth, char out[INET6_ADDRSTRLEN])
{
	size_t length = family_bytes(pool->family);
	uint8_t bytes[16];
	uint32_t carry = nth;

	memcpy(bytes, pool->first, length);
	for (size_t i = length; i-- > 0 && carry > 0;) {
		carry += bytes[i];
		bytes[i] = (uint8_t)(carry & 0xff);
		carry >>= 8;
	}
	inet_ntop(pool->family, bytes, out, INET6_ADDRSTRLEN);
}

static char *assign_from_pool(struct store *s, const struct address_pool *pool,
			      const struct node *n, GError **error)
{
	char text[INET6_ADDRSTRLEN];

	if (pool->family == 0) {
		inox_error_set(
			error, INOX_ERROR_INVALID,
			"the node has no driver_info.agent_address, and [boot]address_pool is "
			"empty");
		return NULL;
	}
	uint32_t size = pool_size(pool);
	uint32_t start = g_str_hash(n->uuid.s) % size;

	for (uint32_t i = 0; i < MIN(size, TRIES_MOST); i++) {
		g_autoptr(GError) taken = NULL;

		print_nth(pool, (start + i) % size, text);
		if (store_address_is_free(s, text, n->uuid.s, &taken))
			return g_strdup(text);
		if (!g_error_matches(taken, INOX_ERROR, INOX_ERROR_CONFLICT)) {
			g_propagate_error(error, g_steal_pointer(&taken));
			return NULL;
		}
	}
	inox_error_set(error, INOX_ERROR_LIMIT, "every address of [boot]address_pool is in use");
	return NULL;
}

bool address_find_own(const struct config *conf, const struct node *n, struct mac mac,
		      struct network_address *ret, GError **error)
{
	const char *wanted = json_peek_string(n->driver_info, "agent_address");
	enum agent_transport transport;

	if (!deployment_transport(n, config_text(conf, OPTION_agent_transport), &transport, error))
		return false;
	/* The transport psk is our agent's own; what a stock ramdisk can set up is its matter. */
	return network_data_find(n->network_data, mac, wanted, transport == TRANSPORT_PSK, ret,
				 error);
}

/* By the port that gets the address. */
static bool address_of_network_data(struct store *s, const struct config *conf,
				    const struct node *n, struct network_address *ret,
				    GError **error)
{
	if (json_object_size(n->network_data) == 0)
		return true;
	g_autoptr(GPtrArray) ports = identity_ports(s, n, error);

	if (!ports)
		return false;
	if (ports->len == 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the node has no port to boot from");
	return address_find_own(conf, n, ((const struct port *)ports->pdata[0])->address, ret,
				error);
}

char *address_assign(struct store *s, const struct config *conf, const struct address_pool *pool,
		     const struct node *n, GError **error)
{
	struct network_address own = {.prefix = 0};
	g_autofree char *address = NULL;

	if (deployment_uses_media(n) && !address_of_network_data(s, conf, n, &own, error))
		return NULL;
	const char *fixed =
		*own.address ? own.address : json_peek_string(n->driver_info, "agent_address");

	if (!fixed)
		address = assign_from_pool(s, pool, n, error);
	else if (store_address_is_free(s, fixed, n->uuid.s, error))
		address = g_strdup(fixed);
	if (!address || !check_agent(conf, address, error))
		return NULL;
	return g_steal_pointer(&address);
}

static bool parse_bmc(const char *text, struct endpoint *ret_endpoint)
{
	const char *start = strstr(text, "://");

	start = start ? start + 3 : text;
	g_autofree char *host = g_strndup(start, strcspn(start, "/"));
	size_t length = strlen(host);

	if (endpoint_parse_pair(host, ret_endpoint, NULL))
		return true;
	if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
		memmove(host, host + 1, length - 2);
		host[length - 2] = '\0';
	}
	return endpoint_parse(host, 443, ret_endpoint, NULL);
}

bool address_check_bmc(const struct config *conf, const char *text, GError **error)
{
	unsigned count;
	const struct network *list = config_networks(conf, OPTION_redfish_allowed_networks, &count);
	struct endpoint e;

	if (!parse_bmc(text, &e))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"driver_info.redfish_address must hold a numeric address, as in "
			"https://192.0.2.7");
	if (!network_list_allows(list, count, &e))
		return inox_error_set(error, INOX_ERROR_DENIED,
				      "the BMC's address is outside [redfish]allowed_networks");
	return true;
}
