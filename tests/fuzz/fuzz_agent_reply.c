/* What an agent can answer: the first byte chooses the parser. */
#include <string.h>

#include "agent_reply.h"
#include "jsons.h"
#include "limit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void check_result(const char *body, size_t length)
{
	g_auto(agent_result) r = {.reason = NULL};
	g_autoptr(GError) error = NULL;

	if (!agent_reply_result(body, length, LIMIT_AGENT_REPLY, &r, &error)) {
		g_assert_nonnull(error);
		return;
	}
	g_assert_true(g_utf8_validate(r.reason, -1, NULL));
	g_assert_cmpuint(strlen(r.reason), <=, AGENT_REASON_MAX * 3);
	g_assert_cmpuint(strlen(r.outcome), <=, LIMIT_AGENT_REPLY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	const char *body = (const char *)data + 1;
	struct agent_status status;
	bool busy;

	if (length == 0)
		return 0;
	length--;
	switch (data[0] % 4) {
	case 0:
		g_assert_true(!agent_reply_status(body, length, &status, NULL) || *status.version);
		break;
	case 1: check_result(body, length); break;
	case 2: g_free(agent_reply_list(body, length, LIMIT_AGENT_REPLY, NULL)); break;
	case 3: g_free(agent_reply_fault(data[0], body, length, &busy)); break;
	}
	return 0;
}
