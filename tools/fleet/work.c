/* work.c: commands under way.  An agent has state only from its first command on; its last one is kept. */
#include <stdio.h>
#include <string.h>

#include "link.h"

#define NAME_MOST      64
#define JSON_MOST      1024
#define TOTAL_BYTES    (10ull << 30)
#define DEFAULT_RUN    SPAN_SECONDS(5)
#define SALT_RUN       64
#define SALT_ID        65
#define SALT_FAIL      66
#define PARTS_PER_UNIT 1000

struct work {
	struct work_table *table;
	uint32_t agent;
	struct uuid id;
	char name[NAME_MOST + 1];
	struct mono begun, ends;
	struct wall ended_at;
	bool ended, failed, failing;
	struct loop_timer *timer;
	GPtrArray *waiting; /* of struct link */
};

struct work_table {
	struct server *server;
	GHashTable *by_agent;
	uint32_t serial;
	bool ended_all;
};

/* ---- texts */

static const char *status_of(const struct work *w)
{
	return !w->ended ? "RUNNING" : w->failed ? "FAILED" : "SUCCEEDED";
}

static void print_progress(const struct work *w, char *out, size_t size)
{
	uint64_t now = loop_now(w->table->server->loop).us;
	uint64_t whole = MAX(w->ends.us - w->begun.us, 1);
	uint64_t parts = MIN(now - w->begun.us, whole) * PARTS_PER_UNIT / whole;

	g_snprintf(out, size,
		   ", \"progress\": {\"done\": %" G_GUINT64_FORMAT ", \"total\": %llu, \"phase\": "
		   "\"write\"}",
		   (guint64)(TOTAL_BYTES / PARTS_PER_UNIT * parts), TOTAL_BYTES);
}

/* When it ended, by the agent's clock, is its result: so that the reader knows how old the news is. */
static void print_work(const struct work *w, char *out, size_t size)
{
	char progress[128] = "", result[64] = "null";

	if (!w->ended)
		print_progress(w, progress, sizeof(progress));
	else if (!w->failed)
		g_snprintf(result, sizeof(result), "{\"ended_us\": %" G_GINT64_FORMAT "}",
			   (gint64)w->ended_at.us);
	g_snprintf(out, size,
		   "{\"id\": \"%s\", \"command_name\": \"%s\", \"command_status\": \"%s\", "
		   "\"command_error\": %s, \"command_result\": %s%s}",
		   w->id.s, w->name, status_of(w),
		   w->failed ? "{\"type\": \"CommandExecutionError\", \"code\": 500, \"message\": "
			       "\"Command execution failed\", \"details\": \"the script says so\"}"
			     : "null",
		   result, progress);
}

static void reply_work(struct link *l, const struct work *w)
{
	char body[JSON_MOST];

	print_work(w, body, sizeof(body));
	answer_put(l, 200, body);
	link_send(l);
}

static void reply_fault(struct link *l, int status, const char *sentence)
{
	char body[JSON_MOST];

	g_snprintf(body, sizeof(body), "{\"faultcode\": \"Client\", \"faultstring\": \"%s\"}",
		   sentence);
	answer_put(l, status, body);
	link_send(l);
}

/* ---- the end of a command */

static void on_end(void *ctx)
{
	struct work *w = ctx;

	w->ended = true;
	w->failed = w->failing;
	w->ended_at = wall_now();
	w->table->server->tally->ended++;
	while (w->waiting->len > 0) {
		struct link *l = g_ptr_array_steal_index(w->waiting, w->waiting->len - 1);

		l->waits_for = NULL;
		reply_work(l, w);
	}
}

void work_end_all(struct work_table *t)
{
	GHashTableIter iter;
	gpointer value;

	t->ended_all = true;
	g_hash_table_iter_init(&iter, t->by_agent);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct work *w = value;

		if (w->ended)
			continue;
		loop_timer_disarm(w->timer);
		on_end(w);
	}
}

static void wait_for_end(struct link *l, struct work *w)
{
	l->waits_for = w;
	w->table->server->tally->double_polls += w->waiting->len > 0;
	g_ptr_array_add(w->waiting, l);
	link_hold(l);
}

void work_forget(struct link *l)
{
	if (l->waits_for)
		g_ptr_array_remove(l->waits_for->waiting, l);
	l->waits_for = NULL;
}

/* ---- requests */

/* As in the agent: what takes long is started, everything else is answered when it is done. */
static bool is_started(const char *name)
{
	static const char *const names[] = {"execute_deploy_step", "execute_clean_step",
					    "prepare_image",       "cache_image",
					    "run_image",           NULL};

	return g_strv_contains(names, name);
}

static const struct script_line *run_line(const struct script_part *p)
{
	for (unsigned i = 0; i < p->line_count; i++)
		if (p->lines[i].word == SCRIPT_RUN)
			return &p->lines[i];
	return NULL;
}

static void begin(struct work_table *t, struct work *w, const char *name)
{
	struct server *s = t->server;
	const struct script_line *line = run_line(fleet_script(s->fleet, w->agent));
	uint64_t serial = (uint64_t)s->process << 24 | ++t->serial;
	uint64_t high = fleet_chance(s->fleet, w->agent, serial * 128 + SALT_ID);
	uint64_t low = fleet_chance(s->fleet, (uint32_t)high, serial * 128 + SALT_ID);
	struct span lasts = DEFAULT_RUN;

	g_snprintf(w->id.s, sizeof(w->id.s), "%08x-%04x-4%03x-8%03x-%012" G_GINT64_MODIFIER "x",
		   (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
		   (unsigned)(high & 0xfff), (unsigned)(low >> 48 & 0xfff),
		   (guint64)(low & 0xffffffffffffu));
	g_strlcpy(w->name, name, sizeof(w->name));
	if (line) {
		lasts = script_time(line,
				    fleet_chance(s->fleet, w->agent, serial * 128 + SALT_RUN));
		w->failing = fleet_chance(s->fleet, w->agent, serial * 128 + SALT_FAIL) % 10000 <
			     line->fail_share;
	}
	w->begun = loop_now(s->loop);
	w->ends = mono_add(w->begun, lasts);
	w->ended = w->failed = false;
	s->tally->commands++;
	if (is_started(name)) {
		loop_timer_arm(w->timer, lasts);
		return;
	}
	w->ended = true;
	w->ended_at = wall_now();
}

static struct work *add_work(struct work_table *t, uint32_t agent)
{
	struct work *w = g_new0(struct work, 1);

	w->table = t;
	w->agent = agent;
	w->ended = true;
	w->timer = loop_timer_new(t->server->loop, on_end, w);
	w->waiting = g_ptr_array_new();
	g_hash_table_insert(t->by_agent, GUINT_TO_POINTER(agent), w);
	return w;
}

/* As if it had been started just now, or had ended with all others. */
static struct work *adopt(struct work_table *t, uint32_t agent, const char *id)
{
	struct work *w = add_work(t, agent);

	begin(t, w, "execute_deploy_step");
	g_strlcpy(w->id.s, id, sizeof(w->id.s));
	if (t->ended_all) {
		loop_timer_disarm(w->timer);
		on_end(w);
	}
	return w;
}

void work_start(struct link *l, const char *name, bool wait)
{
	struct work_table *t = l->server->work;
	struct work *w = g_hash_table_lookup(t->by_agent, GUINT_TO_POINTER(l->agent));

	if (!w)
		w = add_work(t, l->agent);
	if (!w->ended) {
		reply_fault(l, 409, "Agent is busy: it is executing a command already.");
		return;
	}
	begin(t, w, name);
	if (wait && !w->ended)
		wait_for_end(l, w);
	else
		reply_work(l, w);
}

void work_show(struct link *l, const char *id, bool wait)
{
	struct work *w = g_hash_table_lookup(l->server->work->by_agent, GUINT_TO_POINTER(l->agent));

	if (!w && l->server->adopt && strlen(id) == UUID_TEXT - 1)
		w = adopt(l->server->work, l->agent, id);
	if (!w || strcmp(w->id.s, id) != 0)
		reply_fault(l, 404, "Command Result with this id not found.");
	else if (wait && !w->ended)
		wait_for_end(l, w);
	else
		reply_work(l, w);
}

void work_list(struct link *l)
{
	struct work *w = g_hash_table_lookup(l->server->work->by_agent, GUINT_TO_POINTER(l->agent));
	char one[JSON_MOST] = "", body[JSON_MOST + 32];

	if (w)
		print_work(w, one, sizeof(one));
	g_snprintf(body, sizeof(body), "{\"commands\": [%s]}", one);
	answer_put(l, 200, body);
	link_send(l);
}

/* ---- life */

static void work_free(void *ctx)
{
	struct work *w = ctx;

	loop_timer_free(w->timer);
	g_ptr_array_unref(w->waiting);
	g_free(w);
}

struct work_table *work_table_new(struct server *s)
{
	struct work_table *t = g_new0(struct work_table, 1);

	t->server = s;
	t->by_agent = g_hash_table_new_full(NULL, NULL, NULL, work_free);
	return t;
}

void work_table_free(struct work_table *t)
{
	if (!t)
		return;
	g_hash_table_unref(t->by_agent);
	g_free(t);
}
