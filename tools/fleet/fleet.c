#include "fleet.h"

#include <arpa/inet.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "errors.h"
#include "share.h"

#define HASH_BYTES 32
#define PSK_INFO   "inox agent psk v1\x01" /* the byte behind it: first block of HKDF-Expand */

enum salt { SALT_EPOCH = 1, SALT_TRANSPORT, SALT_SCRIPT, SALT_BOOT };

struct range {
	uint32_t first, count;
};

struct fleet {
	struct fleet_plan plan;
	uint32_t healthy;
	struct range ranges[FAULT_COUNT];
	uint8_t key[HASH_BYTES];
	uint64_t mix;
	EVP_MAC_CTX *hmac;
};

/* ---- chance */

/* splitmix64, by Sebastiano Vigna (public domain): https://prng.di.unimi.it/splitmix64.c */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint64_t fleet_chance(const struct fleet *f, uint32_t agent, uint64_t salt)
{
	return mix(f->mix ^ mix(salt << 32 | agent));
}

/* HMAC-SHA256; the context knows its digest already. */
static void hash(const struct fleet *f, const uint8_t key[static HASH_BYTES], const void *text,
		 size_t length, uint8_t out[static HASH_BYTES])
{
	size_t got = 0;

	if (EVP_MAC_init(f->hmac, key, HASH_BYTES, NULL) != 1 ||
	    EVP_MAC_update(f->hmac, text, length) != 1 ||
	    EVP_MAC_final(f->hmac, out, &got, HASH_BYTES) != 1 || got != HASH_BYTES)
		g_error("OpenSSL cannot make an HMAC");
}

static void derive(const struct fleet *f, char what, uint32_t agent, uint8_t out[static HASH_BYTES])
{
	uint8_t text[5] = {(uint8_t)what, (uint8_t)(agent >> 24), (uint8_t)(agent >> 16),
			   (uint8_t)(agent >> 8), (uint8_t)agent};

	hash(f, f->key, text, sizeof(text), out);
}

/* ---- the number inside a UUID: a Feistel network of four rounds */

static uint32_t half_round(const struct fleet *f, unsigned turn, uint32_t half)
{
	return (uint32_t)fleet_chance(f, half, 16 + turn) & 0xffff;
}

static uint32_t permute(const struct fleet *f, uint32_t number)
{
	uint32_t left = number >> 16, right = number & 0xffff;

	for (unsigned turn = 0; turn < 4; turn++) {
		uint32_t next = left ^ half_round(f, turn, right);

		left = right;
		right = next;
	}
	return left << 16 | right;
}

static uint32_t permute_back(const struct fleet *f, uint32_t number)
{
	uint32_t left = number >> 16, right = number & 0xffff;

	for (unsigned turn = 4; turn-- > 0;) {
		uint32_t before = right ^ half_round(f, turn, left);

		right = left;
		left = before;
	}
	return left << 16 | right;
}

struct uuid fleet_node(struct fleet *f, uint32_t agent)
{
	uint8_t h[HASH_BYTES];
	struct uuid u;

	derive(f, 'n', agent, h);
	g_snprintf(u.s, sizeof(u.s), "%08x-%02x%02x-4%x%02x-%x%x%02x-%02x%02x%02x%02x%02x%02x",
		   permute(f, agent), h[0], h[1], h[2] & 15u, h[3], 8u | (h[4] & 3u), h[5] & 15u,
		   h[6], h[7], h[8], h[9], h[10], h[11], h[12]);
	return u;
}

uint32_t fleet_of_node(struct fleet *f, const struct uuid *node)
{
	uint32_t agent = permute_back(f, (uint32_t)g_ascii_strtoull(node->s, NULL, 16));

	if (agent >= f->plan.agents)
		return FLEET_NOBODY;
	struct uuid expected = fleet_node(f, agent);

	return strcmp(expected.s, node->s) == 0 ? agent : FLEET_NOBODY;
}

/* ---- what an agent is */

uint64_t fleet_epoch(const struct fleet *f, uint32_t agent)
{
	return 1 + fleet_chance(f, agent, SALT_EPOCH) % 1000;
}

void fleet_token(struct fleet *f, uint32_t agent, char out[static FLEET_TOKEN_TEXT])
{
	uint8_t h[HASH_BYTES];

	derive(f, 't', agent, h);
	g_autofree char *text = g_base64_encode(h, sizeof(h));

	g_strdelimit(g_strdelimit(text, "+", '-'), "/", '_');
	g_strlcpy(out, text, FLEET_TOKEN_TEXT); /* without the '=' at its end */
}

/* HKDF (RFC 5869) by hand: through EVP_KDF it costs several times as much. */
void fleet_psk(struct fleet *f, uint32_t agent, uint8_t out[static TLS_PSK_BYTES])
{
	static const uint8_t no_salt[HASH_BYTES];
	uint8_t extracted[HASH_BYTES];
	char token[FLEET_TOKEN_TEXT];

	fleet_token(f, agent, token);
	hash(f, no_salt, token, strlen(token), extracted);
	hash(f, extracted, PSK_INFO, sizeof(PSK_INFO) - 1, out);
}

enum fault fleet_fault(const struct fleet *f, uint32_t agent)
{
	if (agent < f->healthy)
		return FAULT_NONE;
	for (int k = FAULT_NONE + 1; k < FAULT_COUNT; k++)
		if (agent - f->ranges[k].first < f->ranges[k].count)
			return (enum fault)k;
	return FAULT_NONE;
}

enum agent_transport fleet_transport(const struct fleet *f, uint32_t agent)
{
	int fixed = fault_table[fleet_fault(f, agent)].transport;
	unsigned chance = (unsigned)(fleet_chance(f, agent, SALT_TRANSPORT) % SHARE_ALL);

	if (fixed != FAULT_TRANSPORT_ANY)
		return (enum agent_transport)fixed;
	for (unsigned t = 0; t < FLEET_TRANSPORTS; t++) {
		if (chance < f->plan.transport_share[t])
			return (enum agent_transport)t;
		chance -= f->plan.transport_share[t];
	}
	return TRANSPORT_PSK;
}

void fleet_address(const struct fleet *f, uint32_t agent, char out[static ENDPOINT_TEXT])
{
	uint32_t a = FLEET_ADDRESS_FIRST + agent;

	if (agent == 0 && f->plan.ipv6)
		g_strlcpy(out, "::1", ENDPOINT_TEXT);
	else
		g_snprintf(out, ENDPOINT_TEXT, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255,
			   a & 255);
}

uint32_t fleet_of_ipv4(const struct fleet *f, uint32_t address)
{
	uint32_t agent = address - FLEET_ADDRESS_FIRST;

	return agent < f->plan.agents && !(agent == 0 && f->plan.ipv6) ? agent : FLEET_NOBODY;
}

const struct script_part *fleet_script(const struct fleet *f, uint32_t agent)
{
	unsigned chance = (unsigned)(fleet_chance(f, agent, SALT_SCRIPT) % SHARE_ALL);

	return script_part_of(f->plan.script, chance);
}

/* Agents that boot listen on a port per second, which is opened when that second has come; where nothing
 * ever listens is right behind the first port. */
unsigned fleet_port(const struct fleet *f, uint32_t agent)
{
	if (fleet_fault(f, agent) == FAULT_REFUSED_PORT)
		return f->plan.port + 1;
	if (fleet_fault(f, agent) || (agent == 0 && f->plan.ipv6))
		return f->plan.port;
	unsigned wave =
		script_boot_second(fleet_script(f, agent), fleet_chance(f, agent, SALT_BOOT));

	return wave ? f->plan.port + 1 + wave : f->plan.port;
}

/* ---- life */

uint32_t fleet_count(const struct fleet *f)
{
	return f->plan.agents;
}

uint32_t fleet_healthy(const struct fleet *f)
{
	return f->healthy;
}

const struct fleet_plan *fleet_plan(const struct fleet *f)
{
	return &f->plan;
}

void fleet_fault_range(const struct fleet *f, enum fault kind, uint32_t *ret_first,
		       uint32_t *ret_count)
{
	*ret_first = f->ranges[kind].first;
	*ret_count = f->ranges[kind].count;
}

/* A fault with a share has at least one agent. */
static bool lay_out(struct fleet *f, GError **error)
{
	uint32_t left = f->plan.agents;

	for (int k = FAULT_COUNT - 1; k > FAULT_NONE; k--) {
		uint64_t share = f->plan.fault_share[k];
		uint32_t count = (uint32_t)((f->plan.agents * share + SHARE_ALL / 2) / SHARE_ALL);

		count = share && !count ? 1 : count;
		if (count >= left)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "the faults leave no healthy agent of %u",
					      f->plan.agents);
		left -= count;
		f->ranges[k] = (struct range){left, count};
	}
	f->healthy = left;
	return true;
}

static void make_keys(struct fleet *f)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	char digest[] = "SHA256";
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	unsigned length = HASH_BYTES;

	f->hmac = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	if (!f->hmac || EVP_MAC_CTX_set_params(f->hmac, parameters) != 1 ||
	    EVP_Digest(f->plan.seed, strlen(f->plan.seed), f->key, &length, EVP_sha256(), NULL) !=
		    1)
		g_error("OpenSSL cannot make an HMAC");
	memcpy(&f->mix, f->key, sizeof(f->mix));
}

struct fleet *fleet_new(const struct fleet_plan *plan, GError **error)
{
	g_autoptr(fleet) f = g_new0(struct fleet, 1);

	f->plan = *plan;
	if (plan->agents < 1 || plan->agents > FLEET_AGENTS_MOST) {
		inox_error_set(error, INOX_ERROR_INVALID, "a fleet has 1 to %u agents",
			       FLEET_AGENTS_MOST);
		return NULL;
	}
	if (!lay_out(f, error))
		return NULL;
	make_keys(f);
	return g_steal_pointer(&f);
}

void fleet_free(struct fleet *f)
{
	if (!f)
		return;
	EVP_MAC_CTX_free(f->hmac);
	OPENSSL_cleanse(f->key, sizeof(f->key));
	g_free(f);
}
