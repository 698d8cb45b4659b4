/* answer.h: answers of the Redfish service: resources, and errors from the Base message registry. */
#pragma once

#include <jansson.h>

#include "server.h"

/* Constant, status, MessageId in the registry "Base", sentence: %1 and %2 stand for arguments. */
#define ANSWER_ERROR_LIST(X)                                                                     \
	X(ANSWER_MALFORMED, 400, "MalformedJSON",                                                \
	  "The request body is not a JSON object that this service can read.")                   \
	X(ANSWER_UNKNOWN_PROPERTY, 400, "PropertyUnknown",                                       \
	  "The property %1 is not in the list of properties that can be changed.")               \
	X(ANSWER_WRONG_TYPE, 400, "PropertyValueTypeError",                                      \
	  "The value of the property %1 is of the wrong type.")                                  \
	X(ANSWER_NOT_IN_LIST, 400, "PropertyValueNotInList",                                     \
	  "The value %1 for the property %2 is not in the list of acceptable values.")           \
	X(ANSWER_MISSING, 400, "PropertyMissing",                                                \
	  "The property %1 has to be in the request and is not.")                                \
	X(ANSWER_NO_SESSION, 401, "NoValidSession", "There is no valid session: log in.")        \
	X(ANSWER_NOT_FOUND, 404, "ResourceMissingAtURI", "There is no resource at %1.")          \
	X(ANSWER_NOT_ALLOWED, 405, "OperationNotAllowed", "The resource does not do %1.")        \
	X(ANSWER_CONFLICT, 409, "OperationFailed", "It cannot be done in this state: %1.")       \
	X(ANSWER_CHANGED, 412, "PreconditionFailed", "The ETag is not the one of the resource.") \
	X(ANSWER_INTERNAL, 500, "InternalError", "The machine does not follow: %1.")             \
	X(ANSWER_TOO_MANY_SESSIONS, 503, "SessionLimitExceeded", "Too many sessions are open.")

enum answer_error {
#define ANSWER_CONSTANT(constant, status, id, text) constant,
	ANSWER_ERROR_LIST(ANSWER_CONSTANT)
#undef ANSWER_CONSTANT
};

/* All of these give the request up and write one log line: method, path, status. */
void answer_json(struct http_request *rq, int status, json_t *body); /* the body is taken */
void answer_empty(struct http_request *rq);                          /* 204 */
/* Arguments that the sentence does not use are NULL. */
void answer_error(struct http_request *rq, enum answer_error error, const char *first,
		  const char *second);
