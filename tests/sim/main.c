/* sim: plays worlds until one breaks, or all have come to rest.
 *
 *     sim --sequences N --seed S [--jobs J]   N worlds from seed S on
 *     sim --replay SEED                       one of them, told event by event
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "flow.h"
#include "seal.h"
#include "secret.h"
#include "sim.h"

/* A world that is left alone is at rest within this time. */
#define REST_MOST (4LL * 3600 * SECOND)
/* Then the power sync looks at every machine once more. */
#define SYNC_AND_MORE (130 * SECOND)
#define WISHES_MOST   40
#define EVENTS_MOST   400000
#define CONFIGS       8
/* Steps on the way from any state to an instance. */
#define WAY_MOST 6
/* It costs as much as the rest of a story. */
#define WORLDS_PER_DEPLOYMENT 3
#define PROGRESS_MS           10000

static struct config *configs[CONFIGS];

static void make_configs(void)
{
	for (unsigned i = 0; i < CONFIGS; i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *text = g_strdup_printf(
			"[agent]\nallowed_networks = 127.0.0.0/8\npoll_only = %s\n"
			"token_delivery = %s\n"
			"[service_catalog]\nendpoint_override = http://127.0.0.1:1/\n"
			"[boot]\nhttp_url = http://127.0.0.1:8080\n"
			"[redfish]\nallowed_networks = 127.0.0.0/8\n"
			"[conductor]\nhost = sim\nsync_power_state_interval = 120\n"
			"sweep_interval = 60\ndeploy_callback_timeout = 200\n"
			"clean_callback_timeout = 200\nrescue_callback_timeout = 200\n"
			"[deploy]\nfast_track = %s\nfast_track_timeout = 60\n",
			i & 1 ? "false" : "true", (i & 3) == 3 ? "lookup" : "boot",
			i & 4 ? "true" : "false");

		configs[i] = config_parse(text, strlen(text), "sim", &error);
		g_assert_no_error(error);
	}
}

/* ---- a world */

static enum provision_state first_state(void)
{
	static const enum provision_state states[] = {
		STATE_AVAILABLE, STATE_AVAILABLE, STATE_AVAILABLE,    STATE_MANAGEABLE,
		STATE_ACTIVE,    STATE_ENROLL,    STATE_DEPLOY_FAILED};

	return states[sim_below(G_N_ELEMENTS(states))];
}

static void add_node(unsigned index)
{
	struct node *n = node_new();
	struct port *p = port_new();
	struct machine *m = &sim->machines[index];
	g_autofree char *address = g_strdup_printf("127.0.1.%u", index + 1);

	m->flashes = sim_coin(300);
	sim_uuid(n->uuid.s);
	g_free(n->driver);
	n->driver = g_strdup("redfish");
	n->boot_interface = g_strdup(sim_coin(300) ? "redfish-virtual-media" : "ipxe");
	n->provision_state = (int)first_state();
	n->target_provision_state =
		(int)provision_state_target((enum provision_state)n->provision_state);
	g_autofree char *password = seal_text(NULL, n->uuid.s, PASSWORD);

	json_decref(n->driver_info);
	n->driver_info = json_pack("{s:s, s:s, s:s, s:s}", "redfish_address", "https://127.0.0.1",
				   "redfish_username", "u", "redfish_password", password,
				   "agent_address", address);
	json_decref(n->instance_info);
	n->instance_info = json_pack("{s:s, s:s}", "image_source", "http://127.0.0.1/i.raw",
				     "image_checksum", "00");
	n->automated_clean = (int)sim_below(3) - 1;
	/* Or too few of these stories would come to an agent that stays. */
	if (config_bool(sim->config, OPTION_deploy_fast_track) && sim_coin(500)) {
		n->provision_state = STATE_MANAGEABLE;
		n->target_provision_state = (int)provision_state_target(STATE_MANAGEABLE);
		n->automated_clean = 1;
	}
	n->power_state = g_strdup("power off");
	n->created_at.us = sim->now;
	sim_uuid(p->uuid.s);
	p->node_uuid = n->uuid;
	g_assert_true(mac_parse(m->mac, &p->address, NULL));
	if (n->provision_state == STATE_DEPLOY_FAILED)
		n->last_error = g_strdup("It was so before this story began.");
	rows_add(index, n, p);
	if (n->provision_state == STATE_ACTIVE) {
		m->disk = (struct disk){.whole = true};
		machine_set_power(m, true);
	}
}

static void begin(struct world *w, uint64_t seed, unsigned wishes, bool tracing)
{
	static const unsigned losses[] = {0, 0, 20, 100, 250};

	*w = (struct world){.seed = seed, .tracing = tracing};
	sim = w;
	w->chance = (seed + 1) * 0x9e3779b97f4a7c15ULL;
	for (unsigned i = 0; i < 8; i++)
		(void)sim_random();
	w->trace = g_string_new(NULL);
	clock_begin();
	w->config = configs[sim_below(CONFIGS)];
	w->loss = losses[sim_below(G_N_ELEMENTS(losses))];
	w->wishes_most = 1 + (unsigned)sim_below(WISHES_MOST);
	w->wishes_most = MIN(w->wishes_most, wishes);
	w->tokens = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	w->published = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < MACHINES_MOST; i++)
		machine_init(i);
	w->nodes = sim_coin(800) ? 1 : 1 + (unsigned)sim_below(NODES_MOST);
	for (unsigned i = 0; i < w->nodes; i++)
		add_node(i);
	plane_start(NULL);
	sim_after((int64_t)sim_below(SECOND), people_act, NULL, NULL);
}

static void end(struct world *w)
{
	plane_stop();
	clock_end();
	rows_end();
	for (unsigned i = 0; i < MACHINES_MOST; i++)
		machine_end(&w->machines[i]);
	g_hash_table_unref(w->tokens);
	g_ptr_array_unref(w->published);
	g_string_free(w->trace, TRUE);
	g_free(w->broken);
	sim = NULL;
}

static bool is_at_rest(const struct world *w)
{
	if (!w->quiet || !w->conductor || w->dead)
		return false;
	for (unsigned i = 0; i < w->nodes; i++)
		if (rows_peek(i) && !check_is_stable(rows_peek(i)))
			return false;
	return true;
}

static void after_event(struct world *w)
{
	if (!w->dead)
		return;
	sim_say("the conductor dies");
	plane_stop();
	sim_after(SECOND + (int64_t)sim_below(sim_coin(100) ? 900 * SECOND : 4 * SECOND),
		  plane_start, NULL, NULL);
}

/* From any state the next step on the way to an instance. */
static const char *const way_on[STATE_COUNT] = {
	[STATE_ENROLL] = "manage",          [STATE_MANAGEABLE] = "provide",
	[STATE_AVAILABLE] = "active",       [STATE_ACTIVE] = "rebuild",
	[STATE_DEPLOY_FAILED] = "active",   [STATE_CLEAN_FAILED] = "manage",
	[STATE_ERROR] = "deleted",          [STATE_RESCUE] = "unrescue",
	[STATE_RESCUE_FAILED] = "unrescue", [STATE_UNRESCUE_FAILED] = "unrescue",
};

#define IMAGE_PATCH                                                                 \
	"[{\"op\": \"add\", \"path\": \"/retired\", \"value\": false},"             \
	" {\"op\": \"add\", \"path\": \"/instance_info/image_source\", \"value\": " \
	"\"http://127.0.0.1/i.raw\"}, {\"op\": \"add\", \"path\": "                 \
	"\"/instance_info/image_checksum\", \"value\": \"00\"}]"

/* In a world that is good again an operator gets where he wants. */
static void ask_way_on(unsigned index)
{
	const char *verb = way_on[rows_peek(index)->provision_state];
	g_autofree char *none = api_maintenance(index, false);
	g_autofree char *unchanged = api_patch(index, IMAGE_PATCH);
	g_autofree char *refusal = verb ? api_provision(index, verb) : g_strdup("no way");

	sim_say("operator: node %u: %s", index, verb ? verb : "?");
	if (refusal)
		sim_broken("%s does not lead on from %s: %s", verb ? verb : "nothing",
			   provision_state_text((unsigned)rows_peek(index)->provision_state),
			   refusal);
}

static void tell_unrest(const struct world *w)
{
	for (unsigned i = 0; i < w->nodes; i++)
		if (rows_peek(i) && !check_is_stable(rows_peek(i))) {
			g_autofree char *why = node_why(rows_peek(i), (struct wall){w->now});

			sim_broken("node %u is not at rest: %s", i, why);
		}
}

static void run_to_rest(struct world *w, unsigned *ret_events)
{
	unsigned events = 0;

	while (!w->broken && !is_at_rest(w)) {
		int64_t limit = w->quiet ? w->quiet_since + REST_MOST : INT64_MAX;

		if (!sim_step(limit) || ++events > EVENTS_MOST) {
			tell_unrest(w);
			break;
		}
		after_event(w);
		if (w->quiet && w->crash_in)
			w->crash_in = 0;
	}
	*ret_events += events;
}

/* Whatever happened to a node, it can be deployed. */
static void deploy_again(struct world *w, unsigned *ret_events)
{
	bool deployed = false;

	machine_stop_agent(&w->machines[NODES_MOST]);
	for (unsigned i = 0; i < WAY_MOST && !deployed && !w->broken && rows_peek(0); i++) {
		w->quiet_since = w->now;
		ask_way_on(0);
		if (!w->broken)
			run_to_rest(w, ret_events);
		deployed = rows_peek(0)->provision_state == STATE_ACTIVE;
	}
	if (!deployed && !w->broken && rows_peek(0))
		sim_broken("the node cannot be deployed any more: %s",
			   rows_peek(0)->last_error ? rows_peek(0)->last_error : "no reason");
}

/* How long the world took to come to rest; *ret_events: how much happened. */
static int64_t play(struct world *w, unsigned *ret_events)
{
	run_to_rest(w, ret_events);
	int64_t rest = w->now - w->quiet_since;
	int64_t until = w->now + SYNC_AND_MORE;

	while (!w->broken && sim_step(until))
		++*ret_events;
	if (!w->broken)
		check_end();
	if (!w->broken && w->seed % WORLDS_PER_DEPLOYMENT == 0)
		deploy_again(w, ret_events);
	return rest;
}

/* ---- many worlds */

struct tally {
	uint64_t worlds, events;
	int64_t longest;
	uint64_t ends[STATE_COUNT];
	bool failed;
	uint64_t seed;
};

static bool is_broken(uint64_t seed, unsigned wishes, char **ret_trace)
{
	struct world w;
	unsigned events = 0;

	begin(&w, seed, wishes, ret_trace != NULL);
	play(&w, &events);
	bool broken = w.broken;

	if (ret_trace)
		*ret_trace = g_strdup_printf("%s%s", w.trace->str, w.broken ? w.broken : "");
	end(&w);
	return broken;
}

static void tell(uint64_t seed)
{
	unsigned wishes = 0;
	g_autofree char *trace = NULL;

	while (wishes < WISHES_MOST && !is_broken(seed, wishes, NULL))
		wishes++;
	bool broken = is_broken(seed, wishes, &trace);
	g_auto(GStrv) lines = g_strsplit(trace, "\n", -1);

	for (char **line = lines; *line; line++)
		printf("# %s\n", *line);
	if (broken)
		printf("# seed %" G_GUINT64_FORMAT " breaks after %u deeds\n", seed, wishes);
	else
		printf("# seed %" G_GUINT64_FORMAT " comes to rest\n", seed);
}

/* `worlds` is shared with the process that tells how far all are. */
static void play_range(uint64_t from, uint64_t to, struct tally *t, _Atomic uint64_t *worlds)
{
	for (uint64_t seed = from; seed < to && !t->failed; seed++) {
		struct world w;
		unsigned events = 0;

		begin(&w, seed, WISHES_MOST, false);
		int64_t rest = play(&w, &events);

		t->worlds++;
		(*worlds)++;
		t->events += events;
		t->longest = MAX(t->longest, rest);
		for (unsigned i = 0; i < w.nodes; i++)
			if (rows_peek(i))
				t->ends[rows_peek(i)->provision_state]++;
		t->failed = w.broken != NULL;
		t->seed = seed;
		end(&w);
	}
}

static void add(struct tally *to, const struct tally *t)
{
	to->worlds += t->worlds;
	to->events += t->events;
	to->longest = MAX(to->longest, t->longest);
	for (unsigned i = 0; i < STATE_COUNT; i++)
		to->ends[i] += t->ends[i];
	if (t->failed && (!to->failed || t->seed < to->seed)) {
		to->failed = true;
		to->seed = t->seed;
	}
}

static bool read_tally(int fd, const _Atomic uint64_t *worlds, uint64_t count, struct tally *ret)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	while (poll(&ready, 1, PROGRESS_MS) == 0)
		fprintf(stderr, "# %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " worlds\n",
			*worlds, count);
	return read(fd, ret, sizeof(*ret)) == sizeof(*ret);
}

/* Each job is a process with its own share of the seeds; its tally comes back through a pipe. */
static bool play_jobs(uint64_t seed, uint64_t count, unsigned jobs, struct tally *ret)
{
	_Atomic uint64_t *worlds = mmap(NULL, sizeof(*worlds), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	g_autofree int *pipes = g_new0(int, jobs);

	if (worlds == MAP_FAILED)
		return false;

	for (unsigned j = 0; j < jobs; j++) {
		int fds[2];
		struct tally t = {0};

		if (pipe(fds) < 0)
			return false;
		pid_t child = fork();

		if (child < 0)
			return false;
		if (child == 0) {
			play_range(seed + count * j / jobs, seed + count * (j + 1) / jobs, &t,
				   worlds);
			_exit(write(fds[1], &t, sizeof(t)) == sizeof(t) ? 0 : 1);
		}
		close(fds[1]);
		pipes[j] = fds[0];
	}
	bool good = true;

	for (unsigned j = 0; j < jobs; j++) {
		struct tally t;

		if (read_tally(pipes[j], worlds, count, &t))
			add(ret, &t);
		else
			good = false;
		close(pipes[j]);
	}
	while (wait(NULL) > 0)
		;
	return good;
}

static void report(const struct tally *t, double seconds)
{
	printf("# %" G_GUINT64_FORMAT " sequences, %" G_GUINT64_FORMAT " events in %.1f s: "
	       "%.0f sequences/s; longest way to rest %.0f s\n",
	       t->worlds, t->events, seconds, (double)t->worlds / seconds,
	       (double)t->longest / SECOND);
	for (unsigned i = 0; i < STATE_COUNT; i++)
		if (t->ends[i])
			printf("# %10" G_GUINT64_FORMAT " nodes end in %s\n", t->ends[i],
			       provision_state_text(i));
}

int main(int argc, char **argv)
{
	gint64 sequences = 20000, seed = 1, jobs = 1, replay = -1;
	const GOptionEntry entries[] = {
		{"sequences", 0, 0, G_OPTION_ARG_INT64, &sequences, "How many worlds", "N"},
		{"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "The first one's seed", "S"},
		{"jobs", 0, 0, G_OPTION_ARG_INT64, &jobs, "Processes", "J"},
		{"replay", 0, 0, G_OPTION_ARG_INT64, &replay, "Tell one world", "SEED"},
		{NULL}};
	g_autoptr(GOptionContext) options = g_option_context_new(NULL);
	g_autoptr(GError) error = NULL;
	struct tally t = {0};

	g_option_context_add_main_entries(options, entries, NULL);
	if (!g_option_context_parse(options, &argc, &argv, &error) || jobs < 1 || sequences < 1) {
		fprintf(stderr, "sim: %s\n", error ? error->message : "a number does not fit");
		return 2;
	}
	json_object_seed(1);
	make_configs();
	if (replay >= 0) {
		tell((uint64_t)replay);
		return 0;
	}
	gint64 began = g_get_monotonic_time();
	bool good = play_jobs((uint64_t)seed, (uint64_t)sequences, (unsigned)jobs, &t);

	report(&t, (double)(g_get_monotonic_time() - began) / 1000000);
	if (t.failed)
		tell(t.seed);
	printf("%s 1 - every world comes to rest, and nothing breaks on the way\n1..1\n",
	       good && !t.failed ? "ok" : "not ok");
	return good && !t.failed ? 0 : 1;
}
