/* request.h: one request on its way through the API: what dispatch found out, what the handler made. */
#pragma once

#include <jansson.h>

#include "answer.h"
#include "api.h"
#include "errors.h"
#include "jsons.h"
#include "patch.h"
#include "server.h"
#include "version.h"

#define REQUEST_ID_TEXT (sizeof("req-") + UUID_TEXT)

/* What agents called, for GET /metrics. */
enum agent_call {
	AGENT_CALL_LOOKUP,      /* answered without a token */
	AGENT_CALL_TOKEN_GIVEN, /* ... with one */
	AGENT_CALL_HEARTBEAT,
	AGENT_CALL_REFUSED,   /* heartbeat */
	AGENT_CALL_OLD_TOKEN, /* heartbeat with the token of an earlier boot */
	AGENT_CALL_COUNT
};

struct api {
	struct loop *loop;
	const struct config *config;
	struct store *store;
	const struct seal_key *seal;
	api_poke_fn poke;
	void *poke_ctx;
	struct http_server *server;
	struct wall started;
	GHashTable *answered; /* GINT status -> GUINT number of answers */
	unsigned agent_calls[AGENT_CALL_COUNT];
	GHashTable *refusals; /* labels (char *) -> count (uint64_t *) of what sandboxes refused */
	GHashTable *
		old_agents; /* UUID text -> struct wall *: the last refused token of an earlier boot */
};

struct request {
	struct api *api;
	struct http_request *http;
	const struct route *route;
	unsigned minor;
	char *base;  /* "http://host:port": what links begin with */
	char *ident; /* first and second variable segment of the path; NULL if it has none */
	char *detail;
	json_t *body;        /* parsed; NULL if there was none */
	struct patch *patch; /* R_PATCH */
	struct node *node;   /* R_NODE */
	struct port *port;   /* R_PORT */
	char id[REQUEST_ID_TEXT];

	/* The answer. */
	int status;      /* 200 unless the handler says otherwise */
	json_t *reply;   /* owned; NULL for an empty body */
	char *text;      /* owned; instead of reply, as text/plain */
	char *location;  /* owned */
	char *poke_node; /* owned: the node whose row gave the conductor work */
};

typedef bool (*handler_fn)(struct request *rq, GError **error);

enum {
	R_WRITE = 1 << 0,     /* the handler runs inside a transaction that is committed after it */
	R_NODE = 1 << 1,      /* the first variable names a node: loaded */
	R_PORT = 1 << 2,      /* ... a port */
	R_UNLOCKED = 1 << 3,  /* refused while the node is reserved */
	R_BODY = 1 << 4,      /* the body is a JSON object; no body stands for {} */
	R_PATCH = 1 << 5,     /* the body is a JSON patch */
	R_LARGE = 1 << 6,     /* the body may carry a config drive */
	R_ANY_QUERY = 1 << 7, /* query arguments are not checked */
	R_OWN = 1 << 8,       /* not Ironic's: any microversion will do */
	R_UUID = 1 << 9,      /* the first variable must be a UUID, not a name */
	R_FALLBACK = 1 << 10, /* only for paths that no other route has */
	R_AGENT = 1 << 11,    /* for agents: closed by [api]disable_agent_api */
};

/* What a client hears whose microversion is older than the route. */
enum too_old { OLD_ROUTE, OLD_METHOD, OLD_NOT_ACCEPTABLE, OLD_NOT_FOUND };

struct route {
	const char *method;
	const char *path; /* "{}" stands for one variable segment; at most two of them */
	handler_fn handler;
	unsigned flags;
	unsigned since;
	enum too_old old;
	const char *old_sentence; /* NULL: the usual one */
	const char *arguments;    /* allowed query arguments, comma separated; NULL: none */
};

/* The table, in the order in which it is searched (routes.c). */
extern const struct route api_routes[];
extern const unsigned api_route_count;

/* The first route for method and path; variables are new strings.  Otherwise NULL with *ret_allowed: NULL
 * (no such path) or the path's methods, comma separated. */
const struct route *route_find(const char *method, const char *path, char **ret_ident,
			       char **ret_detail, char **ret_allowed);

/* Everything between the HTTP server and the handlers (dispatch.c). */
void request_dispatch(void *api, struct http_request *http);
/* Answers 413 before a body is read that its route does not take. */
void request_check_head(void *api, struct http_request *http);

/* ---- small things that handlers share (request.c) */

/* Query argument, NULL if absent. */
const char *request_argument(const struct request *rq, const char *name);
/* One of Ironic's words for true and false; INVALID names the argument. */
bool request_parse_bool(const char *name, const char *text, bool *ret_value,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Comma list -> trimmed, lower-cased, unique names; free with g_strfreev(). */
char **request_parse_names(const char *text);
/* True for 1 to 255 unreserved characters (RFC 3986) that do not look like a UUID. */
bool request_is_name(const char *text, unsigned minor);
/* True for 32 hex digits with or without dashes, in any case. */
bool request_looks_like_uuid(const char *text);
/* [{"href": base/v1/path, "rel": "self"}, {"href": base/path, "rel": "bookmark"}]; a new reference. */
json_t *request_links(const struct request *rq, const char *path);
/* Refuses keys of the body that are not in the comma list: "Unexpected arguments: a, b". */
bool request_check_keys(const json_t *body, const char *allowed, GError **error);
/* BUSY if the node is reserved. */
bool request_check_unlocked(const struct node *n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* 202 with the Location of the node's states, and the conductor is poked after the commit. */
void request_accept(struct request *rq, bool poke);
/* Comma list contains the word. */
bool word_in_list(const char *list, const char *word);
