/* answer.h: from GError to status and body.  The only place where a status above 399 is named. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define API_ERROR (api_error_quark())

/* What the wire tells apart beyond enum inox_error. */
enum api_error {
	API_ERROR_NOT_ACCEPTABLE, /* the microversion does not have what the request names */
	API_ERROR_NOT_OFFERED,    /* Ironic has it, this server does not */
	API_ERROR_VERSION,        /* the microversion itself */
	API_ERROR_ROUTE,          /* no such path; the sentence may be empty */
	API_ERROR_METHOD,         /* no such method on this path; the sentence may be empty */
	API_ERROR_IDENT,          /* neither UUID nor name in the path */
	API_ERROR_BODY_SIZE,
	API_ERROR_BODY_DEPTH,
	API_ERROR_COUNT
};

GQuark api_error_quark(void);
/* Sets *error and returns false. */
bool api_error_set(GError **error, enum api_error code, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
/* The usual sentence for something newer than the request's microversion; returns false. */
bool api_error_set_too_old(GError **error);

struct answer {
	int status;
	const char *reason;
	char *body; /* owned by the caller */
};

/* The body is double encoded: {"error_message": "<JSON text>"}, as Ironic's clients expect. */
struct answer answer_for_error(const GError *error);
