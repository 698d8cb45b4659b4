#include <stdint.h>
#include <string.h>

#include "request.h"

const char *request_argument(const struct request *rq, const char *name)
{
	return http_request_query(rq->http, name);
}

bool word_in_list(const char *list, const char *word)
{
	size_t length = strlen(word);

	while (list && *list) {
		const char *end = strchrnul(list, ',');

		if ((size_t)(end - list) == length && memcmp(list, word, length) == 0)
			return true;
		list = *end ? end + 1 : end;
	}
	return false;
}

bool request_parse_bool(const char *name, const char *text, bool *ret_value, GError **error)
{
	static const char truths[] = "1,t,true,on,y,yes", lies[] = "0,f,false,off,n,no";
	g_autofree char *lower = g_ascii_strdown(text, -1);
	const char *word = g_strstrip(lower);

	if (!word_in_list(truths, word) && !word_in_list(lies, word))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"Invalid %s: Unrecognized value '%s', acceptable values are: "
			"'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', "
			"'y', 'yes'",
			name, text);
	*ret_value = word_in_list(truths, word);
	return true;
}

char **request_parse_names(const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	GPtrArray *names = g_ptr_array_new();

	for (size_t i = 0; words[i]; i++) {
		char *name = g_ascii_strdown(g_strstrip(words[i]), -1);

		if (*name && !g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
			g_ptr_array_add(names, name);
		else
			g_free(name);
	}
	g_ptr_array_add(names, NULL);
	return (char **)g_ptr_array_free(names, FALSE);
}

bool request_looks_like_uuid(const char *text)
{
	unsigned digits = 0;

	for (; *text; text++) {
		if (g_ascii_isxdigit(*text))
			digits++;
		else if (*text != '-')
			return false;
	}
	return digits == 32;
}

bool request_is_name(const char *text, unsigned minor)
{
	size_t length = strlen(text);
	/* Before 1.10 a name had to be a host name. */
	const char *further = minor < 10 ? "-." : "-._~";

	if (length == 0 || length > 255 || request_looks_like_uuid(text))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!g_ascii_isalnum(text[i]) && !strchr(further, text[i]))
			return false;
	return true;
}

json_t *request_links(const struct request *rq, const char *path)
{
	g_autofree char *self = g_strdup_printf("%s/v1/%s", rq->base, path);
	g_autofree char *bookmark = g_strdup_printf("%s/%s", rq->base, path);

	return json_pack("[{s:s, s:s}, {s:s, s:s}]", "href", self, "rel", "self", "href", bookmark,
			 "rel", "bookmark");
}

bool request_check_keys(const json_t *body, const char *allowed, GError **error)
{
	g_autoptr(GString) unknown = g_string_new(NULL);
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)body, key, value) {
		if (!word_in_list(allowed, key))
			g_string_append_printf(unknown, "%s%s", unknown->len ? ", " : "", key);
	}
	if (unknown->len == 0)
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID, "Unexpected arguments: %s", unknown->str);
}

bool request_check_unlocked(const struct node *n, GError **error)
{
	if (!n->reservation)
		return true;
	return inox_error_set(error, INOX_ERROR_BUSY,
			      "Node %s is locked by host %s, please retry after the current "
			      "operation is completed.",
			      n->uuid.s, n->reservation);
}

void request_accept(struct request *rq, bool poke)
{
	rq->status = 202;
	rq->location = g_strdup_printf("%s/v1/nodes/%s/states", rq->base, rq->ident);
	if (poke)
		rq->poke_node = g_strdup(rq->node->uuid.s);
}
