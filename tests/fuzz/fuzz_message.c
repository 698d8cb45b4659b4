/* What a taken-over worker can send: whatever decodes must encode to the same bytes. */
#include <string.h>

#include "message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_auto(message) m = {.type = MESSAGE_NONE};

	if (!message_decode(data, length, &m, NULL))
		return 0;
	g_autoptr(GByteArray) again = g_byte_array_new();

	if (message_encode(&m, again, NULL)) {
		g_assert_cmpuint(again->len, ==, length + 4);
		g_assert_true(memcmp(again->data + 4, data, length) == 0);
	}
	return 0;
}
