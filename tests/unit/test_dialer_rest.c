/* Agents at rest. */
#include <string.h>

#include "dialer_fixture.h"
#include "errors.h"

static void test_restart(void)
{
	struct scene s;

	scene_set_up(&s, LOCAL);
	scene_serve(&s);
	scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	s.status_body = "{\"started_at\": 1795291600.0, \"version\": \"12.0.0\"}";
	WAIT_FOR(&s, s.alive_count == 2);
	g_assert_true(s.alive.restarted);
	scene_tear_down(&s);
}

/* Looks at an agent at rest are one request each: the list, and after some of them the status before it. */
static void test_list_alone(void)
{
	static const char one[] =
		"{\"commands\": [{\"id\": \"" COMMAND "\", \"command_name\": \"a\", "
		"\"command_status\": \"SUCCEEDED\", \"command_error\": null, "
		"\"command_result\": null}]}";
	struct scene s;

	scene_set_up(&s, LOCAL);
	s.list_body = one;
	scene_serve(&s);
	scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	g_assert_cmpuint(s.statuses, ==, 1);
	WAIT_FOR(&s, s.lists == 2);
	g_assert_cmpuint(s.statuses, ==, 1);
	/* After a restart the commands are gone: the status is asked in the same look. */
	s.list_body = LIST;
	s.status_body = "{\"started_at\": 1795291600.0, \"version\": \"12.0.0\"}";
	WAIT_FOR(&s, s.alive_count == 2);
	g_assert_true(s.alive.restarted);
	g_assert_cmpuint(s.lists, <, 5);
	g_assert_cmpuint(s.statuses, ==, 2);
	/* With no command it shows in the status, which is asked in the fourth look. */
	s.status_body = STATUS;
	WAIT_FOR(&s, s.alive_count == 3);
	g_assert_cmpuint(s.lists, <=, 9);
	g_assert_cmpuint(s.statuses, ==, 3);
	scene_tear_down(&s);
}

static void test_token_lost(void)
{
	struct scene s;

	scene_set_up(&s, LOCAL);
	scene_serve(&s);
	scene_watch(&s, WATCH_IDLE, TRANSPORT_HTTP, "");
	WAIT_FOR(&s, s.alive_count == 1);
	s.list_code = 401;
	s.list_body = "{\"faultstring\": \"401 Unauthorized: Token invalid.\"}";
	WAIT_FOR(&s, s.gone_count == 1);
	g_assert_true(g_str_has_prefix(s.last_reason, "security event: "));
	g_assert_null(strstr(s.last_reason, "abcdefghij"));
	unsigned before = s.requests;

	scene_call(&s, 3, "standby.sync");
	WAIT_FOR(&s, s.reply_count == 1);
	g_assert_cmpuint(s.last_result, ==, INOX_ERROR_CONFLICT + 1);
	g_assert_cmpuint(s.requests, ==, before);
	scene_tear_down(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dialer/an agent that started again is told", test_restart);
	g_test_add_func("/dialer/at rest the list alone is asked, and a restart still shows",
			test_list_alone);
	g_test_add_func("/dialer/a token that is refused after success ends the dialling",
			test_token_lost);
	return g_test_run();
}
