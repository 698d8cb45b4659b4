/* A JSON patch from a client: the first line is the document, the rest the operations.  What comes out
 * is an object that is no deeper than both together. */
#include <string.h>

#include "attributes.h"
#include "limit.h"
#include "patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void patch_node(const struct patch *p)
{
	g_autoptr(node) n = node_new();
	attr_set changed = {0}, removed = {0};

	if (!attributes_check_patch(p, &node_attrs, API_MINOR_MAX, NULL) ||
	    !attributes_patch(p, &node_attrs, n, changed, removed, NULL))
		return;
	/* A row must be read by the parser that wrote it. */
	for (unsigned i = 0; i < NODE_ATTR_COUNT; i++) {
		g_autoptr(json_t) value = attr_to_json(&node_attrs, n, i);

		if (!json_is_null(value))
			g_assert_true(attr_from_json(&node_attrs, n, i, value, NULL));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	const char *text = (const char *)data;
	const char *line = length > 0 ? memchr(text, '\n', length) : NULL;

	if (!line)
		return 0;
	size_t first = (size_t)(line - text), rest = length - first - 1;
	g_autoptr(json_t) document = json_parse_limited(text, first, 4096, "document", NULL);
	g_autoptr(json_t) body = json_parse_limited(line + 1, rest, 65536, "patch", NULL);

	if (!json_is_object(document) || !body)
		return 0;
	g_autoptr(GError) error = NULL;
	g_autoptr(patch) p = patch_parse(body, API_MINOR_MAX, &error);

	g_assert_true((p == NULL) == (error != NULL));
	if (!p)
		return 0;
	patch_node(p);
	if (patch_apply(p, document, &error))
		g_assert_true(json_is_object(document));
	else
		g_assert_nonnull(error);
	return 0;
}
