/* api_text.h: what an Ironic API answers to an agent, read without any I/O. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "identity.h"
#include "secret.h"

#define API_MINOR_UNKNOWN 31 /* what an API is taken for that does not say */

/* X of the API's version 1.X from its root document; API_MINOR_UNKNOWN if it cannot be read. */
unsigned api_text_minor(const char *body, size_t length);

struct lookup_answer {
	struct uuid node;
	json_t *node_json;
	struct secret *token; /* NULL: none that can be used */
	bool token_masked;    /* it has been given to somebody already */
	unsigned heartbeat_timeout_s;
};

/* Reads the body of a look-up with status 200.  Errors: INVALID, LIMIT; no sentence holds a value. */
bool lookup_answer_parse(const char *body, size_t length, struct lookup_answer *ret_answer,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
void lookup_answer_clear(struct lookup_answer *a);

/* The sentence in the body of an error, cleaned; NULL if there is none.  The caller frees it. */
char *api_text_fault(const char *body, size_t length);

typedef struct lookup_answer lookup_answer;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(lookup_answer, lookup_answer_clear)
