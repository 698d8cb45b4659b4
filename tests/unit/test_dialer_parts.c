/* The dialer's pure parts: answers of agents, the schedule, the pace, the table. */
#include <string.h>

#include "agent_reply.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "pacing.h"
#include "schedule.h"
#include "table.h"

#define ID "f62b0ea8-c413-42b9-a1db-c7edfec0fcce"

static bool parse_status(const char *text, struct agent_status *s, GError **error)
{
	return agent_reply_status(text, strlen(text), s, error);
}

static void test_status(void)
{
	struct agent_status s;

	g_assert_true(parse_status("{\"started_at\": 1795291598.1135318, \"version\": \"12.0.0\"}",
				   &s, NULL));
	g_assert_cmpstr(s.version, ==, "12.0.0");
	g_assert_cmpuint(s.started_ms, ==, 1795291598113u);
	g_assert_false(s.own_agent);
	g_assert_true(parse_status("{\"started_at\": 5, \"version\": \"0.1.0\", \"agent\": "
				   "\"inox-agent\"}",
				   &s, NULL));
	g_assert_true(s.own_agent);
}

static void test_bad_status(void)
{
	static const struct {
		const char *text, *part;
	} bad[] = {
		{"", "is not valid JSON"},
		{"<html>", "is not valid JSON"},
		{"[]", "is a JSON array instead of an object"},
		{"{}", "no version"},
		{"{\"version\": \"\", \"started_at\": 1}", "no version"},
		{"{\"version\": \"a b\", \"started_at\": 1}", "no version"},
		{"{\"version\": \"1\\n2\", \"started_at\": 1}", "no version"},
		{"{\"version\": 12, \"started_at\": 1}", "no version"},
		{"{\"version\": \"1\"}", "no number in started_at"},
		{"{\"version\": \"1\", \"started_at\": \"1\"}", "no number in started_at"},
		{"{\"version\": \"1\", \"started_at\": -1}", "not a time"},
		{"{\"version\": \"1\", \"started_at\": 1e300}", "not a time"},
		{"{\"version\": \"1\", \"version\": \"1\", \"started_at\": 1}", "duplicate"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		struct agent_status s;

		g_assert_false(parse_status(bad[i].text, &s, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_PEER);
		g_assert_nonnull(strstr(error->message, bad[i].part));
	}
}

static bool parse_result(const char *text, struct agent_result *r, GError **error)
{
	return agent_reply_result(text, strlen(text), LIMIT_AGENT_REPLY, r, error);
}

static void test_result(void)
{
	g_auto(agent_result) r = {.reason = NULL};

	g_assert_true(parse_result("{\"id\": \"" ID "\", \"command_name\": \"prepare_image\", "
				   "\"command_status\": \"RUNNING\", \"command_error\": null, "
				   "\"command_result\": null, "
				   "\"progress\": {\"done\": 7, \"total\": 9, \"phase\": \"x\"}}",
				   &r, NULL));
	g_assert_cmpstr(r.id.s, ==, ID);
	g_assert_cmpstr(r.name, ==, "prepare_image");
	g_assert_cmpint(r.status, ==, COMMAND_RUNNING);
	g_assert_cmpstr(r.outcome, ==, "");
	g_assert_cmpuint(r.done, ==, 7);
	g_assert_cmpuint(r.total, ==, 9);
	agent_result_clear(&r);
	g_assert_true(parse_result("{\"id\": \"" ID "\", \"command_name\": \"standby.sync\", "
				   "\"command_status\": \"FAILED\", \"command_error\": {\"type\": "
				   "\"X\", \"code\": 500, \"message\": \"Failed\", \"details\": "
				   "\"disk\\u001b[31m full\\n\"}, \"command_result\": null}",
				   &r, NULL));
	g_assert_cmpstr(r.name, ==, "sync");
	g_assert_cmpstr(r.reason, ==, "Failed: disk?[31m full?");
	agent_result_clear(&r);
	g_assert_true(parse_result("{\"id\": \"" ID
				   "\", \"command_name\": \"get_partition_uuids\", "
				   "\"command_status\": \"SUCCEEDED\", \"command_error\": null, "
				   "\"command_result\": {\"root uuid\": [1, null]}}",
				   &r, NULL));
	g_assert_cmpstr(r.outcome, ==, "{\"root uuid\":[1,null]}");
}

static void test_bad_result(void)
{
#define REST "\"command_error\": null, \"command_result\": null}"
	static const struct {
		const char *text, *part;
	} bad[] = {
		{"{\"id\": \"1\", \"command_name\": \"a\", \"command_status\": \"RUNNING\", " REST,
		 "no UUID in id"},
		{"{\"id\": \"" ID "\", \"command_status\": \"RUNNING\", " REST, "no command_name"},
		{"{\"id\": \"" ID
		 "\", \"command_name\": \"a b\", \"command_status\": \"RUNNING\", " REST,
		 "no command_name"},
		{"{\"id\": \"" ID
		 "\", \"command_name\": \"a\", \"command_status\": \"DONE\", " REST,
		 "command_status"},
		{"{\"id\": \"" ID
		 "\", \"command_name\": \"a\", \"command_status\": \"UNKNOWN\", " REST,
		 "command_status"},
		{"{\"id\": \"" ID "\", \"command_name\": \"a\", \"command_status\": null, " REST,
		 "command_status"},
		{"\"x\"", "JSON string instead of an object"},
		{"{}garbage", "not valid JSON"},
	};
#undef REST

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		struct agent_result r;

		g_assert_false(parse_result(bad[i].text, &r, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_PEER);
		g_assert_nonnull(strstr(error->message, bad[i].part));
	}
	g_autofree char *large = g_strnfill(LIMIT_AGENT_REPLY + 1, ' ');
	g_autoptr(GError) error = NULL;
	struct agent_result r;

	g_assert_false(parse_result(large, &r, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
}

static void test_list(void)
{
	static const char text[] =
		"{\"commands\": [{\"id\": \"" ID "\", \"command_name\": \"a\", \"command_status\": "
		"\"SUCCEEDED\", \"command_error\": null, \"command_result\": {\"x\": 1}}, {\"id\": "
		"\"" ID "\", \"command_name\": \"b\", \"command_status\": \"FAILED\", "
		"\"command_error\": null, \"command_result\": null}]}";
	g_autoptr(GError) error = NULL;
	g_autofree char *list = agent_reply_list(text, strlen(text), LIMIT_AGENT_REPLY, &error);

	g_assert_no_error(error);
	g_assert_cmpstr(list, ==,
			"[{\"id\":\"" ID "\",\"name\":\"a\",\"status\":\"SUCCEEDED\",\"reason\":"
			"\"\",\"outcome\":{\"x\":1}},{\"id\":\"" ID "\",\"name\":\"b\",\"status\":"
			"\"FAILED\",\"reason\":\"the agent gave no reason\",\"outcome\":null}]");
	g_autofree char *empty = agent_reply_list("{\"commands\": []}", 16, 100, NULL);
	g_assert_cmpstr(empty, ==, "[]");
	g_assert_null(agent_reply_list("{\"commands\": {}}", 16, 100, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_PEER);
	g_clear_error(&error);
	g_assert_null(agent_reply_list("{\"commands\": [7]}", 17, 100, &error));
	g_assert_nonnull(strstr(error->message, "JSON integer"));
}

static char *fault(int status, const char *body, bool *busy)
{
	return agent_reply_fault(status, body, strlen(body), busy);
}

static void test_fault(void)
{
	bool busy;
	g_autofree char *redirect = fault(302, "", &busy);
	g_autofree char *taken = fault(409,
				       "{\"faultcode\": \"Client\", \"faultstring\": \"Agent is "
				       "busy: executing command x\"}",
				       &busy);

	g_assert_true(busy);
	g_assert_cmpstr(taken, ==, "HTTP 409: Agent is busy: executing command x");
	g_assert_nonnull(strstr(redirect, "redirects"));
	g_autofree char *old = fault(500, "{\"faultstring\": \"agent is busy\"}", &busy);
	g_assert_true(busy);
	g_assert_cmpstr(old, ==, "HTTP 500: agent is busy");
	g_autofree char *page = fault(404, "<html>", &busy);
	g_assert_false(busy);
	g_assert_cmpstr(page, ==, "HTTP 404 without a JSON faultstring");
}

/* Against a plain search over an array. */
static void test_schedule(void)
{
	enum { N = 500 };
	g_autoptr(schedule) s = schedule_new();
	uint64_t due_of[N] = {0};
	uint32_t id;
	struct mono due;
	unsigned left = 0;

	for (unsigned i = 0; i < 5000; i++) {
		uint32_t n = g_test_rand_int_range(0, N);

		if (g_test_rand_int_range(0, 4) == 0) {
			schedule_remove(s, n);
			due_of[n] = 0;
		} else {
			due_of[n] = (uint64_t)g_test_rand_int_range(1, 1000);
			schedule_set(s, n, (struct mono){due_of[n]});
		}
		g_assert_cmpint(schedule_is_set(s, n), ==, due_of[n] != 0);
	}
	for (unsigned i = 0; i < N; i++)
		left += due_of[i] != 0;
	for (uint64_t before = 0; schedule_take_due(s, (struct mono){1000}, &id, &due); left--) {
		g_assert_cmpuint(due.us, >=, before);
		g_assert_cmpuint(due.us, ==, due_of[id]);
		before = due.us;
	}
	g_assert_cmpuint(left, ==, 0);
	schedule_set(s, 3, (struct mono){50});
	g_assert_false(schedule_take_due(s, (struct mono){49}, &id, &due));
	g_assert_true(schedule_peek(s, &due) && due.us == 50);
}

static double next_s(struct pacing p)
{
	return (double)pacing_next(&p).us / 1e6;
}

static void test_pacing(void)
{
	struct pacing p = {.phase = WATCH_FIRST_CONTACT, .interval = SPAN_SECONDS(300)};

	/* A machine that boots is asked every 2 to 5 s, however often it was not there. */
	for (p.failures = 0; p.failures < 100; p.failures++) {
		p.chance = (uint64_t)g_test_rand_int() * 1000003u;
		g_assert_cmpfloat(next_s(p), >=, 2);
		g_assert_cmpfloat(next_s(p), <=, 5);
	}
	p.watched = SPAN_SECONDS(3600);
	g_assert_cmpfloat(next_s(p), >=, 48);
	g_assert_cmpfloat(next_s(p), <=, 60);
	struct uuid node = uuid_new();

	p = (struct pacing){.phase = WATCH_IDLE, .interval = SPAN_SECONDS(300), .node = &node};
	p.failures = 1;
	g_assert_cmpfloat(next_s(p), <=, 2);
	p.failures = 60000;
	g_assert_cmpfloat(next_s(p), <=, 60);
	p = (struct pacing){.phase = WATCH_WORKING, .interval = SPAN_SECONDS(300)};
	static const double expected[] = {1, 2, 4, 8, 15, 15};

	for (p.looks = 0; p.looks < G_N_ELEMENTS(expected); p.looks++)
		g_assert_cmpfloat(next_s(p), ==, expected[p.looks]);
	p.interval = SPAN_SECONDS(3);
	g_assert_cmpfloat(next_s(p), ==, 3);
}

static void test_rest(void)
{
	struct uuid node = uuid_new();
	struct pacing p = {.phase = WATCH_IDLE, .interval = SPAN_SECONDS(300), .node = &node};
	struct span first = pacing_first(p.phase, p.interval, 0, &node, p.now);

	/* Never later than the interval, whenever the look before was, and soon in the slot of the first one. */
	for (unsigned i = 0; i < 1000; i++) {
		p.chance = (uint64_t)g_test_rand_int() * 1000003u;
		double next = next_s(p);

		g_assert_cmpfloat(next, <=, 292.5);
		g_assert_cmpfloat(next, >=, i % 20 < 10 ? 254.625 : 289.5);
		p.now = mono_add(p.now, (struct span){(int64_t)(next * 1e6)});
		if (i % 20 >= 10)
			g_assert_cmpuint((p.now.us - (uint64_t)first.us) % 291000000, <=, 1500000);
		if (i % 20 == 19) /* something came between */
			p.now = mono_add(p.now, SPAN_SECONDS(g_test_rand_int_range(0, 3000)));
	}
}

static void test_spread(void)
{
	unsigned in_quarter[4] = {0};

	for (unsigned i = 0; i < 4000; i++) {
		struct uuid u = uuid_new();
		int64_t us =
			pacing_first(WATCH_IDLE, SPAN_SECONDS(100), 0, &u, (struct mono){.us = 77})
				.us;

		g_assert_cmpint(us, <, SPAN_SECONDS(100).us);
		in_quarter[us / SPAN_SECONDS(25).us]++;
	}
	for (unsigned i = 0; i < 4; i++)
		g_assert_cmpuint(in_quarter[i], >, 800);
}

/* The busiest second against the mean of those from `from` to `until`, for agents that all fail or all work
 * since the same moment. */
static double busiest(struct pacing p, bool fails, unsigned from, unsigned until)
{
	enum { AGENTS = 20000, SECONDS = 300 };
	unsigned looks[SECONDS] = {0}, most = 0, sum = 0;

	for (unsigned i = 0; i < AGENTS; i++) {
		struct uuid u = uuid_new();
		int64_t us = pacing_first(p.phase, p.interval, i, &u, p.now).us;

		for (p.looks = p.failures = 0; us < SPAN_SECONDS(SECONDS).us;) {
			looks[us / SPAN_SECONDS(1).us]++;
			*(fails ? &p.failures : &p.looks) += 1;
			p.chance = (uint64_t)g_test_rand_int() * 1000003u;
			us += pacing_next(&p).us;
		}
	}
	for (unsigned i = from; i < until; i++) {
		most = MAX(most, looks[i]);
		sum += looks[i];
	}
	return (double)most * (until - from) / sum;
}

static void test_bunches(void)
{
	struct pacing p = {.phase = WATCH_WORKING, .interval = SPAN_SECONDS(300)};

	/* It is 1.42, and up to 1.48 in a hundred runs; 1.85 when each pause is drawn from 80 to 100 %. */
	g_assert_cmpfloat(busiest(p, false, 20, 60), <, 1.65);
	p.phase = WATCH_IDLE;
	p.interval = SPAN_SECONDS(1);
	/* 1.28, and up to 1.36 */
	g_assert_cmpfloat(busiest(p, true, 120, 240), <, 1.65);
}

static void count_one(void *ctx, struct watch *w)
{
	unsigned *count = ctx;

	g_assert_true(uuid_is_set(&w->node));
	(*count)++;
}

static void test_table(void)
{
	enum { N = 1000 };
	g_autoptr(table) t = table_new();
	static struct uuid nodes[N];
	unsigned count = 0;

	for (unsigned i = 0; i < N; i++) {
		nodes[i] = uuid_new();
		g_assert_cmpuint(table_add(t, &nodes[i])->id, <, N + 256);
	}
	struct watch *kept = table_find(t, &nodes[7]);

	g_strlcpy(kept->token, "secret", sizeof(kept->token));
	g_assert_true(table_at(t, kept->id) == kept);
	for (unsigned i = 500; i < N; i++)
		table_remove(t, table_find(t, &nodes[i]));
	g_assert_null(table_find(t, &nodes[700]));
	g_assert_true(table_find(t, &nodes[7]) == kept);
	g_assert_cmpuint(table_count(t), ==, 500);
	table_each(t, count_one, &count);
	g_assert_cmpuint(count, ==, 500);
	/* A record that is used again holds nothing of the node before. */
	table_remove(t, kept);
	struct watch *again = table_add(t, &nodes[900]);

	g_assert_true(again == kept);
	g_assert_cmpstr(again->token, ==, "");
	g_assert_cmpuint(sizeof(struct watch), <=, 900);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/agent_reply/a status is read and tells our own agent", test_status);
	g_test_add_func("/agent_reply/each mistake in a status is named", test_bad_status);
	g_test_add_func("/agent_reply/a command's result, reason and progress are read",
			test_result);
	g_test_add_func("/agent_reply/each mistake in a result is named", test_bad_result);
	g_test_add_func("/agent_reply/a list keeps its order and is checked whole", test_list);
	g_test_add_func("/agent_reply/refusals become sentences and busy is seen", test_fault);
	g_test_add_func("/schedule/whatever is set and removed, the earliest comes first",
			test_schedule);
	g_test_add_func("/pacing/each phase has its pace and the dead are asked less often",
			test_pacing);
	g_test_add_func("/pacing/at rest each node has its slot, and comes back to it", test_rest);
	g_test_add_func("/pacing/a fleet is spread over the interval", test_spread);
	g_test_add_func("/pacing/what began at the same moment is even soon", test_bunches);
	g_test_add_func("/table/records stay where they are and are wiped", test_table);
	return g_test_run();
}
