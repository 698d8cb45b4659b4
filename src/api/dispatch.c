/* Between the HTTP server and the handlers: ids, versions, routes, limits, transactions, answers. */
#include <string.h>

#include "agents.h"
#include "attributes.h"
#include "flow.h"
#include "limit.h"
#include "log.h"
#include "ports.h"

#define VERSION_HEADER "X-OpenStack-Ironic-API-Version"

static void request_clear(struct request *rq)
{
	g_free(rq->base);
	g_free(rq->ident);
	g_free(rq->detail);
	json_decref(rq->body);
	patch_free(rq->patch);
	node_free(rq->node);
	port_free(rq->port);
	json_decref(rq->reply);
	g_free(rq->text);
	g_free(rq->location);
	g_free(rq->poke_node);
}

typedef struct request request;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(request, request_clear)

/* What links begin with: configured, or what the client calls us. */
static char *link_base(const struct api *a, const struct http_request *http)
{
	const char *configured = config_text(a->config, OPTION_api_public_endpoint);
	const char *host = http_request_header(http, "Host");
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_:[]";

	if (*configured) {
		size_t length = strlen(configured);

		while (length > 0 && configured[length - 1] == '/')
			length--;
		return g_strndup(configured, length);
	}
	if (!host || !*host || host[strspn(host, letters)])
		host = "localhost";
	return g_strdup_printf("%s://%s", http_request_is_tls(http) ? "https" : "http", host);
}

/* Before 1.91 a ".json" at the end of the path is no part of it. */
static char *cut_json(const struct request *rq)
{
	const char *path = http_request_path(rq->http);

	if (rq->minor < 91 && http_request_header(rq->http, VERSION_HEADER) &&
	    g_str_has_suffix(path, ".json"))
		return g_strndup(path, strlen(path) - strlen(".json"));
	return g_strdup(path);
}

static bool find_route(struct request *rq, GError **error)
{
	g_autofree char *path = cut_json(rq), *allowed = NULL;

	rq->route =
		route_find(http_request_method(rq->http), path, &rq->ident, &rq->detail, &allowed);
	if (rq->route)
		return true;
	if (!allowed)
		return api_error_set(error, API_ERROR_ROUTE, "%s", "");
	http_request_add_header(rq->http, "Allow", allowed);
	return api_error_set(error, API_ERROR_METHOD, "%s", "");
}

static bool check_age(const struct request *rq, GError **error)
{
	const struct route *r = rq->route;

	if (rq->minor >= r->since)
		return true;
	switch (r->old) {
	case OLD_METHOD:
		return api_error_set(error, API_ERROR_METHOD, "%s",
				     r->old_sentence ? r->old_sentence : "");
	case OLD_NOT_ACCEPTABLE: return api_error_set_too_old(error);
	case OLD_NOT_FOUND:
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "%s",
				      r->old_sentence ? r->old_sentence
						      : "Resource could not be found.");
	case OLD_ROUTE: break;
	}
	return api_error_set(error, API_ERROR_ROUTE, "%s", r->old_sentence ? r->old_sentence : "");
}

static bool check_ident(const struct request *rq, GError **error)
{
	const char *ident = rq->ident;
	bool is_uuid = ident && request_looks_like_uuid(ident);

	if (rq->route->flags & R_UUID && !is_uuid)
		return inox_error_set(error, INOX_ERROR_INVALID, "Expected UUID for port_uuid: %s",
				      ident);
	if (!(rq->route->flags & (R_NODE | R_PORT)) || is_uuid ||
	    request_is_name(ident, API_MINOR_MAX))
		return true;
	if (rq->route->flags & R_PORT)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Expected UUID or name for port_ident: %s", ident);
	return api_error_set(error, API_ERROR_IDENT, "Expected UUID or name for node: %s", ident);
}

static bool check_arguments(const struct request *rq, GError **error)
{
	g_autoptr(GString) unknown = g_string_new(NULL);
	const char *name, *value;

	if (rq->route->flags & R_ANY_QUERY)
		return true;
	for (unsigned i = 0; http_request_query_at(rq->http, i, &name, &value); i++)
		if (!word_in_list(rq->route->arguments, name))
			g_string_append_printf(unknown, "%s%s", unknown->len ? ", " : "", name);
	if (unknown->len == 0)
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID, "Unexpected arguments: %s", unknown->str);
}

static size_t body_limit(const struct route *r)
{
	if (r && r->flags & R_AGENT)
		return LIMIT_AGENT_CALL;
	return r && r->flags & R_LARGE ? LIMIT_API_CONFIG_DRIVE : LIMIT_API_BODY;
}

static bool refuse_size(size_t limit, GError **error)
{
	return api_error_set(
		error, API_ERROR_BODY_SIZE,
		"Request body is too large. The limit is %zu bytes. Please contact the "
		"service administrator.",
		limit);
}

static bool parse_body(struct request *rq, GError **error)
{
	size_t length, limit = body_limit(rq->route);
	const char *text = http_request_body(rq->http, &length);
	g_autoptr(GError) reason = NULL;

	if (length > limit)
		return refuse_size(limit, error);
	if (!(rq->route->flags & (R_BODY | R_PATCH)))
		return true;
	if (length == 0 && rq->route->flags & R_BODY) {
		rq->body = json_object();
		return true;
	}
	rq->body = json_parse_limited(text, length, limit, "The request body", &reason);
	if (g_error_matches(reason, INOX_ERROR, INOX_ERROR_LIMIT))
		return api_error_set(error, API_ERROR_BODY_DEPTH,
				     "Request body JSON is nested too deeply. Please contact the "
				     "service administrator.");
	if (!rq->body) {
		g_propagate_error(error, g_steal_pointer(&reason));
		return false;
	}
	if (rq->route->flags & R_PATCH || json_is_object(rq->body))
		return true;
	g_autofree char *shown = attr_repr(rq->body);

	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Schema error for body: %s is not of type 'object'", shown);
}

static bool parse_patch(struct request *rq, GError **error)
{
	const struct attr_table *t = rq->route->flags & R_NODE ? &node_attrs : &port_attrs;

	if (!(rq->route->flags & R_PATCH))
		return true;
	rq->patch = patch_parse(rq->body, rq->minor, error);
	return rq->patch && attributes_check_patch(rq->patch, t, rq->minor, error);
}

/* A UUID's letters count in either case; without its dashes it is none that is stored.  Ironic accepts every
 * spelling and leaves it to its database: SQLite finds that of the row only, MySQL any case. */
static bool load_node(struct request *rq, GError **error)
{
	struct uuid u;
	bool is_uuid = request_looks_like_uuid(rq->ident);

	if (is_uuid ? !uuid_parse(rq->ident, &u, NULL) : rq->minor < 5)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "Node %s could not be found.",
				      rq->ident);
	rq->node = store_node_get(rq->api->store, rq->ident, error);
	return rq->node != NULL;
}

static bool load_objects(struct request *rq, GError **error)
{
	unsigned flags = rq->route->flags;

	if (flags & R_NODE && !load_node(rq, error))
		return false;
	if (flags & R_PORT && !(rq->port = ports_find(rq->api->store, rq->ident, error)))
		return false;
	return !(flags & R_UNLOCKED) || request_check_unlocked(rq->node, error);
}

static bool run_handler(struct request *rq, GError **error)
{
	struct store *s = rq->api->store;

	if (!(rq->route->flags & R_WRITE))
		return load_objects(rq, error) && rq->route->handler(rq, error);
	if (!store_begin(s, error))
		return false;
	if (!load_objects(rq, error) || !rq->route->handler(rq, error)) {
		store_rollback(s);
		return false;
	}
	if (!store_commit(s, error))
		return false;
	if (rq->poke_node)
		rq->api->poke(rq->api->poke_ctx, rq->poke_node);
	return true;
}

/* Own routes take any version; a request without one sees everything there. */
static bool choose_version(struct request *rq, GError **error)
{
	const char *header = http_request_header(rq->http, VERSION_HEADER);
	const char *newer = http_request_header(rq->http, "OpenStack-API-Version");

	rq->minor = API_MINOR_MIN;
	return version_negotiate(header, newer, &rq->minor, error);
}

static bool serve(struct request *rq, GError **error)
{
	g_autoptr(GError) version_problem = NULL;
	bool version_fits = choose_version(rq, &version_problem);

	if (!find_route(rq, error))
		return false;
	/* Before everything else, so that the refusal is the same whatever was sent. */
	if (rq->route->flags & R_AGENT && !agents_check_open(rq, error))
		return false;
	if (rq->route->flags & R_OWN)
		rq->minor = API_MINOR_MAX;
	else if (!version_fits) {
		g_propagate_error(error, g_steal_pointer(&version_problem));
		return false;
	}
	return check_age(rq, error) && check_ident(rq, error) && check_arguments(rq, error) &&
	       parse_body(rq, error) && parse_patch(rq, error) && run_handler(rq, error);
}

static void add_headers(const struct request *rq)
{
	char version[16];

	g_snprintf(version, sizeof(version), "1.%u", rq->minor);
	http_request_add_header(rq->http, "X-OpenStack-Ironic-API-Minimum-Version",
				API_VERSION_MIN);
	http_request_add_header(rq->http, "X-OpenStack-Ironic-API-Maximum-Version",
				API_VERSION_MAX);
	http_request_add_header(rq->http, VERSION_HEADER, version);
	http_request_add_header(rq->http, "Openstack-Request-Id", rq->id);
	http_request_add_header(rq->http, "X-Openstack-Request-Id", rq->id);
	if (rq->location)
		http_request_add_header(rq->http, "Location", rq->location);
}

static void count_answer(struct api *a, int status)
{
	gpointer key = GINT_TO_POINTER(status);
	unsigned count = GPOINTER_TO_UINT(g_hash_table_lookup(a->answered, key));

	g_hash_table_insert(a->answered, key, GUINT_TO_POINTER(count + 1));
}

/* The sentence of a refused request may repeat what the client sent, so only those of our own failures
 * are written. */
static bool is_read(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static void log_answer(const struct request *rq, int status, const GError *error)
{
	const char *node_uuid = rq->node ? rq->node->uuid.s : NULL;
	const char *method = http_request_method(rq->http), *path = http_request_path(rq->http);
	const char *peer = http_request_peer(rq->http);

	if (status >= 500)
		log_error(node_uuid, "request failed", F_STR("method", method), F_STR("path", path),
			  F_INT("status", status), F_ERR(error), F_STR("request", rq->id),
			  F_STR("peer", peer));
	else /* clients look several times a second; what changes something is worth a line */
		LOG_AT(status < 400 && is_read(method) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
		       node_uuid, "request", F_STR("method", method), F_STR("path", path),
		       F_INT("status", status), F_STR("request", rq->id), F_STR("peer", peer));
}

static void send_answer(struct request *rq, const GError *error)
{
	struct answer answer = {.status = rq->status};
	const char *type = rq->text ? "text/plain; charset=utf-8" : "application/json";

	if (error) {
		answer = answer_for_error(error);
		type = "application/json";
	} else if (rq->text) {
		answer.body = g_steal_pointer(&rq->text);
	} else if (rq->reply) {
		answer.body = json_print_python(rq->reply);
	}
	log_answer(rq, answer.status, error);
	count_answer(rq->api, answer.status);
	add_headers(rq);
	http_request_reply(rq->http, answer.status, answer.reason, answer.body ? type : NULL,
			   answer.body, answer.body ? strlen(answer.body) : 0);
	g_free(answer.body);
}

static void request_init(struct request *rq, struct api *a, struct http_request *http)
{
	struct uuid u = uuid_new();

	*rq = (struct request){.api = a, .http = http, .status = 200, .minor = API_MINOR_MIN};
	rq->base = link_base(a, http);
	g_snprintf(rq->id, sizeof(rq->id), "req-%s", u.s);
}

void request_dispatch(void *ctx, struct http_request *http)
{
	g_auto(request) rq = {0};
	g_autoptr(GError) error = NULL;

	request_init(&rq, ctx, http);
	/* A browser's question before the real one; there is nothing to allow. */
	if (strcmp(http_request_method(http), "OPTIONS") != 0 && !serve(&rq, &error))
		g_clear_pointer(&rq.location, g_free);
	send_answer(&rq, error);
}

void request_check_head(void *ctx, struct http_request *http)
{
	const char *text = http_request_header(http, "Content-Length");
	g_auto(request) rq = {0};
	g_autoptr(GError) error = NULL;
	guint64 length;

	if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &length, NULL) ||
	    length <= LIMIT_API_BODY)
		return;
	request_init(&rq, ctx, http);
	rq.minor = API_MINOR_MAX;
	if (find_route(&rq, NULL) && length <= body_limit(rq.route))
		return;
	refuse_size(body_limit(rq.route), &error);
	send_answer(&rq, error);
}
