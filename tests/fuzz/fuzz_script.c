/* Kernel arguments of a boot: whatever is accepted adds words to one line and nothing else. */
#include <string.h>

#include "script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	static const struct uuid node = {"5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c33"};
	g_autofree char *json = g_strndup((const char *)data, length);
	const struct script_boot boot = {&node, 1,  TRANSPORT_PSK,
					 json,  "", "Zm9vYmFyYmF6cXV4MTIzNDU2"};
	g_autofree char *arguments = script_arguments(&boot, NULL);

	if (!arguments)
		return 0;
	g_assert_cmpuint(strlen(arguments), <, SCRIPT_ARGUMENTS_MAX);
	g_assert_null(strpbrk(arguments, "\n\r\t\v\f\"'`$\\{};|&#<>"));
	/* Not as a word of its own; inside a value it is only text. */
	g_assert_null(strstr(arguments, " ipa-api-url="));
	g_assert_false(g_str_has_prefix(arguments, "ipa-api-url="));
	for (const char *c = arguments; *c; c++)
		g_assert_true(g_ascii_isprint(*c));
	return 0;
}
