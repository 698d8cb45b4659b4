/* Compressed images and config drives.  First byte: how the input is cut into pieces. */
#include <string.h>

#include "config_drive.h"
#include "unpack.h"

#define OUTPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void unpack_all(const uint8_t *data, size_t length, size_t step)
{
	g_autoptr(unpack) u = unpack_new(unpack_detect(data, length), 8 << 20);
	uint8_t out[999];
	size_t at = 0, used, got = 1, total = 0;

	while (total < OUTPUT_MAX && (at < length || got > 0)) {
		if (!unpack_step(u, data + at, MIN(step, length - at), &used, out, sizeof(out),
				 &got, NULL))
			return;
		g_assert_true(used <= MIN(step, length - at) && got <= sizeof(out));
		if (at < length && used == 0 && got == 0)
			return;
		at += used;
		total += got;
	}
	(void)!unpack_finish(u, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	const struct fetch_options options = {.stall_s = 1};

	if (length < 2)
		return 0;
	if (unpack_detect(data + 1, length - 1) != UNPACK_NONE)
		unpack_all(data + 1, length - 1, 1 + 3 * (size_t)data[0]);

	/* Never a URL: a fuzz target makes no connections. */
	g_autofree char *encoded = g_base64_encode(data + 1, length - 1);
	g_autofree char *text = g_strndup((const char *)data + 1, length - 1);
	config_drive_free(config_drive_load(encoded, &options, NULL));
	if (g_ascii_strncasecmp(text, "http", 4) != 0) {
		g_autoptr(config_drive) two = config_drive_load(text, &options, NULL);

		g_assert_true(!two || config_drive_size(two) > 0);
	}
	return 0;
}
