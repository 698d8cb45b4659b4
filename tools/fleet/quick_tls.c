/* SHA-256 is used without a context of its own: EVP would cost more than the hash. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "quick_tls.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/socket.h>

#include "quick_hello.h"

#define HASH        32
#define KEY         16
#define IV          12
#define TAG         16
#define SHARE       32
#define AGREEMENTS  16    /* a few for each dialer */
#define HEAD        5     /* of a record */
#define RECORD_MOST 16640 /* section 5.2 */
#define PLAIN_MOST  16384
#define RAW_FIRST   2048
#define HELLO_MOST  1024

enum record_type {
	RECORD_CHANGE_CIPHER = 20,
	RECORD_ALERT = 21,
	RECORD_HANDSHAKE = 22,
	RECORD_DATA = 23
};
enum message_type { SERVER_HELLO = 2, ENCRYPTED_EXTENSIONS = 8, FINISHED = 20 };
enum extension_type { EXTENSION_PSK = 41, EXTENSION_VERSIONS = 43, EXTENSION_SHARE = 51 };

enum quick_state { QUICK_HELLO, QUICK_FINISHED, QUICK_OPEN, QUICK_ENDED };

struct direction {
	uint8_t key[KEY], iv[IV];
	uint64_t sequence;
};

/* What the one key and a client's share have made. */
struct agreement {
	uint8_t share[SHARE], secret[SHARE];
};

struct quick_tls {
	struct agreement agreed[AGREEMENTS];
	unsigned agreements; /* all that were made; the last ones are in the table */
	EVP_PKEY *key;
	EVP_PKEY_CTX *derive;
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *seal, *open;
	uint8_t share[SHARE];
};

struct quick_link {
	struct quick_tls *tls;
	int fd;
	enum quick_state state;
	bool last; /* what waits is the end */
	char identity[TLS_IDENTITY_MAX];
	uint8_t psk[TLS_PSK_BYTES];
	SHA256_CTX transcript;
	uint8_t handshake[HASH], client[HASH], server[HASH], client_data[HASH];
	struct direction in, out;
	uint8_t *raw;            /* from the other side */
	size_t have, room, used; /* used: plain bytes of raw's first record that were read */
	uint8_t *plain;
	size_t plain_length;
	GByteArray *sealed; /* to the other side */
	size_t sent;
};

/* ---- hashes (RFC 2104, RFC 5869, RFC 8446 section 7.1) */

static void hmac(const uint8_t key[static HASH], const void *text, size_t length, const void *more,
		 size_t more_length, uint8_t out[static HASH])
{
	uint8_t block[SHA256_CBLOCK];
	SHA256_CTX c;

	memset(block, 0x36, sizeof(block));
	for (unsigned i = 0; i < HASH; i++)
		block[i] ^= key[i];
	SHA256_Init(&c);
	SHA256_Update(&c, block, sizeof(block));
	SHA256_Update(&c, text, length);
	SHA256_Update(&c, more, more_length);
	SHA256_Final(out, &c);
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&c);
	SHA256_Update(&c, block, sizeof(block));
	SHA256_Update(&c, out, HASH);
	SHA256_Final(out, &c);
}

static void expand_label(const uint8_t from[static HASH], const char *label, const uint8_t *context,
			 size_t context_length, uint8_t *out, size_t length)
{
	uint8_t info[96], whole[HASH];
	size_t n = 0, label_length = strlen(label);

	info[n++] = 0;
	info[n++] = (uint8_t)length;
	info[n++] = (uint8_t)(6 + label_length);
	memcpy(info + n, "tls13 ", 6);
	memcpy(info + n + 6, label, label_length);
	n += 6 + label_length;
	info[n++] = (uint8_t)context_length;
	if (context_length)
		memcpy(info + n, context, context_length);
	n += context_length;
	info[n++] = 1;
	hmac(from, info, n, "", 0, whole);
	memcpy(out, whole, length);
}

static void hash_so_far(const SHA256_CTX *transcript, uint8_t out[static HASH])
{
	SHA256_CTX copy = *transcript;

	SHA256_Final(out, &copy);
}

static void derive_secret(const uint8_t from[static HASH], const char *label,
			  const SHA256_CTX *transcript, uint8_t out[static HASH])
{
	uint8_t h[HASH];

	hash_so_far(transcript, h);
	expand_label(from, label, h, sizeof(h), out, HASH);
}

static void derive_empty(const uint8_t from[static HASH], const char *label,
			 uint8_t out[static HASH])
{
	SHA256_CTX nothing;

	SHA256_Init(&nothing);
	derive_secret(from, label, &nothing, out);
}

static void finished_of(const uint8_t from[static HASH], const SHA256_CTX *transcript,
			uint8_t out[static HASH])
{
	uint8_t key[HASH], h[HASH];

	expand_label(from, "finished", NULL, 0, key, sizeof(key));
	hash_so_far(transcript, h);
	hmac(key, h, sizeof(h), "", 0, out);
}

static void set_keys(struct direction *d, const uint8_t from[static HASH])
{
	expand_label(from, "key", NULL, 0, d->key, KEY);
	expand_label(from, "iv", NULL, 0, d->iv, IV);
	d->sequence = 0;
}

/* ---- records */

static void nonce_of(struct direction *d, uint8_t out[static IV])
{
	memcpy(out, d->iv, IV);
	for (unsigned i = 0; i < 8; i++)
		out[IV - 1 - i] ^= (uint8_t)(d->sequence >> 8 * i);
	d->sequence++;
}

static bool seal(struct quick_link *q, enum record_type type, const void *bytes, size_t length)
{
	EVP_CIPHER_CTX *c = q->tls->seal;
	size_t body = length + 1 + TAG, at = q->sealed->len;
	uint8_t nonce[IV], last = (uint8_t)type;
	uint8_t head[HEAD] = {RECORD_DATA, 3, 3, (uint8_t)(body >> 8), (uint8_t)body};
	int n = 0, m = 0, rest = 0;

	nonce_of(&q->out, nonce);
	g_byte_array_append(q->sealed, head, HEAD);
	g_byte_array_set_size(q->sealed, (guint)(at + HEAD + body));
	uint8_t *to = q->sealed->data + at + HEAD;

	return EVP_EncryptInit_ex2(c, q->tls->cipher, q->out.key, nonce, NULL) == 1 &&
	       EVP_EncryptUpdate(c, NULL, &n, head, HEAD) == 1 &&
	       EVP_EncryptUpdate(c, to, &n, bytes, (int)length) == 1 &&
	       EVP_EncryptUpdate(c, to + n, &m, &last, 1) == 1 &&
	       EVP_EncryptFinal_ex(c, to + n + m, &rest) == 1 &&
	       EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, to + length + 1) == 1;
}

/* In place; the type is the last byte that is not 0. */
static bool unseal(struct quick_link *q, size_t length, enum record_type *ret_type)
{
	EVP_CIPHER_CTX *c = q->tls->open;
	uint8_t *body = q->raw + HEAD, nonce[IV];
	int n = 0, rest = 0;

	if (length < 1 + TAG)
		return false;
	size_t text = length - TAG;

	nonce_of(&q->in, nonce);
	if (EVP_DecryptInit_ex2(c, q->tls->cipher, q->in.key, nonce, NULL) != 1 ||
	    EVP_DecryptUpdate(c, NULL, &n, q->raw, HEAD) != 1 ||
	    EVP_DecryptUpdate(c, body, &n, body, (int)text) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, body + text) != 1 ||
	    EVP_DecryptFinal_ex(c, body + n, &rest) != 1)
		return false;
	while (text > 0 && body[text - 1] == 0)
		text--;
	if (text == 0)
		return false;
	*ret_type = (enum record_type)body[text - 1];
	q->plain = body;
	q->plain_length = text - 1;
	q->used = 0;
	return true;
}

static size_t record_length(const struct quick_link *q)
{
	return (size_t)q->raw[3] << 8 | q->raw[4];
}

static void drop_record(struct quick_link *q)
{
	size_t whole = HEAD + record_length(q);

	memmove(q->raw, q->raw + whole, q->have - whole);
	q->have -= whole;
	q->plain = NULL;
	q->plain_length = 0;
}

/* 1 when a whole record is at the front of raw, 0 at the end of the connection. */
static int fill(struct quick_link *q)
{
	for (;;) {
		size_t need = q->have < HEAD ? HEAD : HEAD + record_length(q);

		if (need > HEAD + RECORD_MOST)
			return QUICK_BROKEN;
		if (q->have >= HEAD && q->have >= need)
			return 1;
		if (need > q->room) {
			q->room = HEAD + RECORD_MOST;
			q->raw = g_realloc(q->raw, q->room);
		}
		ssize_t n = recv(q->fd, q->raw + q->have, q->room - q->have, 0);

		if (n == 0)
			return 0;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? QUICK_AGAIN : QUICK_BROKEN;
		q->have += (size_t)n;
	}
}

static int flush(struct quick_link *q)
{
	while (q->sent < q->sealed->len) {
		/* The end of the last answer travels with its bytes. */
		ssize_t n = send(q->fd, q->sealed->data + q->sent, q->sealed->len - q->sent,
				 MSG_NOSIGNAL | (q->last ? MSG_MORE : 0));

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? QUICK_AGAIN : QUICK_BROKEN;
		q->sent += (size_t)n;
	}
	g_byte_array_set_size(q->sealed, 0);
	q->sent = 0;
	return 1;
}

/* ---- the handshake */

static bool check_binder(const struct quick_link *q, const struct quick_hello *h,
			 const uint8_t *message, const uint8_t early[static HASH])
{
	uint8_t key[HASH], expected[HASH];
	SHA256_CTX part;

	derive_empty(early, "ext binder", key);
	SHA256_Init(&part);
	SHA256_Update(&part, message, (size_t)(h->binders - message));
	finished_of(key, &part, expected);
	return h->identity.left == strlen(q->identity) &&
	       memcmp(h->identity.at, q->identity, h->identity.left) == 0 &&
	       CRYPTO_memcmp(expected, h->binder.at, HASH) == 0;
}

static const struct agreement *find_agreement(const struct quick_tls *t, const uint8_t *share)
{
	for (unsigned i = 0; i < MIN(t->agreements, AGREEMENTS); i++)
		if (memcmp(t->agreed[i].share, share, SHARE) == 0)
			return &t->agreed[i];
	return NULL;
}

static bool derive_shared(struct quick_tls *t, const uint8_t *share, uint8_t out[static SHARE])
{
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, share, SHARE);
	size_t length = SHARE;
	bool good = peer && EVP_PKEY_derive_set_peer_ex(t->derive, peer, 0) == 1 &&
		    EVP_PKEY_derive(t->derive, out, &length) == 1 && length == SHARE;

	EVP_PKEY_free(peer);
	return good;
}

static bool agree(struct quick_tls *t, const uint8_t *share, uint8_t out[static SHARE])
{
	const struct agreement *known = find_agreement(t, share);

	if (known) {
		memcpy(out, known->secret, SHARE);
		return true;
	}
	if (!derive_shared(t, share, out))
		return false;
	struct agreement *new = &t->agreed[t->agreements++ % AGREEMENTS];

	memcpy(new->share, share, SHARE);
	memcpy(new->secret, out, SHARE);
	return true;
}

/* Record and message in one; returns the bytes of the record. */
static size_t write_hello(const struct quick_link *q, const struct quick_hello *h, uint8_t *out)
{
	/* Suite, no compression, and three extensions: the version, the first PSK, the share. */
	static const uint8_t middle[] = {
		0x13,          0x01, 0, 0, 52, 0, EXTENSION_VERSIONS, 0, 2,  3, 4,    0,
		EXTENSION_PSK, 0,    2, 0, 0,  0, EXTENSION_SHARE,    0, 36, 0, 0x1d, 0,
		SHARE};
	size_t n = HEAD + 4;

	out[n++] = 3;
	out[n++] = 3;
	RAND_bytes(out + n, 32);
	n += 32;
	out[n++] = (uint8_t)h->session.left;
	memcpy(out + n, h->session.at, h->session.left);
	n += h->session.left;
	memcpy(out + n, middle, sizeof(middle));
	n += sizeof(middle);
	memcpy(out + n, q->tls->share, SHARE);
	n += SHARE;
	const uint8_t head[HEAD + 4] = {RECORD_HANDSHAKE,
					3,
					3,
					(uint8_t)((n - HEAD) >> 8),
					(uint8_t)(n - HEAD),
					SERVER_HELLO,
					0,
					(uint8_t)((n - HEAD - 4) >> 8),
					(uint8_t)(n - HEAD - 4)};

	memcpy(out, head, sizeof(head));
	return n;
}

/* Encrypted extensions (none) and Finished, in one record; then the keys of the data. */
static bool finish_flight(struct quick_link *q)
{
	uint8_t flight[6 + 4 + HASH] = {ENCRYPTED_EXTENSIONS, 0, 0, 2, 0, 0, FINISHED, 0, 0, HASH};
	uint8_t derived[HASH], master[HASH];
	static const uint8_t zeros[HASH];

	SHA256_Update(&q->transcript, flight, 6);
	finished_of(q->server, &q->transcript, flight + 10);
	SHA256_Update(&q->transcript, flight + 6, 4 + HASH);
	if (!seal(q, RECORD_HANDSHAKE, flight, sizeof(flight)))
		return false;
	derive_empty(q->handshake, "derived", derived);
	hmac(derived, zeros, HASH, "", 0, master);
	derive_secret(master, "s ap traffic", &q->transcript, q->server);
	set_keys(&q->out, q->server);
	/* Wanted when the client has finished, over the same transcript. */
	derive_secret(master, "c ap traffic", &q->transcript, q->client_data);
	return true;
}

static bool answer_hello(struct quick_link *q, const uint8_t *message, size_t length)
{
	static const uint8_t zeros[HASH];
	uint8_t early[HASH], derived[HASH], shared[SHARE], out[HEAD + 4 + 256];
	struct quick_hello h;

	if (length > HELLO_MOST || !quick_hello_read(message, length, &h))
		return false;
	hmac(zeros, q->psk, sizeof(q->psk), "", 0, early);
	if (!check_binder(q, &h, message, early) || !agree(q->tls, h.share.at, shared))
		return false;
	SHA256_Init(&q->transcript);
	SHA256_Update(&q->transcript, message, length);
	size_t n = write_hello(q, &h, out);

	SHA256_Update(&q->transcript, out + HEAD, n - HEAD);
	g_byte_array_append(q->sealed, out, (guint)n);
	derive_empty(early, "derived", derived);
	hmac(derived, shared, sizeof(shared), "", 0, q->handshake);
	derive_secret(q->handshake, "c hs traffic", &q->transcript, q->client);
	derive_secret(q->handshake, "s hs traffic", &q->transcript, q->server);
	set_keys(&q->in, q->client);
	set_keys(&q->out, q->server);
	return finish_flight(q);
}

static bool check_finished(struct quick_link *q)
{
	static const uint8_t head[4] = {FINISHED, 0, 0, HASH};
	uint8_t expected[HASH];

	finished_of(q->client, &q->transcript, expected);
	if (q->plain_length != 4 + HASH || memcmp(q->plain, head, sizeof(head)) != 0 ||
	    CRYPTO_memcmp(q->plain + 4, expected, HASH) != 0)
		return false;
	set_keys(&q->in, q->client_data);
	return true;
}

static bool take_handshake_record(struct quick_link *q)
{
	enum record_type type;

	if (q->raw[0] == RECORD_CHANGE_CIPHER) /* for middleboxes, without meaning */
		return q->state == QUICK_FINISHED;
	if (q->state == QUICK_HELLO) {
		if (q->raw[0] != RECORD_HANDSHAKE ||
		    !answer_hello(q, q->raw + HEAD, record_length(q)))
			return false;
		q->state = QUICK_FINISHED;
		return true;
	}
	if (q->raw[0] != RECORD_DATA || !unseal(q, record_length(q), &type) ||
	    type != RECORD_HANDSHAKE || !check_finished(q))
		return false;
	q->state = QUICK_OPEN;
	return true;
}

int quick_accept(struct quick_link *q)
{
	while (q->state != QUICK_OPEN) {
		int r = q->sealed->len ? flush(q) : 1;

		if (r == 1)
			r = fill(q);
		if (r != 1)
			return r == 0 ? QUICK_BROKEN : r;
		if (!take_handshake_record(q))
			return QUICK_BROKEN;
		drop_record(q);
		r = q->sealed->len ? flush(q) : 1;
		if (r != 1)
			return r;
	}
	return 1;
}

/* ---- data */

static int next_record(struct quick_link *q)
{
	enum record_type type;
	int r = fill(q);

	if (r != 1)
		return r;
	if (q->raw[0] != RECORD_DATA || !unseal(q, record_length(q), &type))
		return QUICK_BROKEN;
	if (type == RECORD_ALERT)
		q->state = QUICK_ENDED;
	return type == RECORD_DATA || type == RECORD_ALERT ? 1 : QUICK_BROKEN;
}

int quick_read(struct quick_link *q, void *to, size_t room)
{
	while (!q->plain_length) {
		int r = q->state == QUICK_ENDED ? 0 : next_record(q);

		if (r != 1 || q->state == QUICK_ENDED)
			return r == 1 ? 0 : r;
		if (!q->plain_length)
			drop_record(q);
	}
	size_t n = MIN(room, q->plain_length - q->used);

	memcpy(to, q->plain + q->used, n);
	q->used += n;
	if (q->used == q->plain_length)
		drop_record(q);
	return (int)n;
}

int quick_write(struct quick_link *q, const void *from, size_t length, bool last)
{
	static const uint8_t close_notify[] = {1, 0};

	if (!q->sealed->len) {
		g_assert(length <= PLAIN_MOST);
		if (!seal(q, RECORD_DATA, from, length) ||
		    (last && !seal(q, RECORD_ALERT, close_notify, sizeof(close_notify))))
			return QUICK_BROKEN;
		q->last = last;
	}
	int r = flush(q);

	return r == 1 ? (int)length : r;
}

bool quick_wants_write(const struct quick_link *q)
{
	return q->sealed->len > 0;
}

/* ---- life */

void quick_link_start(struct quick_link *q, int fd, const char *identity,
		      const uint8_t psk[static TLS_PSK_BYTES])
{
	q->fd = fd;
	q->state = QUICK_HELLO;
	q->last = false;
	g_strlcpy(q->identity, identity, sizeof(q->identity));
	memcpy(q->psk, psk, sizeof(q->psk));
	q->have = q->sent = q->used = q->plain_length = 0;
	g_byte_array_set_size(q->sealed, 0);
}

struct quick_link *quick_link_new(struct quick_tls *t)
{
	struct quick_link *q = g_new0(struct quick_link, 1);

	q->tls = t;
	q->room = RAW_FIRST;
	q->raw = g_malloc(q->room);
	q->sealed = g_byte_array_new();
	return q;
}

void quick_link_free(struct quick_link *q)
{
	if (!q)
		return;
	g_free(q->raw);
	g_byte_array_unref(q->sealed);
	g_free(q);
}

struct quick_tls *quick_tls_new(void)
{
	struct quick_tls *t = g_new0(struct quick_tls, 1);
	size_t length = SHARE;

	t->key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	t->derive = t->key ? EVP_PKEY_CTX_new(t->key, NULL) : NULL;
	t->cipher = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	t->seal = EVP_CIPHER_CTX_new();
	t->open = EVP_CIPHER_CTX_new();
	if (t->derive && t->cipher && t->seal && t->open && EVP_PKEY_derive_init(t->derive) == 1 &&
	    EVP_PKEY_get_raw_public_key(t->key, t->share, &length) == 1)
		return t;
	quick_tls_free(t);
	return NULL;
}

void quick_tls_free(struct quick_tls *t)
{
	if (!t)
		return;
	EVP_PKEY_CTX_free(t->derive);
	EVP_PKEY_free(t->key);
	EVP_CIPHER_free(t->cipher);
	EVP_CIPHER_CTX_free(t->seal);
	EVP_CIPHER_CTX_free(t->open);
	g_free(t);
}
