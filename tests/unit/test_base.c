#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "dialer_metrics.h"
#include "errors.h"
#include "identity.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"
#include "ration.h"
#include "seal.h"
#include "secret.h"
#include "vocabulary.h"

static void test_mac(void)
{
	struct mac m;
	char text[MAC_TEXT];

	g_assert_true(mac_parse("52:54:00:AB:cd:ef", &m, NULL));
	mac_print(m, text);
	g_assert_cmpstr(text, ==, "52:54:00:ab:cd:ef");
	static const char *const bad[] = {"",
					  "52:54:00:ab:cd",
					  "52:54:00:ab:cd:ef:",
					  "52:54:00:ab:cd:e",
					  "5254.00ab.cdef",
					  "52:54:00:ab:cd:eg"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(mac_parse(bad[i], &m, NULL));
}

static void test_uuid(void)
{
	struct uuid u, v = uuid_new();

	g_assert_true(uuid_parse(v.s, &u, NULL));
	g_assert_cmpstr(u.s, ==, v.s);
	g_assert_true(uuid_parse("6F1C0AE4-0000-4000-8000-0123456789AB", &u, NULL));
	g_assert_cmpstr(u.s, ==, "6f1c0ae4-0000-4000-8000-0123456789ab");
	g_assert_false(uuid_parse("6f1c0ae4-0000-4000-8000-0123456789a", &u, NULL));
	g_assert_false(uuid_parse("6f1c0ae4-0000-4000-8000-0123456789abc", &u, NULL));
	g_assert_false(uuid_parse("", &u, NULL));
}

static void test_endpoint(void)
{
	struct endpoint e;
	struct network n;
	char text[ENDPOINT_TEXT];

	g_assert_true(endpoint_parse("::ffff:10.0.0.7", 9999, &e, NULL));
	endpoint_print(&e, text);
	g_assert_cmpstr(text, ==, "10.0.0.7:9999");
	g_assert_true(endpoint_parse_pair("[fd77::1]:80", &e, NULL));
	endpoint_print(&e, text);
	g_assert_cmpstr(text, ==, "[fd77::1]:80");
	g_assert_false(endpoint_parse("boot.example", 80, &e, NULL));
	g_assert_false(endpoint_parse("10.0.0.1", 0, &e, NULL));
	g_assert_true(network_parse("10.77.2.0/23", &n, NULL));
	g_assert_true(endpoint_parse("10.77.3.255", 1, &e, NULL) && network_contains(&n, &e));
	g_assert_true(endpoint_parse("10.77.4.0", 1, &e, NULL) && !network_contains(&n, &e));
	g_assert_true(network_parse("fd77:2::/64", &n, NULL));
	g_assert_true(endpoint_parse("fd77:2::9", 1, &e, NULL) && network_contains(&n, &e));
	g_assert_true(endpoint_parse("10.77.3.1", 1, &e, NULL) && !network_contains(&n, &e));
	g_assert_false(network_parse("10.0.0.0/33", &n, NULL));
}

static void test_json_limits(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *deep = g_strnfill(LIMIT_JSON_DEPTH + 1, '[');

	g_assert_null(json_parse_limited(deep, strlen(deep), 1000, "the body", &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
	g_clear_error(&error);
	g_assert_null(json_parse_limited("{\"a\":1,\"a\":2}", 13, 1000, "the body", &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	g_assert_true(g_str_has_prefix(error->message, "the body is not valid JSON"));
	g_clear_error(&error);
	g_assert_null(json_parse_limited("[1,2]", 5, 4, "the body", &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
	g_autoptr(json_t) value = json_parse_limited("\"[[[[\\\"[[\"", 10, 100, "x", NULL);
	g_assert_cmpstr(json_string_value(value), ==, "[[[[\"[[");
}

static void test_seal(void)
{
	g_autofree char *folder = g_dir_make_tmp("inox-test-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "sealing.key", NULL);
	g_autoptr(seal_key) key = seal_key_load_or_create(path, NULL);
	g_autoptr(seal_key) again = seal_key_load_or_create(path, NULL);
	g_autofree char *public_text = seal_key_public_text(key);
	g_autoptr(seal_key) public_half = seal_key_from_public_text(public_text, NULL);
	g_autofree char *sealed = seal_text(public_half, "node-1", "calvin");
	g_autoptr(GError) error = NULL;
	struct stat st;

	g_assert_true(g_stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	g_assert_true(seal_is_sealed(sealed));
	g_assert_null(strstr(sealed, "calvin"));
	g_autoptr(secret) opened = seal_open(again, "node-1", sealed, NULL);
	g_assert_cmpstr(secret_peek(opened), ==, "calvin");
	g_assert_null(seal_open(key, "node-2", sealed, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	g_clear_error(&error);
	g_assert_null(seal_open(public_half, "node-1", sealed, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_UNSUPPORTED);
	g_clear_error(&error);
	sealed[strlen(sealed) - 6] ^= 1;
	g_assert_null(seal_open(key, "node-1", sealed, &error));
	g_clear_error(&error);
	g_assert_true(g_chmod(path, 0644) == 0);
	g_assert_null(seal_key_load_or_create(path, &error));
	g_assert_nonnull(strstr(error->message, "0600"));
	g_unlink(path);
	g_rmdir(folder);
}

static bool list_allows(const char *network, const char *address)
{
	struct network n;
	struct endpoint e;

	g_assert_true(network_parse(network, &n, NULL));
	g_assert_true(endpoint_parse(address, 443, &e, NULL));
	return network_list_allows(&n, 1, &e);
}

static void test_network_list(void)
{
	g_assert_true(list_allows("0.0.0.0/0", "10.0.0.1"));
	g_assert_false(list_allows("0.0.0.0/0", "127.0.0.1"));
	g_assert_false(list_allows("0.0.0.0/0", "0.0.0.0"));
	g_assert_true(list_allows("127.0.0.0/8", "127.0.0.1"));
	g_assert_true(list_allows("127.0.3.0/24", "127.0.3.9"));
	g_assert_false(list_allows("127.0.3.0/24", "127.0.4.9"));
	g_assert_false(list_allows("::/0", "::1"));
	g_assert_false(list_allows("::/0", "::"));
	g_assert_true(list_allows("::/0", "fd77::1"));
	g_assert_true(list_allows("::1/128", "::1"));
	g_assert_false(list_allows("::/0", "10.0.0.1"));
	g_assert_false(network_list_allows(NULL, 0, &(struct endpoint){.length = 0}));
}

static void test_figures(void)
{
	struct dialer_metrics m = {.polls_ok = 7, .in_long = 3}, back;
	struct dialer_metrics *list[] = {NULL, &m};
	g_autoptr(GString) out = g_string_new(NULL);
	g_autoptr(GError) error = NULL;

	histogram_add(&m.handshake, BOUNDS_SHORT, SPAN_MS(1));
	histogram_add(&m.handshake, BOUNDS_SHORT, SPAN_MS(3));
	histogram_add(&m.handshake, BOUNDS_SHORT, SPAN_SECONDS(9));
	histogram_add(&m.handshake, BOUNDS_SHORT, (struct span){-5});
	g_autofree char *text = dialer_metrics_encode(&m);

	g_assert_true(dialer_metrics_decode(text, &back, NULL));
	g_assert_true(memcmp(&m, &back, sizeof(m)) == 0);
	g_autofree char *longer = g_strconcat(text, " 1", NULL);

	g_assert_false(dialer_metrics_decode(longer, &back, &error));
	g_assert_false(dialer_metrics_decode("", &back, NULL));
	text[0] = '-';
	g_assert_false(dialer_metrics_decode(text, &back, NULL));
	dialer_metrics_print(out, list, 2);
	static const char *const lines[] = {
		"# TYPE inox_dialer_polls_total counter\n",
		"\ninox_dialer_polls_total{dialer=\"1\",outcome=\"ok\"} 7\n",
		"\ninox_dialer_in_flight{dialer=\"1\",kind=\"long poll\"} 3\n",
		"\ninox_dialer_backlog_bytes{dialer=\"1\"} 0\n",
		"# TYPE inox_dialer_handshake_seconds histogram\n",
		"\ninox_dialer_handshake_seconds_bucket{dialer=\"1\",le=\"0.001\"} 2\n",
		"\ninox_dialer_handshake_seconds_bucket{dialer=\"1\",le=\"0.005\"} 3\n",
		"\ninox_dialer_handshake_seconds_bucket{dialer=\"1\",le=\"+Inf\"} 4\n",
		"\ninox_dialer_handshake_seconds_sum{dialer=\"1\"} 9.004000\n",
		"\ninox_dialer_handshake_seconds_count{dialer=\"1\"} 4\n",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
		g_assert_nonnull(strstr(out->str, lines[i]));
	g_assert_null(strstr(out->str, "dialer=\"0\""));
}

static void test_token(void)
{
	g_autoptr(secret) a = secret_new_token();
	g_autoptr(secret) b = secret_new_token();

	g_assert_cmpuint(secret_length(a), ==, 43);
	g_assert_null(strpbrk(secret_peek(a), "+/="));
	g_assert_false(secret_equal(a, secret_peek(b), secret_length(b)));
	g_assert_true(secret_equal(a, secret_peek(a), 43));
	g_assert_false(secret_equal(a, secret_peek(a), 42));
	g_assert_false(secret_equal(NULL, "", 0));
}

/* More at a time than pages are kept for, and longer ones than a page. */
static void test_secret_pages(void)
{
	enum { SECRETS = 40 };
	struct secret *all[SECRETS];

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < SECRETS; i++) {
			g_autofree char *text = g_strnfill((i * 391 + round * 7) % 9000, 'a');

			all[i] = secret_new(text);
		}
		for (unsigned i = 0; i < SECRETS; i++) {
			size_t length = (i * 391 + round * 7) % 9000;

			g_assert_cmpuint(secret_length(all[i]), ==, length);
			/* Of what was there before nothing is left. */
			g_assert_cmpuint(strlen(secret_peek(all[i])), ==, length);
			secret_free(all[i]);
		}
	}
	g_autoptr(secret) empty = secret_new("");

	for (unsigned i = 0; i < 4000; i++)
		g_assert_cmpint(secret_peek(empty)[i], ==, 0);
}

static void test_clean(void)
{
	g_autofree char *cleaned = log_clean_text("a\nb\x1b[31m\xff", 9, 100);

	g_assert_null(strpbrk(cleaned, "\n\x1b"));
	g_autofree char *cut = log_clean_text("abcdef", 6, 3);
	g_assert_cmpstr(cut, ==, "abc");
}

static void test_vocabulary(void)
{
	g_assert_cmpint(power_state_parse("power on"), ==, POWER_ON);
	g_assert_cmpint(power_state_parse("on"), ==, -1);
	g_assert_cmpstr(boot_device_text(BOOT_DEVICE_PXE), ==, "pxe");
	g_assert_cmpstr(boot_device_text(99), ==, "?");
}

static unsigned take_all(struct ration *r, struct mono now)
{
	unsigned taken = 0;

	while (taken < 1000 && ration_take(r, 250, now))
		taken++;
	return taken;
}

static void test_ration(void)
{
	struct ration r = {{0}};
	struct mono now = {12345678};

	g_assert_cmpuint(take_all(&r, now), ==, 250);
	g_assert_cmpuint(take_all(&r, mono_add(now, SPAN_MS(3))), ==, 0);
	g_assert_cmpuint(take_all(&r, mono_add(now, SPAN_MS(4))), ==, 1);
	g_assert_cmpuint(take_all(&r, mono_add(now, SPAN_MS(504))), ==, 125);
	g_assert_cmpuint(take_all(&r, mono_add(now, SPAN_SECONDS(100))), ==, 250);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mac/only six bytes with separators are taken", test_mac);
	g_test_add_func("/uuid/only the canonical form is taken, in either case", test_uuid);
	g_test_add_func("/endpoint/addresses are numeric and mapped ones become IPv4",
			test_endpoint);
	g_test_add_func("/network/loopback is dialled only when it is named", test_network_list);
	g_test_add_func("/json/depth, size and duplicate keys are limited", test_json_limits);
	g_test_add_func("/seal/a text opens with its key and its node only", test_seal);
	g_test_add_func("/figures/a dialer's figures are sent, checked and printed", test_figures);
	g_test_add_func("/secret/tokens are 43 URL-safe characters and compare whole", test_token);
	g_test_add_func("/secret/pages that are used again hold nothing of the secret before",
			test_secret_pages);
	g_test_add_func("/log/text from machines loses its control characters", test_clean);
	g_test_add_func("/vocabulary/words and numbers map both ways", test_vocabulary);
	g_test_add_func("/ration/a second's share, and what the second before has left",
			test_ration);
	return g_test_run();
}
