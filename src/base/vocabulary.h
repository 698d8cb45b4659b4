/* vocabulary.h: the enumerations that rows, messages and several programs share, each with its text
 * declared once.  X_text(value) gives the text, X_parse(text) the value or -1. */
#pragma once

/* name, C constant, text, in order from 0 */
#define POWER_STATE_LIST(X)         \
	X(POWER_UNKNOWN, "unknown") \
	X(POWER_ON, "power on")     \
	X(POWER_OFF, "power off")   \
	X(POWER_ERROR, "error")

#define POWER_TARGET_LIST(X)                       \
	X(TARGET_NONE, "none")                     \
	X(TARGET_POWER_ON, "power on")             \
	X(TARGET_POWER_OFF, "power off")           \
	X(TARGET_REBOOT, "rebooting")              \
	X(TARGET_SOFT_POWER_OFF, "soft power off") \
	X(TARGET_SOFT_REBOOT, "soft rebooting")

#define BOOT_DEVICE_LIST(X)         \
	X(BOOT_DEVICE_NONE, "none") \
	X(BOOT_DEVICE_PXE, "pxe")   \
	X(BOOT_DEVICE_DISK, "disk") \
	X(BOOT_DEVICE_CDROM, "cdrom")

#define BOOT_MODE_LIST(X)               \
	X(BOOT_MODE_UNKNOWN, "unknown") \
	X(BOOT_MODE_BIOS, "bios")       \
	X(BOOT_MODE_UEFI, "uefi")

#define BMC_OPERATION_LIST(X)               \
	X(BMC_GET_POWER, "get power")       \
	X(BMC_SET_POWER, "set power")       \
	X(BMC_SET_BOOT, "set boot device")  \
	X(BMC_INSERT_MEDIA, "insert media") \
	X(BMC_EJECT_MEDIA, "eject media")

/* driver_info.redfish_auth_type */
#define BMC_AUTH_LIST(X)               \
	X(BMC_AUTH_AUTO, "auto")       \
	X(BMC_AUTH_SESSION, "session") \
	X(BMC_AUTH_BASIC, "basic")

#define AGENT_TRANSPORT_LIST(X)       \
	X(TRANSPORT_PSK, "psk")       \
	X(TRANSPORT_PINNED, "pinned") \
	X(TRANSPORT_HTTP, "http")

#define WATCH_PHASE_LIST(X)                     \
	X(WATCH_FIRST_CONTACT, "first contact") \
	X(WATCH_WORKING, "working")             \
	X(WATCH_IDLE, "idle")

/* How far a boot has come, as seen from outside; each includes the ones before it. */
#define MILESTONE_LIST(X)                         \
	X(MILESTONE_NONE, "nothing seen yet")     \
	X(MILESTONE_POWER, "power on")            \
	X(MILESTONE_ADDRESS, "address answers")   \
	X(MILESTONE_PORT, "agent port open")      \
	X(MILESTONE_TLS, "secure channel")        \
	X(MILESTONE_TOKEN, "token accepted")      \
	X(MILESTONE_IDENTITY, "identity checked") \
	X(MILESTONE_COMMAND, "command running")

#define COMMAND_STATUS_LIST(X)            \
	X(COMMAND_UNKNOWN, "UNKNOWN")     \
	X(COMMAND_RUNNING, "RUNNING")     \
	X(COMMAND_SUCCEEDED, "SUCCEEDED") \
	X(COMMAND_FAILED, "FAILED")       \
	X(COMMAND_VERSION_MISMATCH, "CLEAN_VERSION_MISMATCH")

#define VOCABULARY(V)                            \
	V(power_state, POWER_STATE_LIST)         \
	V(power_target, POWER_TARGET_LIST)       \
	V(boot_device, BOOT_DEVICE_LIST)         \
	V(boot_mode, BOOT_MODE_LIST)             \
	V(bmc_operation, BMC_OPERATION_LIST)     \
	V(bmc_auth, BMC_AUTH_LIST)               \
	V(agent_transport, AGENT_TRANSPORT_LIST) \
	V(watch_phase, WATCH_PHASE_LIST)         \
	V(milestone, MILESTONE_LIST)             \
	V(command_status, COMMAND_STATUS_LIST)

#define VOCABULARY_CONSTANT(constant, text) constant,
#define VOCABULARY_DECLARE(name, LIST)                                               \
	enum name { LIST(VOCABULARY_CONSTANT) };                                     \
	const char *name##_text(unsigned value); /* "?" for a number that is none */ \
	int name##_parse(const char *text);      /* -1 for a text that is none */
VOCABULARY(VOCABULARY_DECLARE)
#undef VOCABULARY_CONSTANT
#undef VOCABULARY_DECLARE
