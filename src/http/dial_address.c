#include "dial_address.h"

#include <string.h>

#include "errors.h"

/* What a range may hold and is no machine's address, or not one machine's (RFC 6890). */
static const struct {
	struct network network;
	const char *what;
} never[] = {
	{{.family = AF_INET, .prefix = 8}, "is an unspecified address"},
	{{.family = AF_INET, .prefix = 4, .bytes = {224}}, "is a multicast address"},
	{{.family = AF_INET, .prefix = 4, .bytes = {240}}, "is a broadcast or reserved address"},
	{{.family = AF_INET6, .prefix = 128}, "is an unspecified address"},
	{{.family = AF_INET6, .prefix = 8, .bytes = {0xff}}, "is a multicast address"},
	{{.family = AF_INET6, .prefix = 10, .bytes = {0xfe, 0x80}},
	 "is a link-local address, which needs a link that nobody names here"},
};

bool dial_address_check(const char *host, unsigned port, const struct network *ranges,
			unsigned range_count, struct dial_address *ret_address, GError **error)
{
	struct endpoint e;

	if (!endpoint_parse(host, port, &e, error))
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(never); i++)
		if (network_contains(&never[i].network, &e))
			return inox_error_set(error, INOX_ERROR_INVALID, "%s %s", host,
					      never[i].what);
	if (!network_list_allows(ranges, range_count, &e))
		return inox_error_set(error, INOX_ERROR_DENIED, "%s is outside the allowed ranges",
				      host);
	*ret_address = (struct dial_address){.length = (uint8_t)e.length};
	memcpy(&ret_address->checked, &e.address, e.length);
	return true;
}

const struct sockaddr *dial_address_peek(const struct dial_address *a, socklen_t *ret_length)
{
	*ret_length = a->length;
	return (const struct sockaddr *)&a->checked;
}

void dial_address_print(const struct dial_address *a, char out[static ENDPOINT_TEXT])
{
	struct endpoint e = {.length = a->length};

	memcpy(&e.address, &a->checked, sizeof(a->checked));
	endpoint_print(&e, out);
}
