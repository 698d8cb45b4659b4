/* A machine file: what is read gives a QEMU command line without a surprise. */
#include <string.h>

#include "machine_file.h"
#include "qemu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autoptr(machine_spec) s =
		machine_spec_parse((const char *)data, length, "/folder/machine.ini", NULL);

	if (!s)
		return 0;
	g_assert_true(s->name && s->mac_count > 0 && uuid_is_set(&s->uuid));
	if (s->kind == MACHINE_PROCESS) {
		g_assert_nonnull(s->command);
		return 0;
	}
	g_auto(GStrv) argv =
		qemu_make_argv(s, FIRMWARE_UEFI, (struct qemu_order){true, true}, true, 3);

	g_assert_cmpuint(g_strv_length(argv), >, 10);
	return 0;
}
