/* The arithmetic behind inox-fleet: agents, shares, scripts, histograms. */
#include <string.h>

#include "board.h"
#include "errors.h"
#include "fleet.h"
#include "histogram.h"
#include "share.h"

static struct script idle_script;

static struct fleet *make_fleet(uint32_t agents, enum fault kind, unsigned share)
{
	struct fleet_plan plan = {
		.seed = "test", .agents = agents, .port = 9999, .script = &idle_script};
	g_autoptr(GError) error = NULL;

	script_default(&idle_script);
	plan.transport_share[TRANSPORT_PSK] = SHARE_ALL / 2;
	plan.transport_share[TRANSPORT_HTTP] = SHARE_ALL / 2;
	plan.fault_share[kind] = share;
	struct fleet *f = fleet_new(&plan, &error);

	g_assert_no_error(error);
	return f;
}

static void test_identity(void)
{
	g_autoptr(fleet) f = make_fleet(100000, FAULT_NONE, 0);

	for (uint32_t i = 0; i < 100000; i += 997) {
		struct uuid node = fleet_node(f, i), parsed;
		char address[ENDPOINT_TEXT];
		struct endpoint e;

		g_assert_true(uuid_parse(node.s, &parsed, NULL));
		g_assert_cmpuint(fleet_of_node(f, &node), ==, i);
		fleet_address(f, i, address);
		g_assert_true(endpoint_parse(address, 1, &e, NULL));
		g_assert_cmpuint(fleet_of_ipv4(f, FLEET_ADDRESS_FIRST + i), ==, i);
	}
	struct uuid stranger = uuid_new();

	g_assert_cmpuint(fleet_of_node(f, &stranger), ==, FLEET_NOBODY);
	g_assert_cmpuint(fleet_of_ipv4(f, 0x7f000001), ==, FLEET_NOBODY);
}

static void test_key(void)
{
	g_autoptr(fleet) f = make_fleet(10, FAULT_NONE, 0);
	char token[FLEET_TOKEN_TEXT], other[FLEET_TOKEN_TEXT];
	uint8_t own[TLS_PSK_BYTES], expected[TLS_PSK_BYTES];

	fleet_token(f, 7, token);
	fleet_token(f, 8, other);
	g_assert_cmpuint(strlen(token), ==, 43);
	g_assert_cmpstr(token, !=, other);
	g_autoptr(secret) s = secret_new(token);

	tls_psk_of_token(s, expected);
	fleet_psk(f, 7, own);
	g_assert_cmpmem(own, sizeof(own), expected, sizeof(expected));
}

static void test_layout(void)
{
	g_autoptr(fleet) f = make_fleet(1000, FAULT_REFUSED_PORT, SHARE_ALL / 10);
	unsigned psk = 0;

	g_assert_cmpuint(fleet_healthy(f), ==, 900);
	g_assert_cmpint(fleet_fault(f, 899), ==, FAULT_NONE);
	g_assert_cmpint(fleet_fault(f, 900), ==, FAULT_REFUSED_PORT);
	g_assert_cmpint(fleet_fault(f, 999), ==, FAULT_REFUSED_PORT);
	for (uint32_t i = 0; i < 1000; i++)
		psk += fleet_transport(f, i) == TRANSPORT_PSK;
	g_assert_cmpuint(psk, >, 400);
	g_assert_cmpuint(psk, <, 600);
}

static void test_no_healthy(void)
{
	struct fleet_plan plan = {.seed = "test", .agents = 10, .script = &idle_script};
	g_autoptr(GError) error = NULL;

	plan.fault_share[FAULT_REFUSED_PORT] = SHARE_ALL;
	g_assert_null(fleet_new(&plan, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
}

static void test_script(void)
{
	struct script s;
	g_autoptr(GError) error = NULL;

	g_assert_true(script_parse("agents 10% # some\n boot 5..20\n idle 1.5..2\n run 20..40 fail "
				   "10%\n repeat\nagents 90%\n idle\n",
				   &s, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(s.part_count, ==, 2);
	g_assert_cmpuint(s.parts[0].boot_to, ==, 20);
	g_assert_cmpint(s.parts[0].lines[0].from.us, ==, 1500000);
	g_assert_cmpint(s.parts[0].lines[1].word, ==, SCRIPT_RUN);
	g_assert_cmpuint(s.parts[0].lines[1].fail_share, ==, 1000);
	g_assert_true(s.parts[0].repeat);
	g_assert_true(script_part_of(&s, 999) == &s.parts[0]);
	g_assert_true(script_part_of(&s, 1000) == &s.parts[1]);
	g_assert_cmpint(script_time(&s.parts[0].lines[1], 12345678).us, <=, 40000000);
	g_assert_cmpuint(script_last_boot(&s), ==, 20);
}

static void test_bad_scripts(void)
{
	static const char *const bad[] = {
		"",
		"idle\n",
		"agents 50%\n idle\n",
		"agents 100%\n run\n",
		"agents 100%\n dance\n",
		"agents 100%\n run 5..\n",
		"agents 100%\n run 9..5\n",
		"agents 100%\n idle\n boot 5\n",
		"agents 100%\n boot 0..200\n",
		"agents 100%\n repeat\n idle\n",
		"agents 100%\n run 5 fail 200%\n",
		"agents 100%\n idle 5 6\n",
	};
	struct script s;

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(script_parse(bad[i], &s, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

static void test_histogram(void)
{
	g_autofree struct histogram *h = g_new0(struct histogram, 1);

	g_assert_cmpuint(histogram_quantile(h, 0.5), ==, 0);
	for (unsigned i = 1; i <= 10000; i++)
		histogram_add(h, i);
	g_assert_cmpuint(h->most, ==, 10000);
	g_assert_cmpuint(histogram_quantile(h, 0.5), >=, 5000);
	g_assert_cmpuint(histogram_quantile(h, 0.5), <=, 5050);
	g_assert_cmpuint(histogram_quantile(h, 0.99), >=, 9900);
	g_assert_cmpuint(histogram_quantile(h, 1.0), ==, 10000);
}

static void test_board(void)
{
	struct board *b = board_new(2, 1000, NULL);
	struct tally *t = &b->tallies[1];
	struct mono at = b->start;

	/* Looks at 0, 1000, 2001 and 2500 ms; the other agent is no healthy one. */
	static const int after[] = {0, 1000, 1001, 499};

	for (unsigned i = 0; i < G_N_ELEMENTS(after); i++) {
		at = mono_add(at, SPAN_MS(after[i]));
		board_look(b, t, 0, true, at);
		board_look(b, t, 1, false, at);
	}
	g_autofree struct tally *sum = board_sum(b);

	g_assert_cmpuint(sum->looks, ==, 8);
	g_assert_cmpuint(sum->first_looks, ==, 1);
	g_assert_cmpuint(sum->gap_ms.total, ==, 3);
	g_assert_cmpuint(sum->gap_ms.most, ==, 1001);
	g_assert_cmpuint(sum->late, ==, 1);
	board_free(b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fleet/a node's uuid and address lead back to its agent", test_identity);
	g_test_add_func("/fleet/the channel key is the one of the token", test_key);
	g_test_add_func("/fleet/every fault has a range behind the healthy agents", test_layout);
	g_test_add_func("/fleet/a fleet without healthy agents is refused", test_no_healthy);
	g_test_add_func("/fleet/a script is read with its parts and times", test_script);
	g_test_add_func("/fleet/a script that makes no sense is refused", test_bad_scripts);
	g_test_add_func("/fleet/quantiles are right within a hundredth", test_histogram);
	g_test_add_func("/fleet/a look is late that comes after the interval", test_board);
	return g_test_run();
}
