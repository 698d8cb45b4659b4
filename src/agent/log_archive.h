/* log_archive.h: texts as the members of a tar archive (POSIX.1-1988 ustar), compressed by gzip, as base64 in one
 * line: what log.collect_system_logs answers. */
#pragma once

#include <glib.h>

struct log_archive;

struct log_archive *log_archive_new(void);
/* Adds a regular file; a name is at most 99 bytes, a longer one is cut. */
void log_archive_add(struct log_archive *archive, const char *name, const char *text,
		     size_t length);
/* The caller frees it. */
char *log_archive_print(struct log_archive *archive);
void log_archive_free(struct log_archive *archive);

typedef struct log_archive log_archive;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(log_archive, log_archive_free)
