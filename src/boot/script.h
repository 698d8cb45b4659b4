/* script.h: the iPXE script of one boot, from a fixed template and checked values. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "identity.h"
#include "secret.h"
#include "vocabulary.h"

/* What the kernel reads of its command line (COMMAND_LINE_SIZE on x86-64), with the ending NUL. */
#define SCRIPT_ARGUMENTS_MAX 2048

struct script_site {
	const char
		*http_url;  /* the boot host's root as nodes reach it, without a slash at its end */
	const char *kernel; /* relative to it, or a URL */
	const char *ramdisk;
	const char *iso; /* relative to it */
	/* Of virtual media: addresses are written into the ISO with this prefix length; 0: DHCP. */
	unsigned prefix;
	const char *gateway; /* "": none */
};

struct script_boot {
	const struct uuid *node;
	uint64_t epoch;
	enum agent_transport transport;
	const char *arguments;      /* JSON object: name to text; "" as text gives the name alone */
	const char *api_url;        /* active mode only, else "" */
	const char *path;           /* of the token's file; "" if this boot has none */
	const struct secret *token; /* as a kernel argument; NULL: not there */
	bool by_contact;            /* the agent waits for its token */
};

/* The kernel arguments of a boot but for BOOTIF, blank separated, checked: names are [a-z0-9._-]+ and
 * not one that the template sets itself, values [A-Za-z0-9._:,/=+@%~^[]-]*, so that neither iPXE (${},
 * quotes, blanks) nor the kernel (blanks, quotes) can read anything else into them.  The result may hold
 * the token: secret_wipe_text() frees it.  Errors: INVALID names the argument; LIMIT if the kernel would cut the line. */
char *script_arguments(const struct script_boot *boot, GError **error);

/* The script for one interface of the node.  `arguments` as made by script_arguments(). */
char *script_print(const struct script_site *site, const struct script_boot *boot,
		   const char *arguments, struct mac interface);
/* The script that leads to the one with the token in it, which lies at once/<path>/<mac>.ipxe. */
char *script_print_chain(const struct script_site *site, const char *path, struct mac interface);

/* True for the path element of one boot: 22 to 64 of [A-Za-z0-9_-], which has room for 128 bits. */
bool script_secret_path_is_valid(const char *path);
