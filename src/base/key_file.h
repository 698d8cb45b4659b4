/* key_file.h: files that hold a key of 32 random bytes, and that nobody but their owner may read. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define KEY_FILE_BYTES 32

/* Fills `bytes`, which the caller wipes.  Errors: IO, DENIED, NOT_FOUND; INVALID when it is not a key or can be read by
 * others.  They name the file. */
bool key_file_read(const char *path, uint8_t bytes[static KEY_FILE_BYTES],
		   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same from an open file, which is not closed; `name` stands for it in sentences. */
bool key_file_read_fd(int fd, const char *name, uint8_t bytes[static KEY_FILE_BYTES],
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Writes it whole (mode 0600), unless there is one already, which stays. */
bool key_file_write_new(const char *path, const uint8_t bytes[static KEY_FILE_BYTES],
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
