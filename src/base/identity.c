#include "identity.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/random.h>

#include "errors.h"

bool uuid_parse(const char *text, struct uuid *ret_uuid, GError **error)
{
	struct uuid u = {""};

	for (size_t i = 0; i < UUID_TEXT - 1; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		char c = text[i];

		if (dash ? c != '-' : !g_ascii_isxdigit(c))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Expected a UUID but received %.64s.", text);
		u.s[i] = g_ascii_tolower(c);
	}
	if (text[UUID_TEXT - 1] != '\0')
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Expected a UUID but received %.64s.", text);
	*ret_uuid = u;
	return true;
}

/* Not g_uuid_string_random(): its generator can be predicted, and two forks of a process get the same. */
struct uuid uuid_new(void)
{
	static const char digits[] = "0123456789abcdef";
	struct uuid u;
	uint8_t b[16];
	size_t at = 0;

	g_assert(getrandom(b, sizeof(b), 0) == (ssize_t)sizeof(b));
	b[6] = (uint8_t)(0x40 | (b[6] & 0x0f));
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			u.s[at++] = '-';
		u.s[at++] = digits[b[i] >> 4];
		u.s[at++] = digits[b[i] & 0x0f];
	}
	u.s[at] = '\0';
	return u;
}

bool uuid_is_set(const struct uuid *u)
{
	return u->s[0] != '\0';
}

bool mac_parse(const char *text, struct mac *ret_mac, GError **error)
{
	struct mac m;

	for (size_t i = 0; i < 6; i++) {
		int high = g_ascii_xdigit_value(text[i * 3]);
		int low = high < 0 ? -1 : g_ascii_xdigit_value(text[i * 3 + 1]);
		char after = low < 0 ? '?' : text[i * 3 + 2];

		if (low < 0 || (i < 5 ? after != ':' && after != '-' : after != '\0'))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Expected a MAC address but received %.64s.", text);
		m.b[i] = (uint8_t)(high << 4 | low);
	}
	*ret_mac = m;
	return true;
}

void mac_print(struct mac m, char out[static MAC_TEXT])
{
	g_snprintf(out, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", m.b[0], m.b[1], m.b[2], m.b[3],
		   m.b[4], m.b[5]);
}

bool mac_equal(struct mac a, struct mac b)
{
	return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

static void set_v4(struct endpoint *e, const void *bytes, unsigned port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	memcpy(&sin.sin_addr, bytes, sizeof(sin.sin_addr));
	memset(e, 0, sizeof(*e));
	memcpy(&e->address, &sin, sizeof(sin));
	e->length = sizeof(sin);
}

bool endpoint_parse(const char *host, unsigned port, struct endpoint *ret_endpoint, GError **error)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (port == 0 || port > 65535)
		return inox_error_set(error, INOX_ERROR_INVALID, "Port %u is not in 1 to 65535.",
				      port);
	if (inet_pton(AF_INET, host, &v4) == 1) {
		set_v4(ret_endpoint, &v4, port);
		return true;
	}
	if (inet_pton(AF_INET6, host, &v6) != 1)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Expected a numeric IP address but received %.64s.", host);
	if (IN6_IS_ADDR_V4MAPPED(&v6)) {
		set_v4(ret_endpoint, v6.s6_addr + 12, port);
		return true;
	}
	struct sockaddr_in6 sin6 = {
		.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = v6};
	memset(ret_endpoint, 0, sizeof(*ret_endpoint));
	memcpy(&ret_endpoint->address, &sin6, sizeof(sin6));
	ret_endpoint->length = sizeof(sin6);
	return true;
}

bool endpoint_parse_pair(const char *text, struct endpoint *ret_endpoint, GError **error)
{
	const char *colon = strrchr(text, ':');
	size_t host_length = colon ? (size_t)(colon - text) : 0;
	guint64 port = 0;

	if (!colon || host_length == 0 ||
	    !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Expected ADDRESS:PORT but received %.64s.", text);
	bool brackets = text[0] == '[' && text[host_length - 1] == ']';
	g_autofree char *host =
		brackets ? g_strndup(text + 1, host_length - 2) : g_strndup(text, host_length);

	return endpoint_parse(host, (unsigned)port, ret_endpoint, error);
}

void endpoint_print(const struct endpoint *e, char out[static ENDPOINT_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (e->address.ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const void *)&e->address;

		inet_ntop(AF_INET, &sin->sin_addr, host, sizeof(host));
		g_snprintf(out, ENDPOINT_TEXT, "%s:%u", host, endpoint_port(e));
		return;
	}
	const struct sockaddr_in6 *sin6 = (const void *)&e->address;

	inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof(host));
	g_snprintf(out, ENDPOINT_TEXT, "[%s]:%u", host, endpoint_port(e));
}

unsigned endpoint_port(const struct endpoint *e)
{
	if (e->address.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)(const void *)&e->address)->sin_port);
	return ntohs(((const struct sockaddr_in6 *)(const void *)&e->address)->sin6_port);
}

bool network_parse(const char *text, struct network *ret_network, GError **error)
{
	const char *slash = strchr(text, '/');
	g_autofree char *host = slash ? g_strndup(text, (size_t)(slash - text)) : g_strdup(text);
	struct network n = {.family = AF_INET};
	guint64 prefix = 0;

	if (inet_pton(AF_INET, host, n.bytes) != 1) {
		n.family = AF_INET6;
		if (inet_pton(AF_INET6, host, n.bytes) != 1)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Expected ADDRESS/PREFIX but received %.64s.", text);
	}
	unsigned bits = n.family == AF_INET ? 32 : 128;

	if (!slash)
		prefix = bits;
	else if (!g_ascii_string_to_unsigned(slash + 1, 10, 0, bits, &prefix, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Prefix length of %.64s is not in 0 to %u.", text, bits);
	n.prefix = (unsigned)prefix;
	*ret_network = n;
	return true;
}

bool network_contains(const struct network *n, const struct endpoint *e)
{
	const uint8_t *bytes;

	if (e->address.ss_family != n->family)
		return false;
	if (n->family == AF_INET)
		bytes = (const void *)&((const struct sockaddr_in *)(const void *)&e->address)
				->sin_addr;
	else
		bytes = (const void *)&((const struct sockaddr_in6 *)(const void *)&e->address)
				->sin6_addr;
	unsigned whole = n->prefix / 8, rest = n->prefix % 8;

	if (memcmp(bytes, n->bytes, whole) != 0)
		return false;
	return rest == 0 || (bytes[whole] ^ n->bytes[whole]) >> (8 - rest) == 0;
}

bool network_list_allows(const struct network *list, unsigned count, const struct endpoint *e)
{
	static const struct network loopback[] = {
		{.family = AF_INET, .prefix = 8, .bytes = {127}},
		{.family = AF_INET6, .prefix = 128, .bytes = {[15] = 1}},
	};
	/* "This host": connects to loopback too. */
	static const struct network unspecified[] = {
		{.family = AF_INET, .prefix = 8},
		{.family = AF_INET6, .prefix = 128},
	};

	for (unsigned i = 0; i < count; i++) {
		const struct network *n = &list[i];
		const struct network *own = &loopback[n->family == AF_INET6];

		if (!network_contains(n, e) || network_contains(&unspecified[0], e) ||
		    network_contains(&unspecified[1], e))
			continue;
		if (!network_contains(own, e) ||
		    (n->prefix >= own->prefix && n->bytes[0] == own->bytes[0]))
			return true;
	}
	return false;
}
