#include <string.h>

#include "player.h"

#define SALT_ACTOR 3

struct actor {
	struct player *player;
	uint32_t agent;
	unsigned line, round;
	bool begun;
	struct uuid command; /* that is followed, "" if none */
	struct loop_timer *timer;
};

static void on_timer(void *ctx);

static const struct script_part *part_of(const struct actor *a)
{
	return fleet_script(a->player->plan.fleet, a->agent);
}

/* Stays where it is for ever at an idle line without a time, and at the end. */
static void enter_line(struct actor *a)
{
	const struct script_part *p = part_of(a);

	if (a->line == p->line_count && p->repeat) {
		a->line = 0;
		a->round++;
	}
	if (a->line == p->line_count)
		return;
	const struct script_line *l = &p->lines[a->line];

	if (l->word == SCRIPT_RUN) {
		player_call(a->player, a->agent);
	} else if (l->to.us > 0) {
		uint64_t salt = (uint64_t)a->round << 16 | a->line << 8 | SALT_ACTOR;

		loop_timer_arm(a->timer,
			       script_time(l, fleet_chance(a->player->plan.fleet, a->agent, salt)));
	}
}

static void on_timer(void *ctx)
{
	struct actor *a = ctx;

	a->line++;
	enter_line(a);
}

void actor_on_alive(struct actor *a)
{
	if (a->begun)
		return;
	a->begun = true;
	enter_line(a);
}

/* A refused command is not tried again: the line is over. */
void actor_on_reply(struct actor *a, const struct message_agent_reply *m)
{
	if (m->result != 0) {
		a->player->calls_refused++;
		loop_timer_arm(a->timer, SPAN_SECONDS(1));
		return;
	}
	g_strlcpy(a->command.s, m->command, sizeof(a->command.s));
	player_watch(a->player, a->agent, WATCH_WORKING, a->command.s);
}

/* {"ended_us":N}, by the clock of this machine. */
static void note_latency(struct actor *a, const char *outcome)
{
	const char *number = strstr(outcome, "\"ended_us\":");
	int64_t ended = number ? g_ascii_strtoll(number + 11, NULL, 10) : 0;
	int64_t now = wall_now().us;

	if (ended && now >= ended)
		histogram_add(&a->player->step_us, (uint64_t)(now - ended));
}

void actor_on_command(struct actor *a, const struct message_agent_command *m)
{
	if (strcmp(m->command, a->command.s) != 0 || m->status == COMMAND_RUNNING)
		return;
	a->command.s[0] = '\0';
	if (m->status == COMMAND_SUCCEEDED) {
		a->player->succeeded++;
		note_latency(a, m->outcome);
	} else {
		a->player->failed_commands++;
	}
	player_watch(a->player, a->agent, WATCH_IDLE, "");
	a->line++;
	enter_line(a);
}

struct actor *actor_new(struct player *p, uint32_t agent)
{
	struct actor *a = g_new0(struct actor, 1);

	a->player = p;
	a->agent = agent;
	a->timer = loop_timer_new(p->loop, on_timer, a);
	return a;
}

void actor_free(void *actor)
{
	struct actor *a = actor;

	loop_timer_free(a->timer);
	g_free(a);
}
