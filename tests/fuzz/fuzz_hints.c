/* Root device hints and checksum texts: the first line is JSON, the rest a checksum file. */
#include <string.h>

#include "digest.h"
#include "hints.h"
#include "jsons.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	struct disk d = {.name = (char *)(uintptr_t) "/dev/sda",
			 .kernel = (char *)(uintptr_t) "sda",
			 .size = 5ULL << 30,
			 .model = (char *)(uintptr_t) "A b"};
	struct disk *const pointers[] = {&d};
	const GPtrArray disks = {.pdata = (gpointer *)(uintptr_t)pointers, .len = 1};
	const uint8_t *newline = memchr(data, '\n', length);
	size_t first = newline ? (size_t)(newline - data) : length;
	g_autoptr(json_t) hints =
		json_parse_limited((const char *)data, first, 65536, "the hints", NULL);
	g_autofree char *rest = g_strndup((const char *)data + first, length - first);
	g_autofree char *found = digest_find_in_file(rest, "img", NULL);
	struct digest_wanted wanted;

	if (found)
		g_assert_true(digest_want_text(found, true, &wanted, NULL));
	(void)!digest_want_text(rest, true, &wanted, NULL);
	if (hints && hints_check(hints, NULL)) {
		const struct disk *chosen = hints_choose(hints, &disks, NULL);

		g_assert_true(!chosen || json_object_size(hints) == 0 || hints_match(hints, &d));
	}
	return 0;
}
