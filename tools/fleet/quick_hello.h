/* quick_hello.h: what the server of quick_tls.h needs of a client's hello (RFC 8446 section 4.1.2): pure, over
 * bytes of a stranger. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct quick_piece {
	const uint8_t *at;
	size_t left;
};

/* All of it borrowed from the message. */
struct quick_hello {
	struct quick_piece session, share, identity, binder;
	bool tls13;
	const uint8_t *binders; /* where the part that the binder covers ends */
};

/* A whole handshake message.  False if it is malformed, or lacks TLS 1.3, an X25519 share or a PSK with a
 * binder of SHA-256. */
bool quick_hello_read(const uint8_t *message_bytes, size_t length, struct quick_hello *ret_hello);
