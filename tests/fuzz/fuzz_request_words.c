/* The words of a request that are not JSON: versions, paths, names, lists, truth.  One line each. */
#include <string.h>

#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void try_version(const char *header, const char *newer)
{
	g_autoptr(GError) error = NULL;
	unsigned minor = 0;

	if (version_negotiate(header, newer, &minor, &error))
		g_assert_true(minor >= API_MINOR_MIN && minor <= API_MINOR_MAX);
	else
		g_assert_error(error, API_ERROR, API_ERROR_VERSION);
}

static void try_path(const char *path)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

	for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
		g_autofree char *ident = NULL, *detail = NULL, *allowed = NULL;
		const struct route *r = route_find(methods[i], path, &ident, &detail, &allowed);

		g_assert_true(!r || !allowed);
		g_assert_true(!ident || (*ident && !strchr(ident, '/')));
		g_assert_true(!detail || (ident && *detail && !strchr(detail, '/')));
	}
}

static void try_words(const char *text)
{
	g_auto(GStrv) names = request_parse_names(text);
	g_autoptr(GError) error = NULL;
	bool truth;

	for (size_t i = 0; names[i]; i++)
		g_assert_true(*names[i] && !strchr(names[i], ','));
	if (!request_parse_bool("word", text, &truth, &error)) {
		struct answer answer = answer_for_error(error);

		g_assert_cmpint(answer.status, ==, 400);
		g_free(answer.body);
	}
	if (request_is_name(text, API_MINOR_MAX))
		g_assert_false(request_looks_like_uuid(text));
	(void)word_in_list("a,b,c", text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autofree char *text = g_strndup((const char *)data, length);
	g_auto(GStrv) lines = g_strsplit(text, "\n", 3);

	if (!lines[0])
		return 0;
	try_version(lines[0], lines[1]);
	try_path(lines[0]);
	try_words(lines[0]);
	return 0;
}
