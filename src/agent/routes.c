#include "routes.h"

#include <string.h>

#include "clocks.h"
#include "commands.h"
#include "jsons.h"
#include "log.h"

#define DOCUMENTATION "https://docs.openstack.org/ironic-python-agent/"
#define MEDIA_TYPE    "application/vnd.openstack.ironic-python-agent.v1+json"
#define HOST_MOST     255
#define SMALL_BODY    (16 * 1024)
#define NOT_FOUND                                                                               \
	"404 Not Found: The requested URL was not found on the server. If you entered the URL " \
	"manually please check your spelling and try again."
#define NOT_ALLOWED   "405 Method Not Allowed: The method is not allowed for the requested URL."
#define TOKEN_INVALID "401 Unauthorized: Token invalid."

typedef void (*route_fn)(struct agent *a, struct http_request *rq, const char *id);

struct route {
	const char *path;  /* without "/v1"; ends with '*' if an id follows */
	const char *allow; /* in the order of the captures */
	bool needs_token;
	route_fn get, post;
};

static const struct {
	int status;
	const char *text;
} reasons[] = {
	{200, "OK"},           {308, "PERMANENT REDIRECT"}, {400, "BAD REQUEST"},
	{401, "UNAUTHORIZED"}, {404, "NOT FOUND"},          {405, "METHOD NOT ALLOWED"},
	{409, "CONFLICT"},
};

static const char *reason_of(int status)
{
	for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "INTERNAL SERVER ERROR";
}

static void log_request(const struct http_request *rq, int status)
{
	log_info(NULL, "request", F_STR("peer", http_request_peer(rq)),
		 F_STR("method", http_request_method(rq)), F_STR("path", http_request_path(rq)),
		 F_INT("status", status));
}

static void reply_json(void *ctx, int status, const json_t *body)
{
	struct http_request *rq = ctx;
	g_autofree char *text = json_print_python(body);

	log_request(rq, status);
	http_request_reply(rq, status, reason_of(status), "application/json", text, strlen(text));
}

static void reply_fault(struct http_request *rq, int status, const char *sentence)
{
	g_autoptr(json_t) body = commands_fault(status, sentence);

	reply_json(rq, status, body);
}

/* ---- links */

/* "http://HOST": the Host header as long as it can only be a host and a port, else our own address. */
static char *root_url(const struct agent *a, const struct http_request *rq)
{
	const char *host = http_request_header(rq, "Host");
	char own[ENDPOINT_TEXT];

	endpoint_print(&a->options.listen, own);
	if (!host || !*host || strlen(host) > HOST_MOST ||
	    strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-[]") !=
		    strlen(host))
		host = own;
	return g_strdup_printf("%s://%s", http_request_is_tls(rq) ? "https" : "http", host);
}

static json_t *link_to(const char *root, const char *path, const char *relation)
{
	g_autofree char *href = g_strconcat(root, path, NULL);

	return json_pack("{s:s, s:s}", "href", href, "rel", relation);
}

static json_t *version_links(const char *root)
{
	return json_pack("[o, {s:s, s:s, s:s}]", link_to(root, "/v1", "self"), "href",
			 DOCUMENTATION, "rel", "describedby", "type", "text/html");
}

static json_t *version_entry(const char *root)
{
	return json_pack("{s:s, s:o}", "id", "v1", "links", version_links(root));
}

static void get_root(struct agent *a, struct http_request *rq, const char *id)
{
	g_autofree char *root = root_url(a, rq);
	g_autoptr(json_t) body = json_pack(
		"{s:s, s:s, s:[o], s:o}", "name", "OpenStack Ironic Python Agent API",
		"description", "Ironic Python Agent is a provisioning agent for OpenStack Ironic",
		"versions", version_entry(root), "default_version", version_entry(root));

	(void)id;
	reply_json(rq, 200, body);
}

static void get_version(struct agent *a, struct http_request *rq, const char *id)
{
	g_autofree char *root = root_url(a, rq);
	g_autoptr(json_t) body = json_pack(
		"{s:[o,o], s:[o,o], s:[{s:s, s:s}], s:s, s:o}", "commands",
		link_to(root, "/v1/commands", "self"), link_to(root, "/commands", "bookmark"),
		"status", link_to(root, "/v1/status", "self"), link_to(root, "/status", "bookmark"),
		"media_types", "base", "application/json", "type", MEDIA_TYPE, "id", "v1", "links",
		version_links(root));

	(void)id;
	reply_json(rq, 200, body);
}

static void get_status(struct agent *a, struct http_request *rq, const char *id)
{
	g_autoptr(json_t) body =
		json_pack("{s:f, s:s, s:s, s:[s,s,s]}", "started_at", (double)a->started.us / 1e6,
			  "version", INOX_VERSION, "agent", "inox-agent", "capabilities", "passive",
			  "psk-v1", "progress");

	(void)id;
	reply_json(rq, 200, body);
}

/* ---- commands */

struct waiting {
	struct agent *agent;
	struct http_request *rq;
};

static void on_gone(void *ctx)
{
	struct waiting *w = ctx;

	commands_forget(w->agent->commands, w->rq);
}

static bool wants_wait(const struct http_request *rq)
{
	const char *wait = http_request_query(rq, "wait");

	return wait && g_ascii_strcasecmp(wait, "true") == 0;
}

/* An answer that comes later must not go to a request that is no more. */
static struct command_asker asker_of(struct agent *a, struct http_request *rq)
{
	struct waiting *w = g_new(struct waiting, 1);

	*w = (struct waiting){.agent = a, .rq = rq};
	http_request_set_context(rq, w, g_free);
	http_request_on_gone(rq, on_gone, w);
	return (struct command_asker){.reply = reply_json, .ctx = rq, .wait = wants_wait(rq)};
}

static void list_commands(struct agent *a, struct http_request *rq, const char *id)
{
	g_autoptr(json_t) body = commands_json(a->commands);

	(void)id;
	reply_json(rq, 200, body);
}

static void show_command(struct agent *a, struct http_request *rq, const char *id)
{
	commands_show(a->commands, id, asker_of(a, rq));
}

static void run_command(struct agent *a, struct http_request *rq, const char *id)
{
	size_t length;
	const char *body = http_request_body(rq, &length);

	(void)id;
	commands_run(a->commands, body, length, asker_of(a, rq));
}

/* ---- finding the route */

/* The two documents exist with one path each; the others with and without "/v1". */
static const struct route documents[] = {
	{"/", "HEAD, GET", false, get_root, NULL},
	{"/v1/", "HEAD, GET", false, get_version, NULL},
};
static const struct route routes[] = {
	{"/status", "HEAD, GET", false, get_status, NULL},
	{"/commands/", "POST, HEAD, GET", true, list_commands, run_command},
	{"/commands/*", "HEAD, GET", true, show_command, NULL},
};

static const struct route *match(const char *path, const char **ret_id)
{
	*ret_id = NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(documents); i++)
		if (g_str_equal(path, documents[i].path))
			return &documents[i];
	if (g_str_has_prefix(path, "/v1/"))
		path += strlen("/v1");
	for (size_t i = 0; i < G_N_ELEMENTS(routes); i++) {
		size_t prefix = strcspn(routes[i].path, "*");
		bool open = routes[i].path[prefix] == '*';

		if (!open && g_str_equal(path, routes[i].path))
			return &routes[i];
		if (open && strncmp(path, routes[i].path, prefix) == 0 && path[prefix] &&
		    !strchr(path + prefix, '/')) {
			*ret_id = path + prefix;
			return &routes[i];
		}
	}
	return NULL;
}

/* Conductors up to Ironic 21 read without showing the token. */
static bool may_read_without_token(const struct agent *a, const struct http_request *rq)
{
	return a->options.tokenless_get && !g_str_equal(http_request_method(rq), "POST") &&
	       !http_request_query(rq, "agent_token");
}

static bool is_authorized(const struct agent *a, const struct http_request *rq)
{
	return may_read_without_token(a, rq) ||
	       agent_is_authorized(a, http_request_query(rq, "agent_token"),
				   http_request_psk_identity(rq));
}

static void redirect(struct agent *a, struct http_request *rq)
{
	const char *query = http_request_raw_query(rq);
	g_autofree char *root = root_url(a, rq);
	g_autofree char *url =
		g_strconcat(root, http_request_path(rq), "/", *query ? "?" : "", query, NULL);
	g_autofree char *shown = g_markup_escape_text(url, -1);
	g_autofree char *page =
		g_strdup_printf("<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n"
				"<h1>Redirecting...</h1>\n<p>You should be redirected "
				"automatically to the target URL: <a href=\"%s\">%s</a>. If not, "
				"click the link.\n",
				shown, shown);

	log_request(rq, 308);
	http_request_add_header(rq, "Location", url);
	http_request_reply(rq, 308, reason_of(308), "text/html; charset=utf-8", page, strlen(page));
}

static bool lacks_slash(const char *path)
{
	static const char *const paths[] = {"/v1", "/v1/commands", "/commands", NULL};

	return g_strv_contains(paths, path);
}

/* A body that is not there yet is none. */
static bool is_introduction(const struct agent *a, const struct http_request *rq,
			    const struct route *route)
{
	size_t length;
	const char *body = http_request_body(rq, &length);

	return route->post && g_str_equal(http_request_method(rq), "POST") &&
	       !http_request_query(rq, "agent_token") && agent_is_introduction(a, body, length);
}

/* The route, or NULL when the answer has been given already: path, method and token, in this order. */
static const struct route *admit(struct agent *a, struct http_request *rq, const char **ret_id)
{
	const char *method = http_request_method(rq);
	const struct route *route = match(http_request_path(rq), ret_id);
	bool reads = g_str_equal(method, "GET") || g_str_equal(method, "HEAD");

	if (lacks_slash(http_request_path(rq))) {
		redirect(a, rq);
		return NULL;
	}
	if (!route) {
		reply_fault(rq, 404, NOT_FOUND);
		return NULL;
	}
	if (!reads && !(route->post && g_str_equal(method, "POST"))) {
		http_request_add_header(rq, "Allow", route->allow);
		reply_fault(rq, 405, NOT_ALLOWED);
		return NULL;
	}
	if (route->needs_token && !is_authorized(a, rq) && !is_introduction(a, rq, route)) {
		reply_fault(rq, 401, TOKEN_INVALID);
		return NULL;
	}
	return route;
}

/* A small body is read anyway: the connection can then be used again. */
static bool is_small(const struct http_request *rq)
{
	const char *length = http_request_header(rq, "Content-Length");
	guint64 bytes;

	return length && g_ascii_string_to_unsigned(length, 10, 0, SMALL_BODY, &bytes, NULL);
}

void routes_on_head(void *ctx, struct http_request *rq)
{
	const char *id;

	if (!is_small(rq))
		(void)admit(ctx, rq, &id);
}

void routes_handle(void *ctx, struct http_request *rq)
{
	const char *id;
	const struct route *route = admit(ctx, rq, &id);

	if (!route)
		return;
	if (g_str_equal(http_request_method(rq), "POST"))
		route->post(ctx, rq, id);
	else
		route->get(ctx, rq, id);
}
