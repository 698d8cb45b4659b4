#include "role.h"

const char *const role_text[ROLE_COUNT] = {
	[ROLE_SUPERVISOR] = "supervisor", [ROLE_API] = "api", [ROLE_CONDUCTOR] = "conductor",
	[ROLE_DIALER] = "dialer",         [ROLE_BMC] = "bmc", [ROLE_BOOT] = "boot",
	[ROLE_CONNECTOR] = "connector",
};
