/* dialer_fixture.h: what the tests of the dialer share: the dialer as a whole, in a process of its own and inside its
 * sandbox; the conductor's end of its channel; and agents that are scripts behind real HTTP.
 */
#pragma once

#include "channel.h"
#include "dialer_metrics.h"
#include "server.h"
#include "tls.h"
#include "vocabulary.h"

#define PATIENCE SPAN_SECONDS(20)
#define TOKEN    "abcdefghijabcdefghijabcdefghij&=%+_-0123456"
#define COMMAND  "1c8a331f-3625-476c-80de-d747479180b7"
#define STATUS   "{\"started_at\": 1795291598.5, \"version\": \"12.0.0\"}"
#define OWN      "{\"started_at\": 7.5, \"version\": \"0.1\", \"agent\": \"inox-agent\"}"
#define LIST     "{\"commands\": []}"

#define LOCAL    "[agent]\nallowed_networks = 127.0.0.0/8\n"
#define SMALL    LOCAL "dial_connections = 16\ndial_unreachable = 4\n"

struct scene {
	struct loop *l;
	pid_t dialer;
	struct channel *conductor;
	struct http_server *server;
	struct http_tls_server *tls;
	struct endpoint at;
	struct uuid node;
	bool late;
	char *pin;
	/* the agent */
	const char *status_body, *list_body;
	char *command_body;
	int status_code, list_code, command_code, post_code;
	const char *post_body;
	struct http_request *held; /* a long poll, or a command */
	bool hold_long_polls, hold_posts;
	bool waits; /* for its token */
	unsigned requests, statuses, lists, posts, long_polls, gone, bad_tokens;
	char *posted;
	/* what the conductor heard last */
	struct message_agent_alive alive;
	unsigned alive_count, gone_count, milestone_count, command_count, reply_count;
	unsigned last_status, last_milestone, last_result;
	bool last_unclear, last_busy;
	struct dialer_metrics figures;
	unsigned reports;
	char *last_reason, *last_outcome, *last_command;
};

#define WAIT_FOR(s, condition)                                                       \
	do {                                                                         \
		struct loop_timer *late_ = loop_timer_new((s)->l, scene_on_late, s); \
		loop_timer_arm(late_, PATIENCE);                                     \
		while (!(condition) && !(s)->late)                                   \
			loop_turn((s)->l, true);                                     \
		loop_timer_free(late_);                                              \
		g_assert_true(condition);                                            \
	} while (0)

void scene_on_late(void *ctx);

void scene_set_up(struct scene *s, const char *config_text);
void scene_tear_down(struct scene *s);

/* A dialer's process at the other end of fds[1], and what the conductor does with its messages. */
pid_t scene_start_dialer(int fds[static 2], const char *config_text);
void scene_on_message(void *ctx, struct message *m, int fd);
void scene_on_closed(void *ctx, const GError *error);

/* The agent: it answers at s->at from now on, by TLS if s->tls is set. */
void scene_serve(struct scene *s);
void scene_answer(struct http_request *rq, int code, const char *body);
bool scene_psk(void *ctx, const char *identity, uint8_t ret_key[static TLS_PSK_BYTES]);

/* A listener on a free address of loopback. */
struct endpoint scene_listen(int *ret_fd);

/* A command's result as an agent tells it. */
char *scene_result(const char *status, const char *outcome);

/* What the conductor says; scene_give() takes the message's content. */
void scene_give(struct scene *s, struct message *m);
struct message scene_watch_message(struct scene *s, enum watch_phase phase,
				   enum agent_transport transport, const char *command);
void scene_watch(struct scene *s, enum watch_phase phase, enum agent_transport transport,
		 const char *command);
void scene_call(struct scene *s, uint64_t epoch, const char *name);

/* The dialer's figures of now. */
const struct dialer_metrics *scene_figures(struct scene *s);
