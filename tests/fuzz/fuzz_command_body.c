/* The body of a request to run a command: whatever is taken names a command of the table with parameters
 * that fit, or gives an error of the protocol. */
#include "command_table.h"
#include "commands.h"
#include "jsons.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_auto(command_request) request = {.body = NULL};
	g_auto(agent_error) error = {.type = NULL};
	g_autoptr(GError) reason = NULL;

	if (!command_request_parse((const char *)data, length, &request, &reason)) {
		g_autoptr(json_t) fault = commands_fault(400, reason->message);

		g_assert_nonnull(fault);
		return 0;
	}
	const struct command_row *row = command_row_find(request.name, &error);

	g_assert_true(!row == !!error.type);
	if (row && !command_row_check(row, request.params, &error))
		g_assert_cmpint(error.code, ==, 400);
	return 0;
}
