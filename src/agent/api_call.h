/* api_call.h: calls of the agent to the API that it was told of, the next of its addresses when one does not
 * answer.  Blocking: for the thread of the active mode. */
#pragma once

#include "agent_options.h"
#include "fetch_call.h"

struct api_caller;

/* Borrows the options.  `cancelled` is asked several times a second while a call waits. */
struct api_caller *api_caller_new(const struct active_options *options,
				  bool (*cancelled)(void *ctx), void *ctx);
void api_caller_free(struct api_caller *c);
/* One request: `path` with its query behind the base; `minor` of the version header, 0 for none; body NULL
 * for GET.  The address that answered is the first one of the next call.  Errors: those of
 * fetch_call(). */
bool api_caller_ask(struct api_caller *c, const char *path, unsigned minor, const char *body,
		    struct fetch_reply *ret_reply, GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct api_caller api_caller;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(api_caller, api_caller_free)
