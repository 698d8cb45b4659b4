/* identity.h: UUIDs, MAC addresses and IP endpoints as types: parsed at the edge, a proof inside. */
#pragma once

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#define UUID_TEXT     37
#define MAC_TEXT      18
#define ENDPOINT_TEXT 56

/* Lower-case text, 36 characters; "" stands for "none". */
struct uuid {
	char s[UUID_TEXT];
};

struct mac {
	uint8_t b[6];
};

/* A numeric address and a port.  Never a name: nothing that holds one resolves. */
struct endpoint {
	struct sockaddr_storage address;
	socklen_t length;
};

/* An address range, "10.77.2.0/24" or "fd77:2::/64". */
struct network {
	int family;
	unsigned prefix;
	uint8_t bytes[16];
};

bool uuid_parse(const char *text, struct uuid *ret_uuid, GError **error);
struct uuid uuid_new(void); /* version 4, from the system's random source */
bool uuid_is_set(const struct uuid *u);

/* Takes aa:bb:cc:dd:ee:ff in either case, and with '-' between the bytes. */
bool mac_parse(const char *text, struct mac *ret_mac, GError **error);
void mac_print(struct mac m, char out[static MAC_TEXT]); /* lower case, ':' */
bool mac_equal(struct mac a, struct mac b);

/* HOST is a numeric IPv4 or IPv6 address (without brackets), PORT 1 to 65535.  IPv4-mapped IPv6
 * addresses are turned into IPv4. */
bool endpoint_parse(const char *host, unsigned port, struct endpoint *ret_endpoint, GError **error);
/* Takes "ADDR:PORT" or "[ADDR6]:PORT". */
bool endpoint_parse_pair(const char *text, struct endpoint *ret_endpoint, GError **error);
void endpoint_print(const struct endpoint *e, char out[static ENDPOINT_TEXT]);
unsigned endpoint_port(const struct endpoint *e);

bool network_parse(const char *text, struct network *ret_network, GError **error);
bool network_contains(const struct network *n, const struct endpoint *e);
/* The rule for everything that is dialled: `e` lies in one of the ranges, and a loopback address in
 * one that is loopback as a whole: 0.0.0.0/0 does not open the control host's own services. */
bool network_list_allows(const struct network *list, unsigned count, const struct endpoint *e);
