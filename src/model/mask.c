#include <string.h>

#include "attr.h"
#include "seal.h"

#define MASK         "******"
#define REPR_MAXIMUM 200

/* A key that contains one of these marks a secret; longer words that contain one need no entry. */
static const char *const secret_words[] = {
	"password",    "passphrase", "adminpass", "admin_pass",  "new_pass",
	"sys_pswd",    "secret",     "token",     "configdrive", "encrypted_key",
	"private_key", "fernetkey",  "sslkey",
};

/* Keys of driver_info and instance_info that no word covers. */
static const char *const secret_keys[] = {"snmp_auth_key", "snmp_priv_key", "image_url"};

bool attr_key_is_secret(const char *key)
{
	g_autofree char *lower = g_ascii_strdown(key, -1);

	for (size_t i = 0; i < G_N_ELEMENTS(secret_words); i++)
		if (strstr(lower, secret_words[i]))
			return true;
	for (size_t i = 0; i < G_N_ELEMENTS(secret_keys); i++)
		if (strcmp(lower, secret_keys[i]) == 0)
			return true;
	return false;
}

static bool value_is_sealed(const json_t *value)
{
	return json_is_string(value) && seal_is_sealed(json_string_value(value));
}

json_t *attr_masked(const json_t *object)
{
	json_t *masked = json_object();
	void *at = json_object_iter((json_t *)(uintptr_t)object);

	while (at) {
		const char *key = json_object_iter_key(at);
		json_t *value = json_object_iter_value(at);

		if (json_is_object(value))
			json_object_set_new(masked, key, attr_masked(value));
		else if (attr_key_is_secret(key) || value_is_sealed(value))
			json_object_set_new(masked, key, json_string(MASK));
		else
			json_object_set_new(masked, key, json_deep_copy(value));
		at = json_object_iter_next((json_t *)(uintptr_t)object, at);
	}
	return masked;
}

static void repr_string(GString *out, const char *text)
{
	char quote = strchr(text, '\'') && !strchr(text, '"') ? '"' : '\'';

	g_string_append_c(out, quote);
	for (const char *p = text; *p && out->len <= REPR_MAXIMUM; p += g_utf8_skip[(guchar)*p]) {
		gunichar c = g_utf8_get_char(p);

		if (c == (gunichar)quote || c == '\\')
			g_string_append_printf(out, "\\%c", (char)c);
		else if (c < 0x20 || c == 0x7f)
			g_string_append_printf(out, "\\x%02x", c);
		else
			g_string_append_unichar(out, c);
	}
	g_string_append_c(out, quote);
}

static void repr_value(GString *out, const json_t *value);

static void repr_array(GString *out, const json_t *array)
{
	size_t count = json_array_size(array);

	g_string_append_c(out, '[');
	for (size_t i = 0; i < count && out->len <= REPR_MAXIMUM; i++) {
		if (i > 0)
			g_string_append(out, ", ");
		repr_value(out, json_array_get(array, i));
	}
	g_string_append_c(out, ']');
}

static void repr_object(GString *out, const json_t *object)
{
	const char *separator = "";
	void *at = json_object_iter((json_t *)(uintptr_t)object);

	g_string_append_c(out, '{');
	while (at && out->len <= REPR_MAXIMUM) {
		g_string_append(out, separator);
		repr_string(out, json_object_iter_key(at));
		g_string_append(out, ": ");
		repr_value(out, json_object_iter_value(at));
		separator = ", ";
		at = json_object_iter_next((json_t *)(uintptr_t)object, at);
	}
	g_string_append_c(out, '}');
}

static void repr_value(GString *out, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING: repr_string(out, json_string_value(value)); break;
	case JSON_INTEGER:
		g_string_append_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL: g_string_append_printf(out, "%.17g", json_real_value(value)); break;
	case JSON_TRUE: g_string_append(out, "True"); break;
	case JSON_FALSE: g_string_append(out, "False"); break;
	case JSON_NULL: g_string_append(out, "None"); break;
	case JSON_ARRAY: repr_array(out, value); break;
	case JSON_OBJECT: repr_object(out, value); break;
	}
}

char *attr_repr(const json_t *value)
{
	GString *out = g_string_new(NULL);

	repr_value(out, value);
	if (out->len > REPR_MAXIMUM) {
		const char *cut = g_utf8_find_prev_char(out->str, out->str + REPR_MAXIMUM + 1);

		g_string_truncate(out, cut ? (gsize)(cut - out->str) : 0);
		g_string_append(out, "...");
	}
	return g_string_free(out, FALSE);
}
