/* What the boot host's inox-media reads: a boot's record, and a client's path and range. */
#include <string.h>

#include "media_range.h"
#include "media_record.h"
#include "media_ticket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void check_record(const uint8_t *data, size_t length)
{
	g_auto(media_record) r = {.count = 0}, again = {.count = 0};
	uint8_t buffer[512];
	size_t printed = 0;

	if (!media_record_parse(data, length, &r, NULL))
		return;
	for (unsigned i = 0; i < r.count; i++) {
		uint64_t before = r.patches[i].offset - MIN(r.patches[i].offset, 100);

		media_record_apply(&r, before, buffer, sizeof(buffer));
	}
	/* The form is strict: there is one text for what it says. */
	uint8_t *text = media_record_print(&r, &printed, NULL);

	g_assert_nonnull(text);
	g_assert_cmpuint(printed, ==, length);
	g_assert_cmpint(memcmp(text, data, length), ==, 0);
	g_assert_true(media_record_parse(text, printed, &again, NULL));
	g_free(text);
}

static void check_request(const char *text)
{
	static const struct media_key key;
	char path[MEDIA_PATH_LENGTH + 1];
	struct media_range r;

	if (media_ticket_check(&key, text, (struct wall){1}, path, NULL))
		g_assert_true(media_path_is_valid(path));
	if (media_range_read(text, NULL, "", 1000, &r) == MEDIA_RANGE_SOME) {
		g_assert_cmpuint(r.length, >, 0);
		g_assert_true(r.offset < 1000 && r.length <= 1000 - r.offset);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autofree char *text = g_strndup((const char *)data, length);

	check_record(data, length);
	check_request(text);
	return 0;
}
