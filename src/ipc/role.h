/* role.h: the processes of inoxd and what the words on their messages mean, and the programs that have a sandbox of
 * their own. */
#pragma once

enum role {
	ROLE_SUPERVISOR,
	ROLE_API,
	ROLE_CONDUCTOR,
	ROLE_DIALER,
	ROLE_BMC,
	ROLE_BOOT,
	ROLE_CONNECTOR,
	ROLE_COUNT,
	ROLE_MEDIA = ROLE_COUNT, /* inox-media, on the boot host */
	ROLE_PROGRAM_COUNT
};

extern const char *const role_text[ROLE_COUNT]; /* "supervisor", "api", ... */
