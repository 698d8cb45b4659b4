/* Any JSON as the value of any attribute, as a body, and as a database column: what is taken reads back
 * as the same from JSON and from its column, and sentences stay valid UTF-8. */
#include <string.h>

#include "jsons.h"
#include "limit.h"
#include "port.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void check_sentence(const GError *error)
{
	g_assert_nonnull(error);
	g_assert_true(g_utf8_validate(error->message, -1, NULL));
}

static void check_column(const struct attr_table *t, const void *object, unsigned attr)
{
	g_autofree void *back = g_malloc(t->size);
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	struct attr_value value;

	attrs_init(t, back);
	/* A unset UUID or an unknown state has no column value of its own where null is refused. */
	g_assert_true(attr_to_value(t, object, attr, &value, &text, &error));
	if (value.type != ATTR_VALUE_NULL || t->attrs[attr].flags & A_NULL) {
		g_assert_true(attr_from_value(t, back, attr, &value, &error));
		g_assert_true(attr_is_equal(t, object, back, attr));
	}
	attrs_clear(t, back);
}

static void check_attr(const struct attr_table *t, void *object, unsigned attr, const json_t *value)
{
	g_autoptr(GError) error = NULL;

	if (!attr_from_json(t, object, attr, value, &error)) {
		check_sentence(error);
		return;
	}
	g_autoptr(json_t) out = attr_to_json(t, object, attr);

	if (!json_is_null(out))
		g_assert_true(attr_from_json(t, object, attr, out, &error));
	g_autoptr(json_t) again = attr_to_json(t, object, attr);
	g_assert_true(json_equal(out, again));
	check_column(t, object, attr);
}

static void check_table(const struct attr_table *t, const json_t *value,
			const struct attr_value *raw)
{
	g_autofree void *object = g_malloc(t->size);
	attr_set changed = {0};

	attrs_init(t, object);
	for (unsigned i = 0; i < t->count; i++) {
		g_autoptr(GError) error = NULL;

		if (value)
			check_attr(t, object, i, value);
		if (!attr_from_value(t, object, i, raw, &error))
			check_sentence(error);
	}
	if (value) {
		g_autoptr(GError) error = NULL;

		if (!attrs_from_json(t, object, value, A_CREATE, 95, changed, &error))
			check_sentence(error);
	}
	json_decref(attrs_to_json(t, object, A_READ, 95, NULL));
	attrs_clear(t, object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	struct attr_value raw = {
		.type = ATTR_VALUE_TEXT, .text = (const char *)data, .length = length};
	g_autoptr(json_t) value =
		json_parse_limited((const char *)data, length, LIMIT_API_BODY, "input", NULL);

	if (value) {
		g_autofree char *shown = attr_repr(value);

		g_assert_true(g_utf8_validate(shown, -1, NULL));
	}
	check_table(&node_attrs, value, &raw);
	check_table(&port_attrs, value, &raw);
	return 0;
}
