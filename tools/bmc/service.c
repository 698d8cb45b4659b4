#include "service.h"

#include <string.h>

#include "answer.h"
#include "errors.h"
#include "jsons.h"
#include "media.h"
#include "resources.h"

#define SEGMENTS_MAX 12
#define SESSIONS     ROOT "/SessionService/Sessions"

/* A request with what its path names. */
struct call {
	struct service *service;
	struct http_request *rq;
	const char *id[2]; /* what stood for "*" in the pattern */
	struct machine *machine;
};

typedef void (*handler_fn)(struct call *c);

struct route {
	const char *method, *pattern;
	handler_fn handler;
	bool open; /* without authentication */
};

/* ---- bodies */

/* The body as an object, {} if there is none; NULL when the request was answered. */
static json_t *read_body(struct call *c)
{
	size_t length;
	const char *text = http_request_body(c->rq, &length);
	json_t *body = length == 0 ? json_object()
				   : json_parse_limited(text, length, SERVICE_BODY_LIMIT,
							"the body", NULL);

	if (json_is_object(body))
		return body;
	json_decref(body);
	answer_error(c->rq, ANSWER_MALFORMED, NULL, NULL);
	return NULL;
}

/* Index of a property's text in a list, `otherwise` if it is absent; -1 when it was answered. */
static int read_choice(struct call *c, const json_t *object, const char *key,
		       const char *const *list, unsigned count, int otherwise)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);

	if (!value)
		return otherwise;
	if (!text) {
		answer_error(c->rq, ANSWER_WRONG_TYPE, key, NULL);
		return -1;
	}
	for (unsigned i = 0; i < count; i++)
		if (strcmp(list[i], text) == 0)
			return (int)i;
	answer_error(c->rq, ANSWER_NOT_IN_LIST, text, key);
	return -1;
}

/* False when there is a key outside the list; the request was answered then. */
static bool only_keys(struct call *c, json_t *object, const char *const *known)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		if (!g_strv_contains(known, key)) {
			answer_error(c->rq, ANSWER_UNKNOWN_PROPERTY, key, NULL);
			return false;
		}
	}
	return true;
}

/* ---- fixed resources */

static void get_versions(struct call *c)
{
	answer_json(c->rq, 200, json_pack("{s:s}", "v1", ROOT "/"));
}

static void get_root(struct call *c)
{
	answer_json(c->rq, 200, resource_root());
}

static void get_managers(struct call *c)
{
	static const char *const ids[] = {"1"};

	answer_json(c->rq, 200,
		    resource_collection(ROOT "/Managers", "#ManagerCollection.ManagerCollection",
					ids, 1));
}

static void get_manager(struct call *c)
{
	answer_json(c->rq, 200, resource_manager(c->service->machine_count == 1));
}

static void get_chassis_list(struct call *c)
{
	static const char *const ids[] = {"1"};

	answer_json(c->rq, 200,
		    resource_collection(ROOT "/Chassis", "#ChassisCollection.ChassisCollection",
					ids, 1));
}

static void get_chassis(struct call *c)
{
	answer_json(c->rq, 200, resource_chassis());
}

/* ---- sessions */

static void get_session_service(struct call *c)
{
	answer_json(c->rq, 200, resource_session_service(c->service->session_timeout_s));
}

static void get_sessions(struct call *c)
{
	const char *ids[ACCOUNTS_SESSIONS_MAX];
	unsigned count = 0;

	while (count < ACCOUNTS_SESSIONS_MAX &&
	       (ids[count] =
			accounts_session_at(c->service->accounts, count, loop_now(c->service->l))))
		count++;
	answer_json(
		c->rq, 200,
		resource_collection(SESSIONS, "#SessionCollection.SessionCollection", ids, count));
}

static void post_session(struct call *c)
{
	static const char *const known[] = {"UserName", "Password", NULL};
	g_autoptr(json_t) body = read_body(c);
	const char *token;

	if (!body || !only_keys(c, body, known))
		return;
	for (unsigned i = 0; known[i]; i++) {
		const json_t *value = json_object_get(body, known[i]);

		if (!json_is_string(value)) {
			answer_error(c->rq, value ? ANSWER_WRONG_TYPE : ANSWER_MISSING, known[i],
				     NULL);
			return;
		}
	}
	if (!accounts_check(c->service->accounts, json_peek_string(body, "UserName"),
			    json_peek_string(body, "Password"))) {
		answer_error(c->rq, ANSWER_NO_SESSION, NULL, NULL);
		return;
	}
	const char *id =
		accounts_open_session(c->service->accounts, loop_now(c->service->l), &token);

	if (!id) {
		answer_error(c->rq, ANSWER_TOO_MANY_SESSIONS, NULL, NULL);
		return;
	}
	g_autofree char *location = g_strconcat(SESSIONS "/", id, NULL);

	http_request_add_header(c->rq, "Location", location);
	http_request_add_header(c->rq, "X-Auth-Token", token);
	answer_json(c->rq, 201, resource_session(id, c->service->username));
}

static void get_session(struct call *c)
{
	if (accounts_has_session(c->service->accounts, c->id[0]))
		answer_json(c->rq, 200, resource_session(c->id[0], c->service->username));
	else
		answer_error(c->rq, ANSWER_NOT_FOUND, http_request_path(c->rq), NULL);
}

static void delete_session(struct call *c)
{
	if (accounts_close_session(c->service->accounts, c->id[0]))
		answer_empty(c->rq);
	else
		answer_error(c->rq, ANSWER_NOT_FOUND, http_request_path(c->rq), NULL);
}

/* ---- systems */

static void get_systems(struct call *c)
{
	char texts[SERVICE_MACHINES_MAX][8];
	const char *ids[SERVICE_MACHINES_MAX];

	for (unsigned i = 0; i < c->service->machine_count; i++) {
		g_snprintf(texts[i], sizeof(texts[i]), "%u", i + 1);
		ids[i] = texts[i];
	}
	answer_json(c->rq, 200,
		    resource_collection(SYSTEMS,
					"#ComputerSystemCollection.ComputerSystemCollection", ids,
					c->service->machine_count));
}

static void get_system(struct call *c)
{
	g_autofree char *etag = resource_etag(c->machine);

	http_request_add_header(c->rq, "ETag", etag);
	answer_json(c->rq, 200, resource_system(c->machine, c->id[0]));
}

/* If-Match: "*", the tag, or its strong form; without the header everything matches. */
static bool etag_matches(const struct call *c)
{
	const char *match = http_request_header(c->rq, "If-Match");
	g_autofree char *etag = resource_etag(c->machine);

	return !match || strcmp(match, "*") == 0 || strcmp(match, etag) == 0 ||
	       strcmp(match, etag + strlen("W/")) == 0;
}

/* False when the request was answered with an error. */
static bool read_boot(struct call *c, json_t *object, struct boot_override *b)
{
	static const char *const known[] = {"BootSourceOverrideTarget", "BootSourceOverrideEnabled",
					    "BootSourceOverrideMode", NULL};
	unsigned modes = machine_has_firmware(c->machine, FIRMWARE_UEFI) ? 2 : 1;

	if (!only_keys(c, object, known))
		return false;
	int target = read_choice(c, object, known[0], resource_target_text, BOOT_TARGET_COUNT,
				 (int)b->target);

	if (target < 0)
		return false;
	int enabled = read_choice(c, object, known[1], resource_enabled_text, BOOT_ENABLED_COUNT,
				  (int)b->enabled);

	if (enabled < 0)
		return false;
	int mode = read_choice(c, object, known[2], resource_mode_text, modes, (int)b->mode);

	if (mode < 0)
		return false;
	*b = (struct boot_override){.target = (enum boot_target)target,
				    .enabled = (enum boot_enabled)enabled,
				    .mode = (enum machine_firmware)mode};
	if (enabled == BOOT_DISABLED)
		b->target = BOOT_NONE;
	return true;
}

static void patch_system(struct call *c)
{
	static const char *const known[] = {"Boot", NULL};
	g_autoptr(GError) error = NULL;
	struct boot_override b = *machine_peek_boot(c->machine);
	g_autoptr(json_t) body = read_body(c);

	if (!body || !only_keys(c, body, known))
		return;
	json_t *boot = json_object_get(body, "Boot");

	if (!json_is_object(boot)) {
		answer_error(c->rq, boot ? ANSWER_WRONG_TYPE : ANSWER_MISSING, "Boot", NULL);
		return;
	}
	if (!etag_matches(c)) {
		answer_error(c->rq, ANSWER_CHANGED, NULL, NULL);
		return;
	}
	if (!read_boot(c, boot, &b))
		return;
	if (!machine_check_boot(c->machine, &b, &error)) {
		answer_error(c->rq, ANSWER_CONFLICT, error->message, NULL);
		return;
	}
	machine_set_boot(c->machine, &b);
	get_system(c);
}

static void post_reset(struct call *c)
{
	static const char *const known[] = {"ResetType", NULL};
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) body = read_body(c);

	if (!body || !only_keys(c, body, known))
		return;
	if (!json_object_get(body, "ResetType")) {
		answer_error(c->rq, ANSWER_MISSING, "ResetType", NULL);
		return;
	}
	int reset = read_choice(c, body, "ResetType", resource_reset_text, MACHINE_RESET_COUNT, -1);

	if (reset < 0)
		return;
	if (machine_reset(c->machine, (enum machine_reset)reset, &error))
		answer_empty(c->rq);
	else
		answer_error(c->rq,
			     g_error_matches(error, INOX_ERROR, INOX_ERROR_CONFLICT)
				     ? ANSWER_CONFLICT
				     : ANSWER_INTERNAL,
			     error->message, NULL);
}

static void get_nics(struct call *c)
{
	char texts[MACHINE_MACS_MAX][8];
	const char *ids[MACHINE_MACS_MAX];
	unsigned count = machine_peek_spec(c->machine)->mac_count;
	g_autofree char *path = g_strconcat(SYSTEMS "/", c->id[0], "/EthernetInterfaces", NULL);

	for (unsigned i = 0; i < count; i++) {
		g_snprintf(texts[i], sizeof(texts[i]), "%u", i + 1);
		ids[i] = texts[i];
	}
	answer_json(c->rq, 200,
		    resource_collection(path,
					"#EthernetInterfaceCollection.EthernetInterfaceCollection",
					ids, count));
}

static void get_nic(struct call *c)
{
	guint64 number;

	if (g_ascii_string_to_unsigned(c->id[1], 10, 1, machine_peek_spec(c->machine)->mac_count,
				       &number, NULL))
		answer_json(c->rq, 200, resource_nic(c->machine, c->id[0], (unsigned)number - 1));
	else
		answer_error(c->rq, ANSWER_NOT_FOUND, http_request_path(c->rq), NULL);
}

/* ---- virtual media */

static void get_media_list(struct call *c)
{
	static const char *const ids[] = {MEDIA_ID};
	g_autofree char *path = g_strconcat(SYSTEMS "/", c->id[0], "/VirtualMedia", NULL);

	answer_json(c->rq, 200,
		    resource_collection(path, "#VirtualMediaCollection.VirtualMediaCollection", ids,
					1));
}

/* False when the path names another slot than the one there is; it was answered then. */
static bool is_our_slot(struct call *c)
{
	if (strcmp(c->id[1], MEDIA_ID) == 0)
		return true;
	answer_error(c->rq, ANSWER_NOT_FOUND, http_request_path(c->rq), NULL);
	return false;
}

static void get_media(struct call *c)
{
	if (is_our_slot(c))
		answer_json(c->rq, 200, resource_media(c->machine, c->id[0]));
}

/* A request that is answered when its medium is there; the client may go away first. */
struct insertion {
	struct http_request *rq;
};

static void on_client_gone(void *ctx)
{
	((struct insertion *)ctx)->rq = NULL;
}

static void on_inserted(void *ctx, const GError *error)
{
	g_autofree struct insertion *i = ctx;
	struct http_request *rq = i->rq;

	if (!rq)
		return;
	http_request_on_gone(rq, NULL, NULL);
	if (!error)
		answer_empty(rq);
	else
		answer_error(rq,
			     g_error_matches(error, INOX_ERROR, INOX_ERROR_CONFLICT)
				     ? ANSWER_CONFLICT
				     : ANSWER_INTERNAL,
			     error->message, NULL);
}

/* The URL in a body that is otherwise as it should be; NULL when it was answered. */
static const char *read_image(struct call *c, json_t *body)
{
	static const char *const known[] = {"Image",          "Inserted", "WriteProtected",
					    "UserName",       "Password", "TransferProtocolType",
					    "TransferMethod", NULL};
	const json_t *image = json_object_get(body, "Image");
	const char *url = json_string_value(image);

	if (!only_keys(c, body, known))
		return NULL;
	if (!url)
		answer_error(c->rq, image ? ANSWER_WRONG_TYPE : ANSWER_MISSING, "Image", NULL);
	else if (!media_url_is_valid(url))
		answer_error(c->rq, ANSWER_NOT_IN_LIST, "of a URL", "Image");
	else
		return url;
	return NULL;
}

static void post_insert(struct call *c)
{
	g_autoptr(json_t) body = is_our_slot(c) ? read_body(c) : NULL;
	const char *url = body ? read_image(c, body) : NULL;

	if (!url)
		return;
	struct insertion *i = g_new0(struct insertion, 1);

	i->rq = c->rq;
	http_request_on_gone(c->rq, on_client_gone, i);
	machine_insert_media(c->machine, url, on_inserted, i);
}

static void post_eject(struct call *c)
{
	static const char *const known[] = {NULL};
	g_autoptr(json_t) body = is_our_slot(c) ? read_body(c) : NULL;

	if (!body || !only_keys(c, body, known))
		return;
	machine_eject_media(c->machine);
	answer_empty(c->rq);
}

/* ---- routes */

static const struct route routes[] = {
	{"GET", "/redfish", get_versions, true},
	{"GET", ROOT, get_root, true},
	{"GET", ROOT "/SessionService", get_session_service, false},
	{"GET", SESSIONS, get_sessions, false},
	{"POST", SESSIONS, post_session, true},
	{"GET", SESSIONS "/*", get_session, false},
	{"DELETE", SESSIONS "/*", delete_session, false},
	{"GET", SYSTEMS, get_systems, false},
	{"GET", SYSTEMS "/*", get_system, false},
	{"PATCH", SYSTEMS "/*", patch_system, false},
	{"POST", SYSTEMS "/*/Actions/ComputerSystem.Reset", post_reset, false},
	{"GET", SYSTEMS "/*/EthernetInterfaces", get_nics, false},
	{"GET", SYSTEMS "/*/EthernetInterfaces/*", get_nic, false},
	{"GET", SYSTEMS "/*/VirtualMedia", get_media_list, false},
	{"GET", SYSTEMS "/*/VirtualMedia/*", get_media, false},
	{"POST", SYSTEMS "/*/VirtualMedia/*/Actions/VirtualMedia.InsertMedia", post_insert, false},
	{"POST", SYSTEMS "/*/VirtualMedia/*/Actions/VirtualMedia.EjectMedia", post_eject, false},
	{"GET", ROOT "/Managers", get_managers, false},
	{"GET", ROOT "/Managers/1", get_manager, false},
	{"GET", ROOT "/Chassis", get_chassis_list, false},
	{"GET", ROOT "/Chassis/1", get_chassis, false},
};

/* Compares segment by segment; "*" takes one that is not empty. */
static bool path_matches(const char *pattern, char *const *segments, const char *ret_id[2])
{
	g_auto(GStrv) parts = g_strsplit(pattern, "/", SEGMENTS_MAX);
	unsigned i, n = 0;

	for (i = 0; parts[i] && segments[i]; i++) {
		if (strcmp(parts[i], "*") == 0 && segments[i][0])
			ret_id[n++] = segments[i];
		else if (strcmp(parts[i], segments[i]) != 0)
			return false;
	}
	return !parts[i] && !segments[i];
}

static bool is_authenticated(const struct service *s, const struct http_request *rq)
{
	const char *token = http_request_header(rq, "X-Auth-Token");

	if (accounts_are_open(s->accounts))
		return true;
	if (token)
		return accounts_use_token(s->accounts, token, loop_now(s->l));
	return accounts_check_header(s->accounts, http_request_header(rq, "Authorization"));
}

/* The machine that the path names by its number; false if there is none. */
static bool find_machine(struct call *c, const struct route *r)
{
	guint64 number;

	if (!g_str_has_prefix(r->pattern, SYSTEMS "/*"))
		return true;
	if (!g_ascii_string_to_unsigned(c->id[0], 10, 1, c->service->machine_count, &number, NULL))
		return false;
	c->machine = c->service->machines[number - 1];
	return true;
}

static void run_route(struct call *c, const struct route *r)
{
	if (!r->open && !is_authenticated(c->service, c->rq))
		answer_error(c->rq, ANSWER_NO_SESSION, NULL, NULL);
	else if (!find_machine(c, r))
		answer_error(c->rq, ANSWER_NOT_FOUND, http_request_path(c->rq), NULL);
	else
		r->handler(c);
}

static void handle_segments(struct call *c, char *const *segments)
{
	const char *method = http_request_method(c->rq);
	g_autoptr(GString) allow = g_string_new(NULL);

	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (unsigned i = 0; i < G_N_ELEMENTS(routes); i++) {
		if (!path_matches(routes[i].pattern, segments, c->id))
			continue;
		if (strcmp(routes[i].method, method) == 0) {
			run_route(c, &routes[i]);
			return;
		}
		g_string_append_printf(allow, "%s%s", allow->len ? ", " : "", routes[i].method);
	}
	/* Strangers do not learn what there is. */
	if (!is_authenticated(c->service, c->rq)) {
		answer_error(c->rq, ANSWER_NO_SESSION, NULL, NULL);
	} else if (allow->len) {
		http_request_add_header(c->rq, "Allow", allow->str);
		answer_error(c->rq, ANSWER_NOT_ALLOWED, method, NULL);
	} else {
		answer_error(c->rq, ANSWER_NOT_FOUND, http_request_path(c->rq), NULL);
	}
}

void service_handle(void *ctx, struct http_request *rq)
{
	const char *path = http_request_path(rq);
	size_t length = strlen(path);
	struct call c = {.service = ctx, .rq = rq};

	if (length > 1 && path[length - 1] == '/')
		length--;
	g_autofree char *trimmed = g_strndup(path, length);
	g_auto(GStrv) segments = g_strsplit(trimmed, "/", SEGMENTS_MAX);

	handle_segments(&c, segments);
}
