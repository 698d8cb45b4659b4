#include "redfish_parse.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"

#define LINK_MAX_BYTES  512
#define ETAG_MAX_BYTES  256
#define REFUSAL_BYTES   400
#define REFUSAL_ENTRIES 8

const char *const reset_type_text[RESET_TYPE_COUNT] = {
#define RESET_TEXT(constant, text) [constant] = (text),
	RESET_TYPE_LIST(RESET_TEXT)
#undef RESET_TEXT
};

static const char *const target_text[OVERRIDE_TARGET_COUNT] = {
	[OVERRIDE_NONE] = "None", [OVERRIDE_PXE] = "Pxe",      [OVERRIDE_HDD] = "Hdd",
	[OVERRIDE_CD] = "Cd",     [OVERRIDE_USB_CD] = "UsbCd",
};
static const char *const enabled_text[OVERRIDE_ENABLED_COUNT] = {
	[OVERRIDE_DISABLED] = "Disabled",
	[OVERRIDE_ONCE] = "Once",
	[OVERRIDE_CONTINUOUS] = "Continuous",
};
static const char *const mode_text[OVERRIDE_MODE_COUNT] = {
	[OVERRIDE_LEGACY] = "Legacy",
	[OVERRIDE_UEFI] = "UEFI",
};

/* By Manufacturer, as a part of it, in lower case. */
static const struct {
	const char *manufacturer;
	unsigned quirks;
} quirk_table[] = {
	{"supermicro", QUIRK_ALWAYS_ENABLED | QUIRK_USB_CD},
	{"american megatrends", QUIRK_ALWAYS_ENABLED | QUIRK_ALWAYS_MODE},
	{"asrockrack", QUIRK_ALWAYS_ENABLED | QUIRK_ALWAYS_MODE},
};

/* Parts of MessageIds (registries Base and the vendors') after which a request may work later. */
static const char *const busy_messages[] = {
	"UnableToModifyDuringSystemPOST",
	"ServiceTemporarilyUnavailable",
	"ServiceInUnknownState",
	"ServiceShuttingDown",
	"ResourceInUse",
	"ResourceInStandby",
	"SessionLimitExceeded",
	"ActionParameterValueConflict",
};

static const struct {
	const char *text;
	enum power_state power;
} power_table[] = {
	{"On", POWER_ON},
	{"PoweringOn", POWER_ON},
	{"Off", POWER_OFF},
	{"PoweringOff", POWER_OFF},
};

bool redfish_link_is_valid(const char *link)
{
	if (!link || link[0] != '/' || link[1] == '/' || strlen(link) > LINK_MAX_BYTES)
		return false;
	for (const char *c = link; *c; c++)
		if (!g_ascii_isalnum(*c) && !strchr("-._~!$&'()*+,;=:@%/", *c))
			return false;
	/* A segment of dots would be resolved by some servers and not by others. */
	return !strstr(link, "/../") && !strstr(link, "/./") && !g_str_has_suffix(link, "/..") &&
	       !g_str_has_suffix(link, "/.");
}

json_t *redfish_parse_resource(const char *text, size_t length, const char *what, GError **error)
{
	g_autoptr(GError) reason = NULL;
	g_autoptr(json_t) value =
		json_parse_limited(text, length, LIMIT_BMC_REPLY, "the answer", &reason);

	if (!value) {
		bool limit = g_error_matches(reason, INOX_ERROR, INOX_ERROR_LIMIT);

		inox_error_set(error, limit ? INOX_ERROR_LIMIT : INOX_ERROR_PEER, "%s: %s", what,
			       reason->message);
		return NULL;
	}
	if (!json_is_object(value)) {
		inox_error_set(error, INOX_ERROR_PEER, "%s: the answer is %s instead of an object",
			       what, json_type_text(value));
		return NULL;
	}
	return g_steal_pointer(&value);
}

/* The link in {"@odata.id": "/..."}; a copy, NULL if there is none that may be followed. */
static char *dup_link(const json_t *object)
{
	const char *link = json_peek_string(object, "@odata.id");

	return redfish_link_is_valid(link) ? g_strdup(link) : NULL;
}

bool redfish_etag_is_valid(const char *etag)
{
	if (!etag || !*etag || strlen(etag) > ETAG_MAX_BYTES)
		return false;
	for (const char *c = etag; *c; c++)
		if (!g_ascii_isgraph(*c))
			return false;
	return true;
}

static int find_text(const char *const *table, unsigned count, const char *text)
{
	for (unsigned i = 0; text && i < count; i++)
		if (strcmp(table[i], text) == 0)
			return (int)i;
	return -1;
}

static struct allowed read_allowed(const json_t *object, const char *key, const char *const *table,
				   unsigned count)
{
	json_t *list = json_peek_array(object, key), *item;
	struct allowed a = {.known = list && json_array_size(list) > 0};
	size_t i;

	if (!a.known)
		return a;
	g_autoptr(GString) text = g_string_new(NULL);

	json_array_foreach(list, i, item) {
		int value = find_text(table, count, json_string_value(item));

		if (value >= 0)
			a.mask |= 1u << value;
		if (json_is_string(item) && text->len < REFUSAL_BYTES)
			g_string_append_printf(text, "%s%s", i ? ", " : "",
					       json_string_value(item));
	}
	a.text = log_clean_text(text->str, text->len, REFUSAL_BYTES);
	return a;
}

bool redfish_parse_root(const char *text, size_t length, struct redfish_root *ret, GError **error)
{
	g_autoptr(json_t) root = redfish_parse_resource(text, length, "service root", error);

	if (!root)
		return false;
	const json_t *links = json_peek_object(root, "Links");

	*ret = (struct redfish_root){
		.systems = dup_link(json_peek_object(root, "Systems")),
		.sessions = dup_link(json_peek_object(links, "Sessions")),
	};
	return true;
}

bool redfish_parse_collection(const char *text, size_t length, struct redfish_collection *ret,
			      GError **error)
{
	g_autoptr(json_t) c = redfish_parse_resource(text, length, "collection", error);

	if (!c)
		return false;
	const json_t *members = json_peek_array(c, "Members");

	if (!members)
		return inox_error_set(error, INOX_ERROR_PEER, "collection: there are no Members");
	int64_t listed = (int64_t)json_array_size(members);
	int64_t counted = json_peek_integer(c, "Members@odata.count", listed);

	g_autoptr(GPtrArray) links = g_ptr_array_new();

	for (size_t i = 0; i < MIN(json_array_size(members), REDFISH_MEMBERS_MAX); i++) {
		char *link = dup_link(json_array_get(members, i));

		if (link)
			g_ptr_array_add(links, link);
	}
	g_ptr_array_add(links, NULL);
	*ret = (struct redfish_collection){
		.members = (char **)g_ptr_array_free(g_steal_pointer(&links), FALSE),
		.count = (unsigned)CLAMP(MAX(listed, counted), 0, G_MAXINT),
		.first = dup_link(json_array_get(members, 0)),
	};
	return true;
}

static void read_boot(const json_t *boot, struct redfish_system *s)
{
	const char *mode = json_peek_string(boot, "BootSourceOverrideMode");
	int value = find_text(mode_text, OVERRIDE_MODE_COUNT, mode);

	s->has_mode = mode != NULL;
	s->mode = value < 0                ? BOOT_MODE_UNKNOWN
		  : value == OVERRIDE_UEFI ? BOOT_MODE_UEFI
					   : BOOT_MODE_BIOS;
	s->enabled = find_text(enabled_text, OVERRIDE_ENABLED_COUNT,
			       json_peek_string(boot, "BootSourceOverrideEnabled"));
	s->targets = read_allowed(boot, "BootSourceOverrideTarget@Redfish.AllowableValues",
				  target_text, OVERRIDE_TARGET_COUNT);
	s->enableds = read_allowed(boot, "BootSourceOverrideEnabled@Redfish.AllowableValues",
				   enabled_text, OVERRIDE_ENABLED_COUNT);
	s->modes = read_allowed(boot, "BootSourceOverrideMode@Redfish.AllowableValues", mode_text,
				OVERRIDE_MODE_COUNT);
}

static void read_reset(const json_t *system, struct redfish_system *s)
{
	const json_t *actions = json_peek_object(system, "Actions");
	const json_t *reset = json_peek_object(actions, "#ComputerSystem.Reset");
	const char *target = json_peek_string(reset, "target");
	const char *info = json_peek_string(reset, "@Redfish.ActionInfo");

	s->reset_target = redfish_link_is_valid(target) ? g_strdup(target) : NULL;
	s->action_info = redfish_link_is_valid(info) ? g_strdup(info) : NULL;
	s->resets = read_allowed(reset, "ResetType@Redfish.AllowableValues", reset_type_text,
				 RESET_TYPE_COUNT);
}

static unsigned read_quirks(const json_t *system)
{
	const char *manufacturer = json_peek_string(system, "Manufacturer");
	g_autofree char *lower = g_ascii_strdown(manufacturer ? manufacturer : "", -1);
	unsigned quirks = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(quirk_table); i++)
		if (strstr(lower, quirk_table[i].manufacturer))
			quirks |= quirk_table[i].quirks;
	return quirks;
}

static enum power_state read_power(const json_t *system)
{
	const char *text = json_peek_string(system, "PowerState");

	for (unsigned i = 0; text && i < G_N_ELEMENTS(power_table); i++)
		if (strcmp(power_table[i].text, text) == 0)
			return power_table[i].power;
	return POWER_UNKNOWN;
}

bool redfish_parse_system(const char *text, size_t length, struct redfish_system *ret,
			  GError **error)
{
	g_autoptr(json_t) system = redfish_parse_resource(text, length, "system", error);

	if (!system)
		return false;
	/* null is allowed by the schema; an answer without the key is some other resource. */
	if (!json_object_get(system, "PowerState"))
		return inox_error_set(error, INOX_ERROR_PEER, "system: there is no PowerState");
	const char *etag = json_peek_string(system, "@odata.etag");

	const json_t *links = json_peek_object(system, "Links");

	*ret = (struct redfish_system){
		.media = dup_link(json_peek_object(system, "VirtualMedia")),
		.manager = dup_link(json_array_get(json_peek_array(links, "ManagedBy"), 0)),
		.power = read_power(system),
		.quirks = read_quirks(system),
		.etag = redfish_etag_is_valid(etag) ? g_strdup(etag) : NULL,
	};
	read_boot(json_peek_object(system, "Boot"), ret);
	read_reset(system, ret);
	return true;
}

bool redfish_parse_media_link(const char *text, size_t length, char **ret, GError **error)
{
	g_autoptr(json_t) manager = redfish_parse_resource(text, length, "manager", error);

	if (!manager)
		return false;
	*ret = dup_link(json_peek_object(manager, "VirtualMedia"));
	return true;
}

bool redfish_parse_action_info(const char *text, size_t length, struct allowed *ret, GError **error)
{
	g_autoptr(json_t) info = redfish_parse_resource(text, length, "action info", error);
	json_t *parameter;
	size_t i;

	if (!info)
		return false;
	json_array_foreach(json_peek_array(info, "Parameters"), i, parameter) {
		const char *name = json_peek_string(parameter, "Name");

		if (!name || strcmp(name, "ResetType") != 0)
			continue;
		*ret = read_allowed(parameter, "AllowableValues", reset_type_text,
				    RESET_TYPE_COUNT);
		return true;
	}
	return inox_error_set(error, INOX_ERROR_PEER,
			      "action info: there is no parameter ResetType");
}

static void read_message(const json_t *message, GString *text, bool *busy)
{
	const char *sentence = json_peek_string(message, "Message");
	const char *id = json_peek_string(message, "MessageId");

	for (unsigned i = 0; id && i < G_N_ELEMENTS(busy_messages); i++)
		*busy |= strstr(id, busy_messages[i]) != NULL;
	if (sentence && *sentence && text->len < REFUSAL_BYTES)
		g_string_append_printf(text, "%s%s", text->len ? " " : "", sentence);
}

void redfish_parse_refusal(const char *text, size_t length, struct redfish_refusal *ret)
{
	g_autoptr(json_t) body =
		json_parse_limited(text, length, LIMIT_BMC_REPLY, "the answer", NULL);
	const json_t *error = json_peek_object(body, "error");
	json_t *extended = json_object_get(error, "@Message.ExtendedInfo"), *message;
	g_autoptr(GString) found = g_string_new(NULL);
	size_t i;

	*ret = (struct redfish_refusal){0};
	if (json_is_object(extended))
		read_message(extended, found, &ret->busy);
	json_array_foreach(extended, i, message) {
		if (i == REFUSAL_ENTRIES)
			break;
		read_message(message, found, &ret->busy);
	}
	if (found->len == 0 && json_peek_string(error, "message"))
		g_string_assign(found, json_peek_string(error, "message"));
	if (found->len > 0)
		ret->text = log_clean_text(found->str, found->len, REFUSAL_BYTES);
}

/* What leads where, first choice first.  A machine that is off is not restarted but switched on. */
static const struct {
	enum reset_type when_off[2], when_on[2];
} reset_table[] = {
	[TARGET_NONE] = {{RESET_NOTHING, RESET_NOTHING}, {RESET_NOTHING, RESET_NOTHING}},
	[TARGET_POWER_ON] = {{RESET_ON, RESET_FORCE_ON}, {RESET_NOTHING, RESET_NOTHING}},
	[TARGET_POWER_OFF] = {{RESET_NOTHING, RESET_NOTHING}, {RESET_FORCE_OFF, RESET_FORCE_OFF}},
	[TARGET_REBOOT] = {{RESET_ON, RESET_FORCE_ON}, {RESET_FORCE_RESTART, RESET_POWER_CYCLE}},
	[TARGET_SOFT_POWER_OFF] = {{RESET_NOTHING, RESET_NOTHING},
				   {RESET_GRACEFUL_SHUTDOWN, RESET_GRACEFUL_SHUTDOWN}},
	[TARGET_SOFT_REBOOT] = {{RESET_ON, RESET_FORCE_ON},
				{RESET_GRACEFUL_RESTART, RESET_GRACEFUL_RESTART}},
};

static bool is_allowed(const struct allowed *a, unsigned value)
{
	return !a->known || (a->mask & 1u << value) != 0;
}

bool redfish_choose_reset(const struct redfish_system *system, enum power_target target,
			  enum reset_type *ret_type, GError **error)
{
	/* When the power cannot be read, the request itself tells: it is sent. */
	bool off = system->power == POWER_OFF ||
		   (system->power == POWER_UNKNOWN && target == TARGET_POWER_ON);

	if ((unsigned)target >= G_N_ELEMENTS(reset_table))
		return inox_error_set(error, INOX_ERROR_INVALID, "%u is no power target",
				      (unsigned)target);
	const enum reset_type *choice =
		off ? reset_table[target].when_off : reset_table[target].when_on;

	if (choice[0] == RESET_NOTHING) {
		*ret_type = RESET_NOTHING;
		return true;
	}
	if (!system->reset_target)
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
				      "the system offers no reset action");
	for (unsigned i = 0; i < 2; i++)
		if (is_allowed(&system->resets, choice[i])) {
			*ret_type = choice[i];
			return true;
		}
	return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
			      "the BMC does not offer reset type %s, only: %s",
			      reset_type_text[choice[0]], system->resets.text);
}

static const enum override_target device_target[] = {
	[BOOT_DEVICE_NONE] = OVERRIDE_NONE,
	[BOOT_DEVICE_PXE] = OVERRIDE_PXE,
	[BOOT_DEVICE_DISK] = OVERRIDE_HDD,
	[BOOT_DEVICE_CDROM] = OVERRIDE_CD,
};

json_t *redfish_make_override(const struct redfish_system *system, enum boot_device device,
			      bool persistent, enum boot_mode mode, GError **error)
{
	if ((unsigned)device >= G_N_ELEMENTS(device_target)) {
		inox_error_set(error, INOX_ERROR_INVALID, "%u is no boot device", (unsigned)device);
		return NULL;
	}
	enum override_target target = device_target[device];
	enum override_enabled enabled = target == OVERRIDE_NONE ? OVERRIDE_DISABLED
					: persistent            ? OVERRIDE_CONTINUOUS
								: OVERRIDE_ONCE;
	enum boot_mode wanted = mode == BOOT_MODE_UNKNOWN ? system->mode : mode;
	bool usb_cd = system->targets.known && system->targets.mask & 1u << OVERRIDE_USB_CD;
	bool always_mode = system->quirks & QUIRK_ALWAYS_MODE && wanted != BOOT_MODE_UNKNOWN;
	enum override_mode value = wanted == BOOT_MODE_UEFI ? OVERRIDE_UEFI : OVERRIDE_LEGACY;

	if (target == OVERRIDE_CD && usb_cd &&
	    (system->quirks & QUIRK_USB_CD || !is_allowed(&system->targets, OVERRIDE_CD)))
		target = OVERRIDE_USB_CD;
	/* None ends an override; a BMC that does not list it takes Disabled alone. */
	if (target != OVERRIDE_NONE && !is_allowed(&system->targets, target)) {
		inox_error_set(error, INOX_ERROR_UNSUPPORTED,
			       "the BMC does not offer boot target %s, only: %s",
			       target_text[target], system->targets.text);
		return NULL;
	}
	if (enabled == OVERRIDE_CONTINUOUS && !is_allowed(&system->enableds, enabled))
		enabled = OVERRIDE_ONCE;
	g_autoptr(json_t) boot = json_object();

	if (is_allowed(&system->targets, target))
		json_object_set_new(boot, "BootSourceOverrideTarget",
				    json_string(target_text[target]));
	if (system->enabled != (int)enabled || system->quirks & QUIRK_ALWAYS_ENABLED)
		json_object_set_new(boot, "BootSourceOverrideEnabled",
				    json_string(enabled_text[enabled]));
	if (always_mode ||
	    (system->has_mode && wanted != system->mode && is_allowed(&system->modes, value)))
		json_object_set_new(boot, "BootSourceOverrideMode", json_string(mode_text[value]));
	return json_pack("{s:o}", "Boot", g_steal_pointer(&boot));
}

void redfish_root_clear(struct redfish_root *r)
{
	g_free(r->systems);
	g_free(r->sessions);
	*r = (struct redfish_root){0};
}

void redfish_collection_clear(struct redfish_collection *c)
{
	g_free(c->first);
	g_strfreev(c->members);
	*c = (struct redfish_collection){0};
}

void redfish_allowed_clear(struct allowed *a)
{
	g_free(a->text);
	*a = (struct allowed){0};
}

void redfish_system_clear(struct redfish_system *s)
{
	redfish_allowed_clear(&s->targets);
	redfish_allowed_clear(&s->enableds);
	redfish_allowed_clear(&s->modes);
	redfish_allowed_clear(&s->resets);
	g_free(s->reset_target);
	g_free(s->action_info);
	g_free(s->media);
	g_free(s->manager);
	g_free(s->etag);
	*s = (struct redfish_system){0};
}

void redfish_refusal_clear(struct redfish_refusal *r)
{
	g_free(r->text);
	*r = (struct redfish_refusal){0};
}
