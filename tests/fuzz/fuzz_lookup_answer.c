/* What an API can answer to an agent: the first byte chooses the reader. */
#include <string.h>

#include "agent_options.h"
#include "api_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void check_lookup(const char *body, size_t length)
{
	g_auto(lookup_answer) a = {.node_json = NULL};
	g_autoptr(GError) error = NULL;

	if (!lookup_answer_parse(body, length, &a, &error)) {
		g_assert_nonnull(error);
		g_assert_null(a.node_json);
		return;
	}
	g_assert_true(uuid_is_set(&a.node) && json_is_object(a.node_json));
	g_assert_true(a.heartbeat_timeout_s > 0);
	g_assert_false(a.token && a.token_masked);
	if (a.token)
		g_assert_true(agent_options_is_token(secret_peek(a.token), secret_length(a.token)));
}

static void check_fault(const char *body, size_t length)
{
	g_autofree char *text = api_text_fault(body, length);

	if (!text)
		return;
	g_assert_true(g_utf8_validate(text, -1, NULL));
	for (const char *p = text; *p; p++)
		g_assert_false(g_ascii_iscntrl(*p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	const char *body = (const char *)data + 1;

	if (length == 0)
		return 0;
	length--;
	switch (data[0] % 3) {
	case 0: check_lookup(body, length); break;
	case 1: check_fault(body, length); break;
	case 2: g_assert_cmpuint(api_text_minor(body, length), >, 0); break;
	}
	return 0;
}
