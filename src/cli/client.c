#include "client.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"
#include "web.h"

#define LIMIT_ANSWER (64 * 1024 * 1024)

struct client {
	char *url;
};

struct client *client_new(const char *url)
{
	struct client *c = g_new0(struct client, 1);

	c->url = g_strdup(url);
	for (size_t n = strlen(c->url); n > 0 && c->url[n - 1] == '/'; n--)
		c->url[n - 1] = '\0';
	if (g_str_has_suffix(c->url, "/v1"))
		c->url[strlen(c->url) - 3] = '\0';
	return c;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	g_free(c->url);
	g_free(c);
}

char *client_escape(const char *text)
{
	return g_uri_escape_string(text, NULL, FALSE);
}

/* The sentence of an error body: {"error_message": "{\"faultstring\": ...}"}, or the same unnested. */
static char *sentence_of(const struct web_reply *reply)
{
	g_autoptr(json_t) body =
		json_parse_limited(reply->body, reply->length, LIMIT_ANSWER, "the answer", NULL);
	json_t *inner = json_object_get(body, "error_message");
	g_autoptr(json_t) parsed = NULL;
	const char *text = NULL;

	if (json_is_string(inner)) {
		parsed = json_parse_limited(json_string_value(inner), json_string_length(inner),
					    LIMIT_ANSWER, "the error", NULL);
		text = json_peek_string(parsed, "faultstring");
		text = text ? text : json_string_value(inner);
	} else if (json_is_object(inner)) {
		text = json_peek_string(inner, "faultstring");
	}
	if (!text)
		return g_strdup_printf("The server answered with status %d.", reply->status);
	return log_clean_text(text, strlen(text), LIMIT_ERROR_TEXT);
}

static enum inox_error code_of_status(int status)
{
	switch (status) {
	case 404: return INOX_ERROR_NOT_FOUND;
	case 409: return INOX_ERROR_CONFLICT;
	case 503: return INOX_ERROR_UNAVAILABLE;
	default: return status >= 500 ? INOX_ERROR_PEER : INOX_ERROR_DENIED;
	}
}

static json_t *answer_of(const struct web_reply *reply, GError **error)
{
	if (reply->status >= 400) {
		g_autofree char *sentence = sentence_of(reply);

		inox_error_set(error, code_of_status(reply->status), "%s", sentence);
		return NULL;
	}
	if (reply->length == 0)
		return json_null();
	return json_parse_limited(reply->body, reply->length, LIMIT_ANSWER, "The server's answer",
				  error);
}

json_t *client_call(struct client *c, const char *method, const char *path, const json_t *body,
		    GError **error)
{
	static const char *const headers[] = {"X-OpenStack-Ironic-API-Version: latest",
					      "Accept: application/json", NULL};
	g_autofree char *url = g_strconcat(c->url, path, NULL);
	g_autofree char *text = body ? json_print_compact(body) : NULL;
	g_auto(web_reply) reply = {.status = 0};
	struct web_call call = {.method = method,
				.url = url,
				.headers = headers,
				.body = text,
				.body_length = text ? strlen(text) : 0,
				.reply_limit = LIMIT_ANSWER};

	return web_perform(&call, &reply, error) ? answer_of(&reply, error) : NULL;
}
