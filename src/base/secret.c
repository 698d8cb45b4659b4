#include "secret.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "sanitized.h"

/* Each secret has pages of its own, so that MADV_DONTDUMP covers it. */
struct secret {
	size_t mapped; /* bytes of the mapping this struct is in */
	size_t length;
	char text[];
};

#define TOKEN_BYTES 32

/* A secret of the usual length takes wiped pages that another one has left: mapping pages costs more than all
 * else that is done with a message, and each of a million watches brings a token. */
#define USUAL_BYTES 4096
#define SPARE_MOST  16
/* With AddressSanitizer they are given back: that shows who uses a freed secret. */
#define REUSES_PAGES (!SANITIZED)

static struct {
	GMutex lock;
	unsigned count;
	struct secret *pages[SPARE_MOST];
} spare;

static struct secret *take_spare(void)
{
	g_mutex_lock(&spare.lock);
	struct secret *s = spare.count > 0 ? spare.pages[--spare.count] : NULL;

	g_mutex_unlock(&spare.lock);
	return s;
}

/* False if there are enough. */
static bool keep_spare(struct secret *s)
{
	g_mutex_lock(&spare.lock);
	bool kept = spare.count < SPARE_MOST;

	if (kept)
		spare.pages[spare.count++] = s;
	g_mutex_unlock(&spare.lock);
	return kept;
}

static struct secret *secret_allocate(size_t length)
{
	size_t mapped = MAX(sizeof(struct secret) + length + 1, USUAL_BYTES);
	struct secret *s = REUSES_PAGES && mapped == USUAL_BYTES ? take_spare() : NULL;

	if (!s) {
		s = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (s == MAP_FAILED)
			g_error("out of memory for a secret");
		(void)madvise(s, mapped, MADV_DONTDUMP);
	}
	s->mapped = mapped;
	s->length = length;
	return s;
}

struct secret *secret_new_length(const char *text, size_t length)
{
	struct secret *s = secret_allocate(length);

	memcpy(s->text, text, length);
	return s;
}

struct secret *secret_new(const char *text)
{
	return text ? secret_new_length(text, strlen(text)) : NULL;
}

struct secret *secret_new_token(void)
{
	uint8_t bytes[TOKEN_BYTES];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		g_error("the random source failed");
	char *text = g_base64_encode(bytes, sizeof(bytes));

	for (char *c = text; *c; c++) {
		if (*c == '+')
			*c = '-';
		else if (*c == '/')
			*c = '_';
		else if (*c == '=')
			*c = '\0';
	}
	struct secret *s = secret_new(text);

	OPENSSL_cleanse(bytes, sizeof(bytes));
	secret_wipe_text(text);
	return s;
}

struct secret *secret_dup(const struct secret *s)
{
	return s ? secret_new_length(s->text, s->length) : NULL;
}

void secret_free(struct secret *s)
{
	if (!s)
		return;
	size_t mapped = s->mapped;

	/* The text's end is zero already, and so is what lies behind it. */
	OPENSSL_cleanse(s, sizeof(*s) + s->length);
	if (!REUSES_PAGES || mapped != USUAL_BYTES || !keep_spare(s))
		munmap(s, mapped);
}

const char *secret_peek(const struct secret *s)
{
	return s ? s->text : NULL;
}

size_t secret_length(const struct secret *s)
{
	return s ? s->length : 0;
}

bool secret_equal(const struct secret *s, const char *text, size_t length)
{
	if (!s || !text || s->length != length)
		return false;
	return CRYPTO_memcmp(s->text, text, length) == 0;
}

void secret_forbid_dumps(void)
{
	static const struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
}

void secret_wipe_text(char *text)
{
	if (!text)
		return;
	OPENSSL_cleanse(text, strlen(text));
	g_free(text);
}
