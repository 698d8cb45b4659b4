/* sandbox_part.h: what the files of the sandbox share.
 *
 * sandbox.c        privileges, limits, the order
 * sandbox_files.c  Landlock: files, TCP ports, signals
 * sandbox_calls.c  seccomp: the lists of system calls
 */
#pragma once

#include "sandbox.h"
#include "sanitized.h"

#define STRANGERS \
	((1u << ROLE_DIALER) | (1u << ROLE_BMC) | (1u << ROLE_CONNECTOR) | (1u << ROLE_MEDIA))

bool sandbox_restrict_files(const struct sandbox_options *o, bool *ret_landlock, GError **error);
bool sandbox_restrict_calls(const struct sandbox_options *o, GError **error);
