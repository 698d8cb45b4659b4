/* answer.c: what an honest agent answers: the part of inox-agent's protocol that the dialer uses
 * (doc/agent-protocol.md). */
#include <stdio.h>
#include <string.h>

#include "misbehave.h"

#define COMMANDS   "/v1/commands/"
#define NAME_MOST  64
#define BODY_MOST  (LINK_OUT - 256)
#define SALT_START 32

struct request {
	bool post, wait, has_token, token_fits;
	char *path;
	const char *body;
};

static const char *status_text(int status)
{
	switch (status) {
	case 200: return "OK";
	case 401: return "UNAUTHORIZED";
	case 404: return "NOT FOUND";
	case 409: return "CONFLICT";
	default: return "BAD REQUEST";
	}
}

void answer_put(struct link *l, int status, const char *body)
{
	int n = snprintf(l->out, sizeof(l->out),
			 "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
			 "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
			 status, status_text(status), strlen(body), body);

	g_assert(n > 0 && (size_t)n < sizeof(l->out));
	l->length = (size_t)n;
}

void answer_status_body(struct link *l, char *out, size_t size)
{
	/* Agents started within the hour before the fleet. */
	uint64_t age_ms = fleet_chance(l->server->fleet, l->agent, SALT_START) % 3600000;
	int64_t started_us = l->server->started.us - (int64_t)age_ms * 1000;

	snprintf(out, size,
		 "{\"started_at\": %.3f, \"version\": \"" FLEET_VERSION "\", "
		 "\"agent\": \"inox-agent\", \"capabilities\": [\"passive\", \"psk-v1\", "
		 "\"progress\"]}",
		 (double)started_us / 1e6);
}

void answer_count_look(struct link *l)
{
	struct server *s = l->server;

	board_look(s->board, s->tally, l->agent, l->agent < fleet_healthy(s->fleet),
		   loop_now(s->loop));
}

/* ---- the request */

static void read_query(struct link *l, struct request *rq, char *query)
{
	char own[FLEET_TOKEN_TEXT];

	while (query) {
		char *next = strchr(query, '&');

		if (next)
			*next++ = '\0';
		if (strcmp(query, "wait=true") == 0)
			rq->wait = true;
		if (g_str_has_prefix(query, "agent_token=")) {
			fleet_token(l->server->fleet, l->agent, own);
			rq->has_token = true;
			rq->token_fits = strcmp(query + strlen("agent_token="), own) == 0;
		}
		query = next;
	}
}

static bool read_request(struct link *l, struct request *rq)
{
	char *blank = strchr(l->in, ' ');
	char *end = blank ? strchr(blank + 1, ' ') : NULL;

	*rq = (struct request){.body = l->in + l->head};
	if (!end)
		return false;
	*end = '\0';
	rq->post = g_str_has_prefix(l->in, "POST ");
	rq->path = blank + 1;
	char *query = strchr(rq->path, '?');

	if (query)
		*query++ = '\0';
	read_query(l, rq, query);
	return true;
}

/* The name in {"name": "poll.get_hardware_info", ...}; the part behind the dot. */
static void read_name(const char *body, char out[static NAME_MOST + 1])
{
	const char *key = strstr(body, "\"name\"");
	const char *from = key ? strchr(key + 6, '"') : NULL;
	size_t length = from ? strcspn(from + 1, "\"\\") : 0;
	const char *dot = length ? memchr(from, '.', length + 1) : NULL;

	if (dot) {
		length -= (size_t)(dot - from);
		from = dot;
	}
	g_snprintf(out, NAME_MOST + 1, "%.*s", (int)MIN(length, NAME_MOST), from ? from + 1 : "");
}

/* ---- routes */

static void answer_fault(struct link *l, int status, const char *sentence)
{
	char body[256];

	g_snprintf(body, sizeof(body), "{\"faultcode\": \"Client\", \"faultstring\": \"%s\"}",
		   sentence);
	answer_put(l, status, body);
	link_send(l);
}

static void answer_status(struct link *l)
{
	char body[BODY_MOST];

	/* Inside a channel that was made with the token every answer is proof; else this one is none. */
	if (l->keyed)
		answer_count_look(l);
	answer_status_body(l, body, sizeof(body));
	answer_put(l, 200, body);
	link_send(l);
}

static void answer_commands(struct link *l, struct request *rq)
{
	char name[NAME_MOST + 1];
	const char *id = rq->path + strlen(COMMANDS);

	answer_count_look(l);
	if (rq->post) {
		read_name(rq->body, name);
		work_start(l, name, rq->wait);
	} else if (*id) {
		work_show(l, id, rq->wait);
	} else {
		work_list(l);
	}
}

void answer_request(struct link *l)
{
	struct request rq;

	l->server->tally->requests++;
	if (misbehave_on_request(l))
		return;
	if (!read_request(l, &rq)) {
		link_reset(l);
		return;
	}

	if (g_str_has_prefix(rq.path, MISBEHAVE_TRAP_PATH))
		l->server->tally->trapped++;
	if (rq.has_token && !rq.token_fits)
		l->server->tally->refused_tokens++;
	if (strcmp(rq.path, "/v1/status") == 0 && !rq.post)
		answer_status(l);
	else if (!g_str_has_prefix(rq.path, COMMANDS))
		answer_fault(l, 404, "404 Not Found");
	else if (!l->keyed && !rq.token_fits)
		answer_fault(l, 401, "401 Unauthorized: Token invalid.");
	else
		answer_commands(l, &rq);
}
