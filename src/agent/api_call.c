#include "api_call.h"

#include "limit.h"

struct api_caller {
	const struct active_options *options;
	GPtrArray *urls; /* borrowed texts; the one that answered last comes first */
	bool (*cancelled)(void *ctx);
	void *ctx;
};

struct api_caller *api_caller_new(const struct active_options *options,
				  bool (*cancelled)(void *ctx), void *ctx)
{
	struct api_caller *c = g_new0(struct api_caller, 1);

	c->options = options;
	c->cancelled = cancelled;
	c->ctx = ctx;
	c->urls = g_ptr_array_new();
	for (char **url = options->urls; *url; url++)
		g_ptr_array_add(c->urls, *url);
	return c;
}

void api_caller_free(struct api_caller *c)
{
	if (!c)
		return;
	g_ptr_array_unref(c->urls);
	g_free(c);
}

static char *headers_of(const struct api_caller *c, unsigned minor)
{
	g_autoptr(GString) text = g_string_new(NULL);

	if (minor > 0)
		g_string_append_printf(text, "X-OpenStack-Ironic-API-Version: 1.%u\r\n", minor);
	if (c->options->request_id)
		g_string_append_printf(text, "X-OpenStack-Request-ID: %s\r\n",
				       c->options->request_id);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static bool ask_one(const char *base, const char *path, const struct fetch_call *call,
		    struct fetch_reply *ret_reply, GError **error)
{
	g_autofree char *text = g_strconcat(base, path, NULL);
	g_auto(fetch_url) url = {.host = NULL};

	return fetch_url_parse(text, &url, error) && fetch_call(&url, call, ret_reply, error);
}

bool api_caller_ask(struct api_caller *c, const char *path, unsigned minor, const char *body,
		    struct fetch_reply *ret_reply, GError **error)
{
	g_autofree char *headers = headers_of(c, minor);
	const struct fetch_call call = {
		.method = body ? "POST" : "GET",
		.headers = headers,
		.body = body,
		.reply_limit = LIMIT_LOOKUP_ANSWER,
		.ca_file = c->options->ca_file,
		.insecure = c->options->insecure,
		.timeout_s = c->options->request_timeout_s,
		.cancelled = c->cancelled,
		.ctx = c->ctx,
	};

	for (guint i = 0; i < c->urls->len; i++) {
		char *base = g_ptr_array_index(c->urls, i);

		g_clear_error(error);
		if (ask_one(base, path, &call, ret_reply, error)) {
			g_ptr_array_remove_index(c->urls, i);
			g_ptr_array_insert(c->urls, 0, base);
			return true;
		}
		if (c->cancelled(c->ctx))
			return false;
	}
	return false;
}
