#include "quick_hello.h"

#define CLIENT_HELLO 1
#define SESSION_MOST 32
#define SHARE        32
#define BINDER       32
#define X25519       0x1d
#define TLS_1_3      0x0304

enum extension_type { EXTENSION_PSK = 41, EXTENSION_VERSIONS = 43, EXTENSION_SHARE = 51 };

static bool take(struct quick_piece *p, size_t length, struct quick_piece *ret_piece)
{
	if (p->left < length)
		return false;
	*ret_piece = (struct quick_piece){p->at, length};
	p->at += length;
	p->left -= length;
	return true;
}

static bool take_number(struct quick_piece *p, unsigned bytes, size_t *ret_number)
{
	struct quick_piece n;

	if (!take(p, bytes, &n))
		return false;
	*ret_number = 0;
	for (unsigned i = 0; i < bytes; i++)
		*ret_number = *ret_number << 8 | n.at[i];
	return true;
}

/* What a length of so many bytes stands in front of. */
static bool take_counted(struct quick_piece *p, unsigned bytes, struct quick_piece *ret_piece)
{
	size_t length;

	return take_number(p, bytes, &length) && take(p, length, ret_piece);
}

static bool read_share(struct quick_piece p, struct quick_hello *h)
{
	struct quick_piece shares, one;
	size_t group;

	if (!take_counted(&p, 2, &shares))
		return false;
	while (shares.left > 0) {
		if (!take_number(&shares, 2, &group) || !take_counted(&shares, 2, &one))
			return false;
		if (group == X25519 && one.left == SHARE)
			h->share = one;
	}
	return h->share.at;
}

/* The first identity and its binder. */
static bool read_psk(struct quick_piece p, struct quick_hello *h)
{
	struct quick_piece identities, binders;

	if (!take_counted(&p, 2, &identities) || !take_counted(&identities, 2, &h->identity))
		return false;
	h->binders = p.at;
	return take_counted(&p, 2, &binders) && take_counted(&binders, 1, &h->binder) &&
	       h->binder.left == BINDER;
}

static bool read_versions(struct quick_piece p, struct quick_hello *h)
{
	struct quick_piece versions;
	size_t version;

	if (!take_counted(&p, 1, &versions))
		return false;
	while (take_number(&versions, 2, &version))
		h->tls13 = h->tls13 || version == TLS_1_3;
	return h->tls13;
}

static bool read_extensions(struct quick_piece p, struct quick_hello *h)
{
	struct quick_piece body;
	size_t type;
	bool good = true;

	while (good && p.left > 0) {
		good = take_number(&p, 2, &type) && take_counted(&p, 2, &body);
		if (good && type == EXTENSION_SHARE)
			good = read_share(body, h);
		else if (good && type == EXTENSION_PSK)
			good = read_psk(body, h);
		else if (good && type == EXTENSION_VERSIONS)
			good = read_versions(body, h);
	}
	return good && h->tls13 && h->share.at && h->binder.at;
}

bool quick_hello_read(const uint8_t *message_bytes, size_t length, struct quick_hello *h)
{
	struct quick_piece p = {message_bytes, length};
	struct quick_piece message, fixed, suites, compression, extensions;
	size_t type;

	*h = (struct quick_hello){.tls13 = false};
	return take_number(&p, 1, &type) && type == CLIENT_HELLO && take_counted(&p, 3, &message) &&
	       p.left == 0 && take(&message, 2 + 32, &fixed) &&
	       take_counted(&message, 1, &h->session) && h->session.left <= SESSION_MOST &&
	       take_counted(&message, 2, &suites) && take_counted(&message, 1, &compression) &&
	       take_counted(&message, 2, &extensions) && message.left == 0 &&
	       read_extensions(extensions, h);
}
