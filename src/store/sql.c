#include "sql.h"

#include <string.h>

struct sql sql_start(const char *text)
{
	return (struct sql){
		.text = g_string_new(text),
		.values = g_array_new(FALSE, FALSE, sizeof(struct attr_value)),
		.owned = g_ptr_array_new_with_free_func(g_free),
	};
}

void sql_clear(struct sql *q)
{
	g_string_free(q->text, TRUE);
	g_array_unref(q->values);
	g_ptr_array_unref(q->owned);
}

void sql_add(struct sql *q, const char *text)
{
	g_string_append(q->text, text);
}

void sql_add_value(struct sql *q, struct attr_value value)
{
	g_array_append_val(q->values, value);
	g_string_append_printf(q->text, "$%u", q->values->len);
}

void sql_add_text(struct sql *q, const char *text)
{
	sql_add_value(q, (struct attr_value){
				 .type = ATTR_VALUE_TEXT, .text = text, .length = strlen(text)});
}

void sql_add_integer(struct sql *q, int64_t number)
{
	sql_add_value(q, (struct attr_value){.type = ATTR_VALUE_INTEGER, .integer = number});
}

void sql_take_text(struct sql *q, char *text)
{
	g_ptr_array_add(q->owned, text);
	sql_add_text(q, text);
}

bool sql_add_attr(struct sql *q, const struct attr_table *t, const void *object, unsigned attr,
		  GError **error)
{
	struct attr_value value;
	char *made;

	if (!attr_to_value(t, object, attr, &value, &made, error))
		return false;
	g_ptr_array_add(q->owned, made);
	sql_add_value(q, value);
	return true;
}

const struct attr_value *sql_peek_values(const struct sql *q)
{
	return (const struct attr_value *)(const void *)q->values->data;
}
