/* errors.h: the one error domain.  A code is for programs, the sentence in the GError for people. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define INOX_ERROR (inox_error_quark())

enum inox_error {
	INOX_ERROR_INVALID,   /* the request or the input is wrong: repeating it does not help */
	INOX_ERROR_NOT_FOUND, /* no such object */
	INOX_ERROR_CONFLICT,  /* clashes with what is stored */
	INOX_ERROR_BUSY,      /* locked or in use: try again later */
	INOX_ERROR_DENIED,    /* not allowed, whoever asks */
	INOX_ERROR_IO, /* the operating system or a disk refused; the errno is in the sentence */
	INOX_ERROR_TIMEOUT,     /* a deadline passed */
	INOX_ERROR_PEER,        /* the other side broke its protocol */
	INOX_ERROR_LIMIT,       /* over one of the limits in limit.h */
	INOX_ERROR_UNAVAILABLE, /* the other side cannot be reached or does not serve this now */
	INOX_ERROR_UNSUPPORTED, /* a known request that this program does not do */
};

GQuark inox_error_quark(void);

/* Exit status of a program that ends with this error: 2 for INVALID, 1 for every other. */
int inox_error_exit_status(const GError *error);

/* Sets *error to "<what>: <strerror(saved_errno)>" with code IO (NOT_FOUND for ENOENT, DENIED for
 * EACCES and EPERM) and returns false, so that a caller can write `return inox_error_set_errno(...)`. */
bool inox_error_set_errno(GError **error, int saved_errno, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

/* Sets *error and returns false. */
bool inox_error_set(GError **error, enum inox_error code, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

#ifdef __clang_analyzer__
/* The analyzer cannot see into another file; without the result it follows paths that do not exist. */
#	define inox_error_set(...)       (inox_error_set(__VA_ARGS__), false)
#	define inox_error_set_errno(...) (inox_error_set_errno(__VA_ARGS__), false)
#endif
