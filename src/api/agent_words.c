#include "agent_words.h"

#include <string.h>

#include "certificate.h"
#include "limit.h"

#define VERSION_MOST 64
#define TOKEN_MOST   256

static bool refuse_callback(GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "An issue with the supplied \"callback_url\" has been detected.");
}

bool callback_parse(const char *url, struct callback *ret_callback, GError **error)
{
	bool tls = g_str_has_prefix(url, "https://");
	struct callback c = {.tls = tls};

	if (!tls && !g_str_has_prefix(url, "http://"))
		return refuse_callback(error);
	g_autofree char *pair = g_strdup(strstr(url, "//") + 2);
	size_t length = strlen(pair);

	if (length > 0 && pair[length - 1] == '/')
		pair[length - 1] = '\0';
	/* Brackets are for IPv6, and IPv6 has brackets. */
	if ((*pair == '[') != (strchr(pair, ':') != strrchr(pair, ':')) ||
	    !endpoint_parse_pair(pair, &c.at, NULL))
		return refuse_callback(error);
	*ret_callback = c;
	return true;
}

char *callback_print(const struct callback *c)
{
	char text[ENDPOINT_TEXT];

	endpoint_print(&c->at, text);
	return g_strdup_printf("%s://%s", c->tls ? "https" : "http", text);
}

/* *ret_text is NULL for a key that is absent or null. */
static bool read_text(const struct request *rq, const char *key, size_t most, const char **ret_text,
		      GError **error)
{
	const json_t *value = json_object_get(rq->body, key);
	const char *given = request_argument(rq, key);

	if (value && given)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "%s is given twice: in the query and in the body", key);
	if (value && !json_is_null(value) && !json_is_string(value))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Schema error for %s: it is a %s, not of type 'string'", key,
				      json_type_text(value));
	if (value)
		given = json_string_value(value);
	if (given && strlen(given) > most)
		return inox_error_set(error, INOX_ERROR_INVALID, "%s is longer than %zu bytes", key,
				      most);
	*ret_text = given;
	return true;
}

static bool is_given(const struct request *rq, const char *key)
{
	return json_object_get(rq->body, key) || request_argument(rq, key);
}

/* What a request of its microversion may not name. */
static bool check_ages(const struct request *rq, GError **error)
{
	static const struct {
		const char *key;
		unsigned since;
		const char *sentence;
	} keys[] = {
		{"agent_version", 36, "Field \"agent_version\" not recognised"},
		{"agent_verify_ca", 68, "Field \"agent_verify_ca\" not recognised in this version"},
		{"agent_status", 72,
		 "Fields \"agent_status\" and \"agent_status_message\" not recognised."},
		{"agent_status_message", 72,
		 "Fields \"agent_status\" and \"agent_status_message\" not recognised."},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		if (rq->minor < keys[i].since && is_given(rq, keys[i].key))
			return inox_error_set(error, INOX_ERROR_INVALID, "%s", keys[i].sentence);
	return true;
}

static bool check_version(const char *version, const char *status, GError **error)
{
	if (!version && !status)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"Agent did not transmit a version, and a version is required. Please "
			"update the agent being used.");
	for (const char *c = version; c && *c; c++)
		if (!g_ascii_isgraph(*c))
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"agent_version has a character that is not printable");
	return true;
}

static bool check_status(const char *status, GError **error)
{
	return !status || word_in_list("start,end,error", status) ||
	       inox_error_set(error, INOX_ERROR_INVALID,
			      "Agent status is invalid. Valid states are start,end,error.");
}

static bool read_certificate(const struct request *rq, struct heartbeat *h, GError **error)
{
	const char *pem;

	if (!read_text(rq, "agent_verify_ca", LIMIT_CERTIFICATE, &pem, error))
		return false;
	if (!pem || !*pem || certificate_pin(pem, h->pin, error))
		return true;
	g_prefix_error(error, "agent_verify_ca: ");
	return false;
}

bool heartbeat_parse(const struct request *rq, struct heartbeat *ret_heartbeat, GError **error)
{
	struct heartbeat h = {.token = NULL};
	const char *url, *status, *message;

	if (!request_check_keys(rq->body, rq->route->arguments, error) || !check_ages(rq, error) ||
	    !read_text(rq, "callback_url", LIMIT_URL, &url, error))
		return false;
	if (!url)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Missing mandatory parameter: callback_url");
	if (!callback_parse(url, &h.callback, error) ||
	    !read_text(rq, "agent_token", TOKEN_MOST, &h.token, error))
		return false;
	if (!h.token)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Agent token is required for heartbeat processing.");
	if (!read_text(rq, "agent_status", LIMIT_ERROR_TEXT, &status, error) ||
	    !check_status(status, error) ||
	    !read_text(rq, "agent_status_message", LIMIT_ERROR_TEXT, &message, error) ||
	    !read_text(rq, "agent_version", VERSION_MOST, &h.version, error) ||
	    !check_version(h.version, status, error) || !read_certificate(rq, &h, error))
		return false;
	*ret_heartbeat = h;
	return true;
}
