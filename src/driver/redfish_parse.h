/* redfish_parse.h: Redfish resources from a BMC as typed values, and what to ask of a BMC in a given
 * state.  Everything here is a pure function: no I/O, no clock.
 *
 * Sources: DMTF DSP0266 (protocol), schemas ServiceRoot, ComputerSystem, ActionInfo.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "vocabulary.h"

/* ResetType values that a provisioning service has a use for; constant, text on the wire. */
#define RESET_TYPE_LIST(X)                             \
	X(RESET_ON, "On")                              \
	X(RESET_FORCE_ON, "ForceOn")                   \
	X(RESET_FORCE_OFF, "ForceOff")                 \
	X(RESET_GRACEFUL_SHUTDOWN, "GracefulShutdown") \
	X(RESET_GRACEFUL_RESTART, "GracefulRestart")   \
	X(RESET_FORCE_RESTART, "ForceRestart")         \
	X(RESET_POWER_CYCLE, "PowerCycle")

enum reset_type {
#define RESET_CONSTANT(constant, text) constant,
	RESET_TYPE_LIST(RESET_CONSTANT)
#undef RESET_CONSTANT
		RESET_TYPE_COUNT,
	RESET_NOTHING = RESET_TYPE_COUNT, /* the wanted state is reached */
};

extern const char *const reset_type_text[RESET_TYPE_COUNT];

/* BootSourceOverrideTarget and ...Enabled values in use. */
enum override_target {
	OVERRIDE_NONE,
	OVERRIDE_PXE,
	OVERRIDE_HDD,
	OVERRIDE_CD,
	OVERRIDE_USB_CD, /* where some BMCs have their virtual drive */
	OVERRIDE_TARGET_COUNT
};
enum override_enabled {
	OVERRIDE_DISABLED,
	OVERRIDE_ONCE,
	OVERRIDE_CONTINUOUS,
	OVERRIDE_ENABLED_COUNT
};
enum override_mode { OVERRIDE_LEGACY, OVERRIDE_UEFI, OVERRIDE_MODE_COUNT };

/* A list of allowable values: `known` is false when the BMC does not give one; then any may do. */
struct allowed {
	bool known;
	unsigned mask; /* 1 << enum value */
	char *text;    /* the list as given, for sentences; NULL if unknown */
};

/* How a BMC differs from the specification. */
enum quirk {
	QUIRK_ALWAYS_ENABLED = 1 << 0, /* forgets the override unless Enabled is sent each time */
	QUIRK_ALWAYS_MODE = 1 << 1,    /* refuses an override without Mode */
	QUIRK_USB_CD = 1 << 2,         /* UsbCd is the virtual drive, Cd another one */
};

#define REDFISH_MEMBERS_MAX 16

struct redfish_root {
	char *systems;  /* link, NULL if there is none */
	char *sessions; /* link for POST, NULL if there is none */
};

struct redfish_collection {
	unsigned count; /* as the BMC counts */
	char *first;    /* link of the first member, NULL if there is none */
	char **members; /* the usable links of the first REDFISH_MEMBERS_MAX */
};

struct redfish_system {
	enum power_state power;
	enum boot_mode mode; /* BootSourceOverrideMode; UNKNOWN if there is none */
	bool has_mode;
	int enabled; /* enum override_enabled, -1 if it is none of them */
	struct allowed targets, enableds, modes, resets;
	char *reset_target; /* link for POST, NULL if there is no reset action */
	char *action_info;  /* link with the allowable values, NULL if there is none */
	char *media;        /* link of the virtual media, NULL if there is none */
	char *manager;      /* link of the first manager, NULL if there is none */
	char *etag;         /* @odata.etag, NULL if there is none */
	unsigned quirks;
};

/* What a BMC says about a request that it refused. */
struct redfish_refusal {
	char *text; /* cleaned and cut; NULL if it says nothing that can be read */
	bool busy;  /* by its message registry the same request can work later */
};

/* The parsers fill *ret on success only; the caller clears it.  Errors: PEER for what is no such
 * resource, LIMIT for what is too large or too deep. */
bool redfish_parse_root(const char *text, size_t length, struct redfish_root *ret,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool redfish_parse_collection(const char *text, size_t length, struct redfish_collection *ret,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool redfish_parse_system(const char *text, size_t length, struct redfish_system *ret,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Link of a manager's virtual media; *ret NULL if it has none. */
bool redfish_parse_media_link(const char *text, size_t length, char **ret,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Any resource: an object, within the limits; a new reference.  `what` is for the error's sentence. */
json_t *redfish_parse_resource(const char *text, size_t length, const char *what, GError **error);
/* AllowableValues of the parameter ResetType. */
bool redfish_parse_action_info(const char *text, size_t length, struct allowed *ret,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;
void redfish_parse_refusal(const char *text, size_t length, struct redfish_refusal *ret);

void redfish_root_clear(struct redfish_root *r);
void redfish_collection_clear(struct redfish_collection *c);
void redfish_system_clear(struct redfish_system *s);
void redfish_allowed_clear(struct allowed *a);
void redfish_refusal_clear(struct redfish_refusal *r);

/* A link of the same BMC: a path that starts with one '/', printable, without query, fragment, and
 * "..".  Anything else is not followed. */
bool redfish_link_is_valid(const char *link);
/* An ETag that may go into a header: visible ASCII only. */
bool redfish_etag_is_valid(const char *etag);

/* What to send so that `system` gets to `target`; RESET_NOTHING if it is there.  UNSUPPORTED, with the
 * values that are allowed, if the BMC offers nothing that would do. */
bool redfish_choose_reset(const struct redfish_system *system, enum power_target target,
			  enum reset_type *ret_type, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Body of the PATCH that sets the boot override; a new reference.  UNSUPPORTED as above. */
json_t *redfish_make_override(const struct redfish_system *system, enum boot_device device,
			      bool persistent, enum boot_mode mode, GError **error);

typedef struct redfish_root redfish_root;
typedef struct redfish_collection redfish_collection;
typedef struct redfish_system redfish_system;
typedef struct redfish_refusal redfish_refusal;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(redfish_root, redfish_root_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(redfish_collection, redfish_collection_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(redfish_system, redfish_system_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(redfish_refusal, redfish_refusal_clear)
