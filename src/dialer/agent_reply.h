/* agent_reply.h: the answers of an agent, parsed: pure functions over bytes of a stranger.
 *
 * Errors are PEER or LIMIT with a sentence that names what was wrong.  Texts that people will see are
 * cleaned of control characters and cut.  Protocol: ironic-python-agent's API, /v1/status and
 * /v1/commands.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "identity.h"
#include "vocabulary.h"

#define AGENT_VERSION_MAX      64
#define AGENT_COMMAND_NAME_MAX 64
#define AGENT_REASON_MAX       4096

struct agent_status {
	char version[AGENT_VERSION_MAX + 1];
	uint64_t started_ms; /* the agent's own clock */
	bool own_agent;      /* inox-agent: understands long waits */
};

struct agent_result {
	struct uuid id;
	char name[AGENT_COMMAND_NAME_MAX + 1]; /* the part behind the dot */
	enum command_status status;
	char *reason;  /* of a failed one, else "" */
	char *outcome; /* compact JSON, "" if null */
	uint64_t done, total;
};

/* Body of GET /v1/status. */
bool agent_reply_status(const char *body, size_t length, struct agent_status *ret_status,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Body of an accepted POST /v1/commands/ and of GET /v1/commands/ID; at most `limit` bytes. */
bool agent_reply_result(const char *body, size_t length, size_t limit,
			struct agent_result *ret_result, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void agent_result_clear(struct agent_result *r);

/* Body of GET /v1/commands/, as a JSON array of {"id", "name", "status", "reason", "outcome"} with outcome
 * as in the answer, in its order.  The caller frees the text. */
char *agent_reply_list(const char *body, size_t length, size_t limit, GError **error);

/* The sentence of an answer that is not 200: "HTTP 409: Agent is busy: ..." *ret_busy is set when the
 * agent runs another command.  The caller frees the text. */
char *agent_reply_fault(int status, const char *body, size_t length, bool *ret_busy);

typedef struct agent_result agent_result;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(agent_result, agent_result_clear)
