/* deploy.c: the verbs of a node's life: manage, provide, deploy, undeploy, power; and why. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clocks.h"
#include "command.h"
#include "config_drive.h"
#include "errors.h"
#include "jsons.h"
#include "log.h"
#include "output.h"
#include "password.h"
#include "progress.h"

#define WAIT_STEP_US   300000
#define WAIT_FAILURES  20 /* looks that may fail in a row: a server that is being restarted */
#define WAIT_DEFAULT_S 3600

static char *path_of(const char *ident, const char *rest)
{
	g_autofree char *escaped = client_escape(ident);

	return g_strconcat("/v1/nodes/", escaped, rest, NULL);
}

static bool ends_badly(const char *state)
{
	return g_str_has_suffix(state, " failed") || strcmp(state, "error") == 0;
}

/* 1: reached, 0: not yet, -1: never (with *error). */
static int judge(const json_t *seen, const char *wanted, GError **error)
{
	const char *state = json_peek_string(seen, "provision_state");
	const char *last_error = json_peek_string(seen, "last_error");
	bool moving = json_is_string(json_object_get(seen, "target_provision_state"));

	if (!state)
		return 0;
	/* `wanted` may itself be a failed state: what an abort leads to. */
	if (strcmp(state, wanted) == 0)
		return !json_is_string(json_object_get(seen, "reservation"));
	if (!ends_badly(state) && moving)
		return 0;
	g_autofree char *why = last_error ? log_clean_text(last_error, strlen(last_error), 4096)
					  : g_strdup("no reason is recorded");

	inox_error_set(error, INOX_ERROR_PEER, "The node is in state '%s': %s", state, why);
	return -1;
}

static json_t *look(struct client *c, const char *ident, json_t **ret_flow, GError **error)
{
	g_autofree char *node_path = path_of(
		ident,
		"?fields=provision_state,target_provision_state,last_error,reservation,power_state");
	g_autofree char *flow_path = path_of(ident, "/flow");
	json_t *seen = client_call(c, "GET", node_path, NULL, error);

	*ret_flow = seen ? client_call(c, "GET", flow_path, NULL, NULL) : NULL;
	return seen;
}

/* Follows the node until it is in `wanted`. */
static int wait_for(struct invocation *in, const char *ident, const char *wanted, int timeout_s,
		    GError **error)
{
	struct mono start = mono_now(), end = mono_add(start, SPAN_SECONDS(timeout_s));
	g_autoptr(progress) line = progress_new(isatty(STDERR_FILENO), start);
	unsigned failures = 0;

	while (!mono_reached(end, mono_now())) {
		g_autoptr(GError) failure = NULL;
		g_autoptr(json_t) flow = NULL;
		g_autoptr(json_t) seen = look(in->client, ident, &flow, &failure);

		if (!seen && ++failures >= WAIT_FAILURES) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return 1;
		}
		if (seen) {
			failures = 0;
			progress_show(line, json_peek_string(seen, "provision_state"), flow,
				      mono_now());
			int verdict = judge(seen, wanted, error);

			if (verdict != 0)
				return verdict > 0 ? 0 : 1;
		}
		g_usleep(WAIT_STEP_US);
	}
	inox_error_set(error, INOX_ERROR_TIMEOUT,
		       "The node did not reach '%s' in %d s; see inox why %s.", wanted, timeout_s,
		       ident);
	return 1;
}

struct wait_options {
	gboolean wait;
	int timeout_s;
};

#define WAIT_ENTRIES(w)                                                                           \
	{"wait", 'w', 0, G_OPTION_ARG_NONE, &(w).wait, "follow the node until it is done", NULL}, \
	{                                                                                         \
		"timeout", 0, 0, G_OPTION_ARG_INT, &(w).timeout_s, "longest wait (default 3600)", \
			"SECONDS"                                                                 \
	}

static int provision(struct invocation *in, const char *ident, json_t *body, const char *wanted,
		     const struct wait_options *w, GError **error)
{
	g_autofree char *path = path_of(ident, "/states/provision");
	g_autoptr(json_t) sent = body;
	g_autoptr(json_t) accepted = client_call(in->client, "PUT", path, sent, error);

	if (!accepted)
		return 1;
	int status = w->wait ? wait_for(in, ident, wanted, w->timeout_s, error) : 0;

	if (status == 0 && in->as_json) {
		g_autofree char *node_path = path_of(ident, "");
		g_autoptr(json_t) shown = client_call(in->client, "GET", node_path, NULL, error);

		if (!shown)
			return 1;
		output_json(shown);
	}
	return status;
}

static int simple_verb(struct invocation *in, const char *words, const char *target,
		       const char *wanted, GError **error)
{
	struct wait_options w = {.timeout_s = WAIT_DEFAULT_S};
	const GOptionEntry entries[] = {WAIT_ENTRIES(w), {.long_name = NULL}};
	int status;

	if (!command_parse(in, words, "NODE", entries, 1, 1, &status, error))
		return status;
	return provision(in, in->argv[0], json_pack("{s:s}", "target", target), wanted, &w, error);
}

int command_manage(struct invocation *in, GError **error)
{
	return simple_verb(in, "manage", "manage", "manageable", error);
}

int command_provide(struct invocation *in, GError **error)
{
	return simple_verb(in, "provide", "provide", "available", error);
}

int command_undeploy(struct invocation *in, GError **error)
{
	return simple_verb(in, "undeploy", "deleted", "available", error);
}

static const struct {
	const char *from, *to;
} aborted[] = {
	{"clean wait", "clean failed"},
	{"clean hold", "clean failed"},
	{"rescue wait", "rescue failed"},
};

int command_abort(struct invocation *in, GError **error)
{
	struct wait_options w = {.timeout_s = WAIT_DEFAULT_S};
	const GOptionEntry entries[] = {WAIT_ENTRIES(w), {.long_name = NULL}};
	int status;

	if (!command_parse(in, "abort", "NODE", entries, 1, 1, &status, error))
		return status;
	g_autofree char *path = path_of(in->argv[0], "?fields=provision_state");
	g_autoptr(json_t) seen = client_call(in->client, "GET", path, NULL, error);

	if (!seen)
		return 1;
	const char *state = json_peek_string(seen, "provision_state");
	const char *wanted = "deploy failed";

	for (size_t i = 0; state && i < G_N_ELEMENTS(aborted); i++)
		if (strcmp(state, aborted[i].from) == 0)
			wanted = aborted[i].to;
	return provision(in, in->argv[0], json_pack("{s:s}", "target", "abort"), wanted, &w, error);
}

/* To whom to log in, once the node is there. */
static int tell_address(struct invocation *in, GError **error)
{
	g_autofree char *path = path_of(in->argv[0], "?fields=driver_internal_info");
	g_autoptr(json_t) seen = client_call(in->client, "GET", path, NULL, error);
	const char *address =
		json_peek_string(json_object_get(seen, "driver_internal_info"), "rescue_address");

	if (!seen)
		return 1;
	if (address)
		printf("rescue@%s\n", address);
	return 0;
}

int command_rescue(struct invocation *in, GError **error)
{
	struct wait_options w = {.timeout_s = WAIT_DEFAULT_S};
	g_autofree char *file = NULL;
	const GOptionEntry entries[] = {
		{"password-file", 0, 0, G_OPTION_ARG_FILENAME, &file,
		 "its first line is the password of the user rescue; - is standard input; without it "
		 "the terminal is asked",
		 "FILE"},
		WAIT_ENTRIES(w),
		{.long_name = NULL},
	};
	int status;

	if (!command_parse(in, "rescue", "NODE", entries, 1, 1, &status, error))
		return status;
	g_autoptr(secret) password = password_read(file, "Rescue password", error);

	if (!password)
		return 2;
	status = provision(in, in->argv[0],
			   json_pack("{s:s, s:s}", "target", "rescue", "rescue_password",
				     secret_peek(password)),
			   "rescue", &w, error);
	return status || !w.wait || in->as_json ? status : tell_address(in, error);
}

int command_unrescue(struct invocation *in, GError **error)
{
	return simple_verb(in, "unrescue", "unrescue", "active", error);
}

/* Only manual cleaning can be held. */
int command_unhold(struct invocation *in, GError **error)
{
	return simple_verb(in, "unhold", "unhold", "manageable", error);
}

/* "deploy.erase_devices" or a whole step as a JSON object.  A new reference. */
static json_t *clean_step_value(const char *text, GError **error)
{
	const char *dot = strchr(text, '.');

	if (text[0] == '{')
		return json_parse_limited(text, strlen(text), 65536, "--step", error);
	if (!dot || dot == text || !dot[1]) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "--step takes INTERFACE.STEP or a JSON object, not '%s'.", text);
		return NULL;
	}
	g_autofree char *interface = g_strndup(text, (gsize)(dot - text));

	return json_pack("{s:s, s:s}", "interface", interface, "step", dot + 1);
}

int command_clean(struct invocation *in, GError **error)
{
	struct wait_options w = {.timeout_s = WAIT_DEFAULT_S};
	g_auto(GStrv) steps = NULL;
	gboolean bare = FALSE;
	const GOptionEntry entries[] = {
		{"disable-ramdisk", 0, 0, G_OPTION_ARG_NONE, &bare,
		 "boot nothing: for the steps power_on, power_off, reboot, hold and wait alone",
		 NULL},
		{"step", 0, 0, G_OPTION_ARG_STRING_ARRAY, &steps,
		 "a clean step; may be given several times, in order", "INTERFACE.STEP|JSON"},
		WAIT_ENTRIES(w),
		{.long_name = NULL},
	};
	int status;

	if (!command_parse(in, "clean", "NODE", entries, 1, 1, &status, error))
		return status;
	if (!steps) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "Cleaning needs at least one --step, as in --step "
			       "deploy.erase_devices.");
		return 2;
	}
	g_autoptr(json_t) list = json_array();

	for (size_t i = 0; steps[i]; i++) {
		json_t *step = clean_step_value(steps[i], error);

		if (!step)
			return 2;
		json_array_append_new(list, step);
	}
	json_t *body = json_pack("{s:s, s:O}", "target", "clean", "clean_steps", list);

	if (bare)
		json_object_set_new(body, "disable_ramdisk", json_true());
	return provision(in, in->argv[0], body, "manageable", &w, error);
}

struct deploy_options {
	char *image, *checksum, *config_drive, *root_device;
	struct wait_options w;
};

static void deploy_options_clear(struct deploy_options *o)
{
	g_free(o->image);
	g_free(o->checksum);
	g_free(o->config_drive);
	g_free(o->root_device);
}

typedef struct deploy_options deploy_options;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(deploy_options, deploy_options_clear)

static void patch_add(json_t *patch, const char *path, json_t *value)
{
	json_array_append_new(
		patch, json_pack("{s:s,s:s,s:o}", "op", "add", "path", path, "value", value));
}

/* "sha256:HEX", "sha512:HEX", or the digits alone, told apart by their number. */
static bool patch_checksum(json_t *patch, const char *text, GError **error)
{
	const char *colon = strchr(text, ':');
	const char *digits = colon ? colon + 1 : text;
	g_autofree char *algorithm = colon ? g_ascii_strdown(text, colon - text) : NULL;
	size_t length = strlen(digits);

	if (!algorithm)
		algorithm = g_strdup(length == 128 ? "sha512" : "sha256");
	size_t wanted = strcmp(algorithm, "sha512") == 0   ? 128
			: strcmp(algorithm, "sha256") == 0 ? 64
							   : 0;

	if (wanted == 0 || length != wanted || strspn(digits, "0123456789abcdefABCDEF") != length)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"--checksum takes sha256:64 hex digits or sha512:128 hex digits.");
	patch_add(patch, "/instance_info/image_os_hash_algo", json_string(algorithm));
	patch_add(patch, "/instance_info/image_os_hash_value", json_string(digits));
	return true;
}

static bool patch_instance(struct invocation *in, const struct deploy_options *o, GError **error)
{
	g_autoptr(json_t) patch = json_array();
	g_autofree char *path = path_of(in->argv[0], "");

	if (o->image) {
		patch_add(patch, "/instance_info/image_source", json_string(o->image));
		patch_add(patch, "/instance_info/image_disk_format", json_string("raw"));
	}
	if (o->checksum && !patch_checksum(patch, o->checksum, error))
		return false;
	if (o->root_device) {
		g_autoptr(json_t) hints = json_parse_limited(o->root_device, strlen(o->root_device),
							     65536, "--root-device", error);

		if (!hints)
			return false;
		patch_add(patch, "/instance_info/root_device", json_incref(hints));
	}
	if (json_array_size(patch) == 0)
		return true;
	g_autoptr(json_t) changed = client_call(in->client, "PATCH", path, patch, error);

	return changed != NULL;
}

/* A folder is built into a drive here; a URL and a JSON object are for the server. */
static json_t *config_drive_value(const char *text, GError **error)
{
	if (g_str_has_prefix(text, "http://") || g_str_has_prefix(text, "https://"))
		return json_string(text);
	if (text[0] == '{')
		return json_parse_limited(text, strlen(text), CONFIG_DRIVE_LIMIT, "--config-drive",
					  error);
	g_autofree char *drive = config_drive_from_folder(text, error);

	return drive ? json_string(drive) : NULL;
}

int command_deploy(struct invocation *in, GError **error)
{
	g_auto(deploy_options) o = {.w = {.timeout_s = WAIT_DEFAULT_S}};
	const GOptionEntry entries[] = {
		{"image", 0, 0, G_OPTION_ARG_STRING, &o.image,
		 "raw image, or raw in gzip, xz or zstd; kept for the next deployment", "URL"},
		{"checksum", 0, 0, G_OPTION_ARG_STRING, &o.checksum,
		 "sha256:HEX or sha512:HEX of the file at URL", "DIGEST"},
		{"config-drive", 0, 0, G_OPTION_ARG_STRING, &o.config_drive,
		 "folder, JSON object or URL", "DIR|JSON|URL"},
		{"root-device", 0, 0, G_OPTION_ARG_STRING, &o.root_device,
		 "hints that choose the disk, as a JSON object", "JSON"},
		WAIT_ENTRIES(o.w),
		{.long_name = NULL},
	};
	int status;

	if (!command_parse(in, "deploy", "NODE", entries, 1, 1, &status, error))
		return status;
	g_autoptr(json_t) body = json_pack("{s:s}", "target", "active");

	if (o.config_drive) {
		json_t *drive = config_drive_value(o.config_drive, error);

		if (!drive)
			return 2;
		json_object_set_new(body, "configdrive", drive);
	}
	if (!patch_instance(in, &o, error))
		return 1;
	return provision(in, in->argv[0], g_steal_pointer(&body), "active", &o.w, error);
}

static const struct power_word {
	const char *word, *target;
} power_words[] = {
	{"on", "power on"},
	{"off", "power off"},
	{"reboot", "rebooting"},
};

static int power_status(struct invocation *in, GError **error)
{
	g_autofree char *path = path_of(in->argv[0], "/states");
	g_autoptr(json_t) states = client_call(in->client, "GET", path, NULL, error);

	if (!states)
		return 1;
	if (in->as_json)
		output_json(states);
	else
		puts(json_peek_string(states, "power_state")
			     ? json_peek_string(states, "power_state")
			     : "unknown");
	return 0;
}

int command_power(struct invocation *in, GError **error)
{
	gboolean soft = FALSE;
	const GOptionEntry entries[] = {
		{"soft", 0, 0, G_OPTION_ARG_NONE, &soft, "ask the operating system", NULL},
		{.long_name = NULL},
	};
	int status;

	if (!command_parse(in, "power", "NODE on|off|reboot|status", entries, 2, 2, &status, error))
		return status;
	if (strcmp(in->argv[1], "status") == 0)
		return power_status(in, error);
	for (size_t i = 0; i < G_N_ELEMENTS(power_words); i++) {
		if (strcmp(in->argv[1], power_words[i].word) != 0)
			continue;
		g_autofree char *path = path_of(in->argv[0], "/states/power");
		g_autofree char *target =
			g_strconcat(soft && i > 0 ? "soft " : "", power_words[i].target, NULL);
		g_autoptr(json_t) body = json_pack("{s:s}", "target", target);
		g_autoptr(json_t) sent = client_call(in->client, "PUT", path, body, error);

		return sent ? 0 : 1;
	}
	inox_error_set(error, INOX_ERROR_INVALID,
		       "Expected on, off, reboot or status but received %s.", in->argv[1]);
	return 2;
}

int command_why(struct invocation *in, GError **error)
{
	int status;

	if (!command_parse(in, "why", "NODE", NULL, 1, 1, &status, error))
		return status;
	g_autofree char *path = path_of(in->argv[0], "/flow");
	g_autoptr(json_t) flow = client_call(in->client, "GET", path, NULL, error);

	if (!flow)
		return 1;
	if (in->as_json) {
		output_json(flow);
		return 0;
	}
	const char *why = json_peek_string(flow, "why");
	g_autofree char *clean =
		why ? log_clean_text(why, strlen(why), 8192) : g_strdup("Nothing is under way.");

	puts(clean);
	return 0;
}
