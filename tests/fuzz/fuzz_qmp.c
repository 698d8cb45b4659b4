/* What a QEMU that was taken over by its guest can say on one line. */
#include <string.h>

#include "qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_auto(qmp_line) line = {.kind = QMP_GREETING};

	if (!qmp_parse_line((const char *)data, length, &line, NULL))
		return 0;
	g_assert_true(line.kind != QMP_EVENT || line.name[0]);
	g_assert_true((line.kind == QMP_REFUSAL) == (line.text != NULL));
	g_assert_true(!line.text || !strpbrk(line.text, "\r\n"));
	return 0;
}
