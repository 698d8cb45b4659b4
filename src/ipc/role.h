/* role.h: the processes of inoxd and what the words on their messages mean. */
#pragma once

enum role {
	ROLE_SUPERVISOR,
	ROLE_API,
	ROLE_CONDUCTOR,
	ROLE_DIALER,
	ROLE_BMC,
	ROLE_BOOT,
	ROLE_CONNECTOR,
	ROLE_COUNT
};

extern const char *const role_text[ROLE_COUNT]; /* "supervisor", "api", ... */
