/* plain.h: texts that may go into boot scripts, loader configurations and file names as they are. */
#pragma once

#include <stdbool.h>

/* True for an http:// or https:// URL whose characters mean nothing to iPXE. */
bool plain_is_url(const char *text);
/* True for a relative path of plain characters, without empty, "." or ".." elements. */
bool plain_is_path(const char *text);
