#include "redfish_client.h"

#include <string.h>

#include "clocks.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"
#include "redfish_parse.h"
#include "redfish_session.h"

/* A BMC that is switched off should not hold a thread for the whole of its timeout. */
#define CONNECT_TIMEOUT_S 5u
/* Closing a session is a courtesy. */
#define LOGOUT_TIMEOUT_S 5u
#define TOKEN_MAX_BYTES  1024

struct redfish_client {
	const struct bmc_target *target;
	char *base, *root, *key;
	struct mono deadline;
	struct redfish_session *session;
	bool ready; /* how to authenticate is settled */
	bool basic;
	bool fresh; /* the session was opened by this client */
};

/* ---- address */

static bool split_port(const char *text, unsigned *ret_port)
{
	guint64 port = 0;

	if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL))
		return false;
	*ret_port = (unsigned)port;
	return true;
}

/* `authority` is ADDRESS, ADDRESS:PORT, [ADDRESS6] or [ADDRESS6]:PORT. */
static bool parse_authority(char *authority, unsigned port, struct endpoint *ret, GError **error)
{
	char *host = authority, *rest = authority;

	if (*host == '[') {
		host++;
		rest = strchr(host, ']');
		if (!rest)
			return inox_error_set(error, INOX_ERROR_INVALID, "']' is missing");
		*rest++ = '\0';
	} else {
		rest += strcspn(rest, ":");
	}
	if (*rest == ':' && !split_port(rest + 1, &port))
		return inox_error_set(error, INOX_ERROR_INVALID, "the port is not 1 to 65535");
	if (*rest != ':' && *rest != '\0')
		return inox_error_set(error, INOX_ERROR_INVALID, "unexpected text behind ']'");
	*rest = '\0';
	return endpoint_parse(host, port, ret, error);
}

bool redfish_address_parse(const char *text, struct endpoint *ret_endpoint, char **ret_base,
			   char **ret_root, GError **error)
{
	g_autoptr(GError) reason = NULL;
	char printed[ENDPOINT_TEXT];
	bool plain = g_str_has_prefix(text, "http://");
	const char *rest = plain                                ? text + strlen("http://")
			   : g_str_has_prefix(text, "https://") ? text + strlen("https://")
								: text;
	size_t length = strcspn(rest, "/");
	g_autofree char *authority = g_strndup(rest, length);
	const char *path = rest[length] && rest[length + 1] ? rest + length : "/redfish/v1/";

	if (!parse_authority(authority, plain ? 80 : 443, ret_endpoint, &reason))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "BMC address: expected [https://]ADDRESS[:PORT]: %s",
				      reason->message);
	if (!redfish_link_is_valid(path))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "BMC address: the path of the service root is not valid");
	endpoint_print(ret_endpoint, printed);
	*ret_base = g_strconcat(plain ? "http://" : "https://", printed, NULL);
	*ret_root = g_strdup(path);
	return true;
}

struct redfish_client *redfish_client_new(const struct bmc_target *t, GError **error)
{
	struct endpoint e;
	char *base, *root;

	if (!redfish_address_parse(t->address, &e, &base, &root, error))
		return NULL;
	struct redfish_client *c = g_new0(struct redfish_client, 1);

	c->target = t;
	c->base = base;
	c->root = root;
	c->key = g_strconcat(base, "\n", t->username, NULL);
	c->deadline = mono_add(mono_now(), SPAN_SECONDS(t->timeout_s));
	if (!network_list_allows(t->allowed, t->allowed_count, &e)) {
		inox_error_set(error, INOX_ERROR_DENIED,
			       "BMC address %s is outside [redfish]allowed_networks", base);
		redfish_client_free(c);
		return NULL;
	}
	if (t->auth != BMC_AUTH_BASIC)
		c->session = redfish_session_take(c->key, t->password);
	c->ready = c->session != NULL;
	return c;
}

const char *redfish_client_peek_root(const struct redfish_client *c)
{
	return c->root;
}

const char *redfish_client_peek_system(const struct redfish_client *c)
{
	return c->session ? c->session->system : NULL;
}

void redfish_client_set_system(struct redfish_client *c, const char *link)
{
	if (!c->session)
		return;
	g_free(c->session->system);
	c->session->system = g_strdup(link);
}

/* ---- one request */

struct request {
	const char *method, *path;
	const char *body; /* NULL for none */
	const char *etag; /* NULL for none */
	bool anonymous;
};

static bool remaining_seconds(const struct redfish_client *c, unsigned *ret_seconds, GError **error)
{
	uint64_t now = mono_now().us;

	if (now >= c->deadline.us)
		return inox_error_set(error, INOX_ERROR_TIMEOUT,
				      "%s: no time is left of %u seconds", c->base,
				      c->target->timeout_s);
	*ret_seconds = (unsigned)((c->deadline.us - now + 999999) / 1000000);
	return true;
}

static bool send_once(struct redfish_client *c, const struct request *rq,
		      struct web_reply *ret_reply, GError **error)
{
	const struct bmc_target *t = c->target;
	g_autofree char *url = g_strconcat(c->base, rq->path, NULL);
	g_autofree char *match = rq->etag ? g_strconcat("If-Match: ", rq->etag, NULL) : NULL;
	char *token = NULL;
	const char *headers[5] = {"Accept: application/json", "OData-Version: 4.0"};
	unsigned n = 2, seconds = 0;

	if (!remaining_seconds(c, &seconds, error))
		return false;
	if (c->session && !rq->anonymous)
		headers[n++] = token =
			g_strconcat("X-Auth-Token: ", secret_peek(c->session->token), NULL);
	if (match)
		headers[n++] = match;
	struct web_call call = {
		.method = rq->method,
		.url = url,
		.headers = headers,
		.body = rq->body,
		.body_length = rq->body ? strlen(rq->body) : 0,
		.username = c->basic && !rq->anonymous ? t->username : NULL,
		.password = t->password,
		.insecure = !t->verify,
		.connect_timeout_s = MIN(seconds, CONNECT_TIMEOUT_S),
		.total_timeout_s = seconds,
		.reply_limit = LIMIT_BMC_REPLY,
	};
	bool ok = web_perform(&call, ret_reply, error);

	secret_wipe_text(token);
	return ok;
}

static enum inox_error status_code(int status)
{
	static const struct {
		int first, last;
		enum inox_error code;
	} table[] = {
		{401, 401, INOX_ERROR_DENIED},      {403, 403, INOX_ERROR_DENIED},
		{404, 404, INOX_ERROR_NOT_FOUND},   {405, 405, INOX_ERROR_UNSUPPORTED},
		{408, 408, INOX_ERROR_UNAVAILABLE}, {409, 409, INOX_ERROR_BUSY},
		{429, 429, INOX_ERROR_UNAVAILABLE}, {400, 499, INOX_ERROR_INVALID},
		{501, 501, INOX_ERROR_UNSUPPORTED}, {500, 599, INOX_ERROR_UNAVAILABLE},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		if (status >= table[i].first && status <= table[i].last)
			return table[i].code;
	return INOX_ERROR_PEER;
}

/* True for 2xx; else the error that the answer stands for. */
static bool check_status(const struct request *rq, const struct web_reply *r, GError **error)
{
	g_auto(redfish_refusal) refusal = {0};

	if (r->status >= 200 && r->status < 300)
		return true;
	redfish_parse_refusal(r->body, r->length, &refusal);
	bool redirect = r->status >= 300 && r->status < 400;
	const char *text = refusal.text ? refusal.text
			   : redirect   ? "redirects are not followed"
					: "the BMC gives no reason";

	return inox_error_set(error, refusal.busy ? INOX_ERROR_BUSY : status_code(r->status),
			      "%s %s: the BMC answers %d: %s", rq->method, rq->path, r->status,
			      text);
}

/* ---- authentication */

static bool find_sessions(struct redfish_client *c, char **ret_link, GError **error)
{
	g_auto(web_reply) reply = {0};
	g_auto(redfish_root) root = {0};
	struct request rq = {.method = "GET", .path = c->root, .anonymous = true};

	if (!send_once(c, &rq, &reply, error) || !check_status(&rq, &reply, error) ||
	    !redfish_parse_root(reply.body, reply.length, &root, error))
		return false;
	*ret_link = g_steal_pointer(&root.sessions);
	return true;
}

/* The path of a link or of a URL of the same BMC; NULL if it is neither. */
static char *location_link(const struct redfish_client *c, const char *location)
{
	if (location && g_str_has_prefix(location, c->base))
		location += strlen(c->base);
	return redfish_link_is_valid(location) ? g_strdup(location) : NULL;
}

/* A token goes into a header of the next request. */
static bool token_is_valid(const char *token)
{
	if (!token || !*token || strlen(token) > TOKEN_MAX_BYTES)
		return false;
	for (const char *t = token; *t; t++)
		if (!g_ascii_isgraph(*t))
			return false;
	return true;
}

static bool open_session(struct redfish_client *c, const char *link, GError **error)
{
	const struct bmc_target *t = c->target;
	const char *password = t->password ? secret_peek(t->password) : "";
	g_autoptr(json_t) body =
		json_pack("{s:s, s:s}", "UserName", t->username, "Password", password);
	g_auto(web_reply) reply = {0};

	if (!body)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "user name or password is not valid UTF-8");
	char *text = json_print_compact(body);
	struct request rq = {.method = "POST", .path = link, .body = text, .anonymous = true};
	bool ok = send_once(c, &rq, &reply, error) && check_status(&rq, &reply, error);

	secret_wipe_text(text);
	if (!ok)
		return false;
	const char *token = g_hash_table_lookup(reply.headers, "x-auth-token");

	if (!token_is_valid(token))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "POST %s: there is no usable X-Auth-Token in the answer",
				      link);
	c->session = g_new0(struct redfish_session, 1);
	c->session->token = secret_new(token);
	c->session->password = secret_dup(t->password);
	c->session->uri = location_link(c, g_hash_table_lookup(reply.headers, "location"));
	c->fresh = true;
	return true;
}

/* Settles how this client authenticates.  Basic is the way out when the BMC has no sessions or none
 * to spare; not when it knows that the password is wrong: a second try would only count against the
 * account. */
static bool log_in(struct redfish_client *c, GError **error)
{
	const struct bmc_target *t = c->target;
	g_autoptr(GError) reason = NULL;
	g_autofree char *link = NULL;

	c->ready = true;
	if (!*t->username)
		return true;
	c->basic = t->auth == BMC_AUTH_BASIC;
	if (c->basic)
		return true;
	if (!find_sessions(c, &link, &reason)) {
		g_propagate_error(error, g_steal_pointer(&reason));
		c->ready = false;
		return false;
	}
	if (link && open_session(c, link, &reason))
		return true;
	if (!link)
		inox_error_set(&reason, INOX_ERROR_UNSUPPORTED, "the BMC offers no sessions");
	bool lost = g_error_matches(reason, INOX_ERROR, INOX_ERROR_TIMEOUT) ||
		    g_error_matches(reason, INOX_ERROR, INOX_ERROR_DENIED);

	if (t->auth == BMC_AUTH_SESSION || lost) {
		g_propagate_error(error, g_steal_pointer(&reason));
		c->ready = false;
		return false;
	}
	c->basic = true;
	return true;
}

/* ---- requests with authentication */

static bool perform(struct redfish_client *c, const struct request *rq, struct web_reply *ret_reply,
		    GError **error)
{
	if (!c->ready && !log_in(c, error))
		return false;
	if (!send_once(c, rq, ret_reply, error))
		return false;
	if (ret_reply->status != 401 || !c->session || c->fresh)
		return true;
	/* The kept session has ended at the BMC. */
	web_reply_clear(ret_reply);
	g_clear_pointer(&c->session, redfish_session_free);
	c->ready = false;
	return log_in(c, error) && send_once(c, rq, ret_reply, error);
}

static bool perform_checked(struct redfish_client *c, const struct request *rq,
			    struct web_reply *ret_reply, GError **error)
{
	g_auto(web_reply) reply = {0};

	if (!perform(c, rq, &reply, error) || !check_status(rq, &reply, error))
		return false;
	*ret_reply = reply;
	reply = (struct web_reply){0};
	return true;
}

bool redfish_client_get(struct redfish_client *c, const char *path, struct web_reply *ret_reply,
			GError **error)
{
	struct request rq = {.method = "GET", .path = path};

	return perform_checked(c, &rq, ret_reply, error);
}

bool redfish_client_post(struct redfish_client *c, const char *path, const json_t *body,
			 GError **error)
{
	g_auto(web_reply) reply = {0};
	g_autofree char *text = json_print_compact(body);
	struct request rq = {.method = "POST", .path = path, .body = text};

	return perform_checked(c, &rq, &reply, error);
}

bool redfish_client_patch(struct redfish_client *c, const char *path, const json_t *body,
			  const char *etag, GError **error)
{
	g_autofree char *text = json_print_compact(body);
	const char *strong = etag && g_str_has_prefix(etag, "W/") ? etag + 2 : NULL;
	const char *tries[3] = {etag, strong, NULL};
	struct request rq = {.method = "PATCH", .path = path, .body = text};

	for (unsigned i = 0;; i++) {
		g_auto(web_reply) reply = {0};

		if (i == 1 && !strong)
			continue;
		rq.etag = tries[i];
		if (!perform(c, &rq, &reply, error))
			return false;
		if (reply.status != 412 || !rq.etag)
			return check_status(&rq, &reply, error);
	}
}

/* ---- end */

static void log_out(struct redfish_client *c)
{
	g_auto(web_reply) reply = {0};
	struct request rq = {.method = "DELETE", .path = c->session->uri};
	struct mono latest = mono_add(mono_now(), SPAN_SECONDS(LOGOUT_TIMEOUT_S));

	c->deadline.us = MIN(c->deadline.us, latest.us);
	if (rq.path)
		(void)send_once(c, &rq, &reply, NULL);
}

void redfish_client_free(struct redfish_client *c)
{
	if (!c)
		return;
	if (c->session && !redfish_session_keep(c->key, c->session)) {
		log_out(c);
		redfish_session_free(c->session);
	}
	g_free(c->base);
	g_free(c->root);
	g_free(c->key);
	g_free(c);
}
