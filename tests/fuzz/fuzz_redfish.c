/* What a BMC can answer: the first byte chooses the resource. */
#include <string.h>

#include "redfish_client.h"
#include "redfish_parse.h"
#include "redfish_slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void fuzz_root(const char *text, size_t length)
{
	g_auto(redfish_root) r = {0};

	if (redfish_parse_root(text, length, &r, NULL))
		g_assert_true(!r.systems || r.systems[0] == '/');
}

static void fuzz_collection(const char *text, size_t length)
{
	g_auto(redfish_collection) c = {0};

	if (redfish_parse_collection(text, length, &c, NULL))
		g_assert_true(!c.first || c.first[0] == '/');
}

static void fuzz_system(const char *text, size_t length)
{
	g_auto(redfish_system) s = {0};
	enum reset_type type;

	if (!redfish_parse_system(text, length, &s, NULL))
		return;
	for (unsigned i = 0; i < 7; i++) {
		g_autoptr(GError) error = NULL;
		json_t *body = redfish_make_override(&s, (enum boot_device)(i % 5), i & 1,
						     (enum boot_mode)(i % 3), NULL);

		json_decref(body);
		g_assert_true(redfish_choose_reset(&s, (enum power_target)i, &type, &error) ==
			      !error);
	}
}

static void fuzz_action_info(const char *text, size_t length)
{
	struct allowed a = {0};

	if (redfish_parse_action_info(text, length, &a, NULL))
		redfish_allowed_clear(&a);
}

static void fuzz_refusal(const char *text, size_t length)
{
	g_auto(redfish_refusal) r = {0};

	redfish_parse_refusal(text, length, &r);
	g_assert_true(!r.text || !strpbrk(r.text, "\r\n"));
}

static void fuzz_slot(const char *text, size_t length)
{
	g_auto(redfish_slot) s = {0};

	if (redfish_parse_slot(text, length, &s, NULL))
		g_assert_true((!s.insert || s.insert[0] == '/') && (!s.eject || s.eject[0] == '/'));
}

static void fuzz_media_link(const char *text, size_t length)
{
	g_autofree char *link = NULL;

	if (redfish_parse_media_link(text, length, &link, NULL))
		g_assert_true(!link || link[0] == '/');
}

static void fuzz_address(const char *text, size_t length)
{
	g_autofree char *address = g_strndup(text, length);
	struct endpoint e;
	char *base, *root;

	if (!redfish_address_parse(address, &e, &base, &root, NULL))
		return;
	g_free(base);
	g_free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	static void (*const targets[])(const char *text, size_t length) = {
		fuzz_root,    fuzz_collection, fuzz_system, fuzz_action_info,
		fuzz_refusal, fuzz_address,    fuzz_slot,   fuzz_media_link,
	};

	if (length > 0)
		targets[data[0] % G_N_ELEMENTS(targets)]((const char *)data + 1, length - 1);
	return 0;
}
