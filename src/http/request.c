/* request.c: what a handler sees of a request. */
#include <event2/bufferevent.h>
#include <string.h>

#include "errors.h"
#include "http_connection.h"
#include "secret.h"
#include "tls_session.h"

#define PARAMETERS_MAX 64

static const struct {
	int status;
	const char *text;
} status_texts[] = {
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{206, "Partial Content"},
	{300, "Multiple Choices"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{303, "See Other"},
	{304, "Not Modified"},
	{307, "Temporary Redirect"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{411, "Length Required"},
	{412, "Precondition Failed"},
	{413, "Request Entity Too Large"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
};

const char *http_status_text(int status)
{
	for (size_t i = 0; i < G_N_ELEMENTS(status_texts); i++)
		if (status_texts[i].status == status)
			return status_texts[i].text;
	return "Unknown";
}

static void parameter_clear(void *item)
{
	struct http_parameter *p = item;

	secret_wipe_text(p->name);
	secret_wipe_text(p->value);
}

static char *decode(const char *text, size_t length, const char *forbidden)
{
	g_autofree char *plain = g_uri_unescape_segment(text, text + length, forbidden);

	return plain && g_utf8_validate(plain, -1, NULL) ? g_steal_pointer(&plain) : NULL;
}

/* application/x-www-form-urlencoded: '+' is a space. */
static char *decode_value(const char *text, size_t length)
{
	g_autofree char *copy = g_strndup(text, length);

	for (char *c = copy; *c; c++)
		if (*c == '+')
			*c = ' ';
	char *plain = decode(copy, length, NULL);

	secret_wipe_text(g_steal_pointer(&copy));
	return plain;
}

static bool add_parameter(struct http_request *rq, const char *text, size_t length, GError **error)
{
	const char *equals = memchr(text, '=', length);
	size_t name_length = equals ? (size_t)(equals - text) : length;
	size_t value_length = equals ? length - name_length - 1 : 0;

	if (length == 0)
		return true;
	if (rq->parameters->len == PARAMETERS_MAX)
		return inox_error_set(error, INOX_ERROR_LIMIT, "more than %d query parameters",
				      PARAMETERS_MAX);
	struct http_parameter p = {.name = decode_value(text, name_length),
				   .value = decode_value(equals ? equals + 1 : "", value_length)};

	g_array_append_val(rq->parameters, p);
	if (!p.name || !p.value)
		return inox_error_set(error, INOX_ERROR_PEER, "a malformed query");
	return true;
}

static bool read_query(struct http_request *rq, GError **error)
{
	const char *at = rq->raw_query;

	rq->parameters = g_array_new(FALSE, FALSE, sizeof(struct http_parameter));
	g_array_set_clear_func(rq->parameters, parameter_clear);
	while (*at) {
		size_t length = strcspn(at, "&");

		if (!add_parameter(rq, at, length, error))
			return false;
		at += length + (at[length] == '&');
	}
	return true;
}

/* The absolute form of a target ("http://host/path"); NULL if it is malformed. */
static const char *skip_authority(const char *target)
{
	const char *host = strstr(target, "://");

	return host ? strchr(host + 3, '/') : NULL;
}

bool http_request_read_target(struct http_request *rq, GError **error)
{
	const char *target = rq->head.target;

	if (*target != '/' && !g_str_equal(target, "*"))
		target = skip_authority(target);
	if (!target)
		return inox_error_set(error, INOX_ERROR_PEER, "a malformed path");
	size_t length = strcspn(target, "?");

	rq->raw_query = target[length] ? target + length + 1 : "";
	/* An escaped slash would make one path out of two. */
	rq->path = decode(target, length, "/");
	if (!rq->path)
		return inox_error_set(error, INOX_ERROR_PEER, "a malformed path");
	if (rq->head.minor > 0 && !http_head_find(&rq->head, "Host"))
		return inox_error_set(error, INOX_ERROR_PEER, "no Host header");
	return read_query(rq, error);
}

void http_request_clear(struct http_request *rq)
{
	g_clear_pointer(&rq->parameters, g_array_unref);
	g_clear_pointer(&rq->path, g_free);
	rq->raw_query = NULL;
	http_body_clear(&rq->body);
	http_head_clear(&rq->head);
	evbuffer_drain(rq->extra_headers, evbuffer_get_length(rq->extra_headers));
}

const char *http_request_method(const struct http_request *rq)
{
	return rq->head.method;
}

const char *http_request_path(const struct http_request *rq)
{
	return rq->path;
}

const char *http_request_raw_query(const struct http_request *rq)
{
	return rq->raw_query;
}

const char *http_request_query(const struct http_request *rq, const char *name)
{
	const char *key, *value;

	for (unsigned i = 0; http_request_query_at(rq, i, &key, &value); i++)
		if (g_str_equal(key, name))
			return value;
	return NULL;
}

bool http_request_query_at(const struct http_request *rq, unsigned i, const char **ret_name,
			   const char **ret_value)
{
	if (i >= rq->parameters->len)
		return false;
	const struct http_parameter *p = &g_array_index(rq->parameters, struct http_parameter, i);

	*ret_name = p->name;
	*ret_value = p->value;
	return true;
}

const char *http_request_header(const struct http_request *rq, const char *name)
{
	return http_head_find(&rq->head, name);
}

const char *http_request_body(const struct http_request *rq, size_t *ret_length)
{
	*ret_length = rq->body.bytes->len;
	return (const char *)rq->body.bytes->data;
}

const char *http_request_peer(const struct http_request *rq)
{
	return rq->peer;
}

bool http_request_is_tls(const struct http_request *rq)
{
	return rq->ssl != NULL;
}

const char *http_request_psk_identity(const struct http_request *rq)
{
	return rq->ssl ? tls_session_identity(rq->ssl) : NULL;
}

void http_request_set_context(struct http_request *rq, void *ctx, GDestroyNotify destroy)
{
	if (rq->context_destroy)
		rq->context_destroy(rq->context);
	rq->context = ctx;
	rq->context_destroy = destroy;
}

void *http_request_peek_context(const struct http_request *rq)
{
	return rq->context;
}

void http_request_on_gone(struct http_request *rq, http_gone_fn fn, void *ctx)
{
	rq->gone = fn;
	rq->gone_ctx = ctx;
}

void http_request_add_header(struct http_request *rq, const char *name, const char *value)
{
	/* Whatever a value was made of, it stays one line. */
	g_autofree char *line = g_strdup_printf("%s: %s", name, value);

	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 0x20 && *c != '\t')
			*c = ' ';
	evbuffer_add_printf(rq->extra_headers, "%s\r\n", line);
}
