#include "report.h"

#include <string.h>

#include "jsons.h"

#define LOAD_WANTED 0.7 /* of a core, in the sizing sentence */

void snapshot_clear(struct snapshot *s)
{
	g_clear_pointer(&s->tally, g_free);
}

/* ---- figures */

static double seconds_between(const struct snapshot *a, const struct snapshot *b)
{
	return MAX((double)(b->at.us - a->at.us) / 1e6, 1e-6);
}

/* What happened after the first reading. */
static struct histogram gaps_of(const struct report *r)
{
	struct histogram h = r->to.tally->gap_ms;

	h.total -= r->from.tally->gap_ms.total;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		h.count[i] -= r->from.tally->gap_ms.count[i];
	return h;
}

static json_t *rates(const struct report *r)
{
	const struct tally *a = r->from.tally, *b = r->to.tally;
	double seconds = seconds_between(&r->from, &r->to);
	double requests = (double)(b->requests - a->requests),
	       looks = (double)(b->looks - a->looks);
	double dialer_us = (double)(r->to.dialer_ns - r->from.dialer_ns) / 1e3;
	double connector_us = (double)(r->to.connector_ns - r->from.connector_ns) / 1e3;
	double server_us = (double)(r->to.server_ns - r->from.server_ns) / 1e3;

	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "seconds", seconds,
			 "polls_per_s", requests / seconds, "looks_per_s", looks / seconds,
			 "dialer_us_per_poll", dialer_us / MAX(requests, 1), "dialer_us_per_look",
			 dialer_us / MAX(looks, 1), "dialer_load", dialer_us / 1e6 / seconds,
			 "connector_us_per_poll", connector_us / MAX(requests, 1), "connector_load",
			 connector_us / 1e6 / seconds, "fleet_us_per_poll",
			 server_us / MAX(requests, 1), "fleet_load", server_us / 1e6 / seconds);
}

/* The gap that is open at the end belongs to it: an agent that is never looked at again has no other. */
static json_t *staleness(const struct report *r)
{
	const struct board *b = r->board;
	uint32_t healthy = fleet_healthy(r->fleet), never = 0;
	uint64_t end_ms = (r->to.at.us - b->start.us) / 1000, oldest = 0;
	uint64_t interval_ms = r->interval_s * 1000ull;
	struct histogram gaps = gaps_of(r);

	for (uint32_t i = 0; i < healthy; i++) {
		if (!b->seen_ms[i])
			never++;
		else
			oldest = MAX(oldest, end_ms - MIN(b->seen_ms[i] - 1, end_ms));
	}
	uint64_t late = r->to.tally->late - r->from.tally->late;
	uint64_t p99 = histogram_quantile(&gaps, 0.99), most = MAX(gaps.most, oldest);

	return json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:I}", "healthy",
			 (int)healthy, "never", (int)never, "gaps", (json_int_t)gaps.total,
			 "p50_ms", (json_int_t)histogram_quantile(&gaps, 0.5), "p99_ms",
			 (json_int_t)p99, "max_ms", (json_int_t)most, "oldest_ms",
			 (json_int_t)oldest, "late_share",
			 (double)late / (double)MAX(gaps.total, 1), "late_p99_ms",
			 (json_int_t)(p99 > interval_ms ? p99 - interval_ms : 0), "late_max_ms",
			 (json_int_t)(most > interval_ms ? most - interval_ms : 0));
}

/* Looks per second over the whole run: how even the load is. */
static json_t *spread(const struct report *r)
{
	uint64_t first = (r->from.at.us - r->board->start.us) / 1000000 + 1;
	uint64_t last = (r->to.at.us - r->board->start.us) / 1000000;
	uint64_t sum = 0, most = 0, seconds = 0;
	json_t *each = json_array();

	for (uint64_t s = first; s < last && s < BOARD_SECONDS; s++) {
		sum += r->to.tally->looks_in_second[s];
		most = MAX(most, r->to.tally->looks_in_second[s]);
		json_array_append_new(each, json_integer(r->to.tally->looks_in_second[s]));
		seconds++;
	}
	double mean = (double)sum / (double)MAX(seconds, 1);

	return json_pack("{s:f, s:I, s:f, s:o}", "mean", mean, "max", (json_int_t)most,
			 "max_to_mean", mean > 0 ? (double)most / mean : 0.0, "each", each);
}

static json_t *events_of(const struct player *p)
{
	json_t *o = json_object();

	for (int t = 0; t < MESSAGE_TYPE_COUNT; t++)
		if (p->events[t])
			json_object_set_new(o, message_type_text((enum message_type)t),
					    json_integer((json_int_t)p->events[t]));
	return o;
}

static json_t *milestones_of(const struct player *p)
{
	json_t *o = json_object();

	for (unsigned m = 0; m < PLAYER_MILESTONES; m++)
		if (p->milestones[m])
			json_object_set_new(o, milestone_text(m),
					    json_integer((json_int_t)p->milestones[m]));
	return o;
}

static json_t *commands_of(const struct player *p)
{
	const struct histogram *h = &p->step_us;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "sent", (json_int_t)p->calls,
			 "refused", (json_int_t)p->calls_refused, "succeeded",
			 (json_int_t)p->succeeded, "failed", (json_int_t)p->failed_commands,
			 "end_to_event_p50_us", (json_int_t)histogram_quantile(h, 0.5),
			 "end_to_event_p99_us", (json_int_t)histogram_quantile(h, 0.99),
			 "end_to_event_max_us", (json_int_t)h->most);
}

static json_t *reasons_of(const struct player_voice *v)
{
	json_t *o = json_object();
	GHashTableIter i;
	gpointer text, times;

	g_hash_table_iter_init(&i, v->reasons);
	while (g_hash_table_iter_next(&i, &text, &times))
		json_object_set_new(o, text, json_integer(GPOINTER_TO_UINT(times)));
	return o;
}

static json_t *faults_of(const struct report *r)
{
	json_t *o = json_object();

	for (int k = FAULT_NONE + 1; k < FAULT_COUNT; k++) {
		const struct player_voice *v = &r->player->voices[k];
		uint32_t first, count;

		fleet_fault_range(r->fleet, (enum fault)k, &first, &count);
		if (count == 0)
			continue;
		json_object_set_new(o, fault_table[k].name,
				    json_pack("{s:i, s:I, s:i, s:i, s:b, s:o}", "agents",
					      (int)count, "contacts",
					      (json_int_t)r->to.tally->contacts[k], "alive",
					      (int)v->alive, "named", (int)v->named, "tolerated",
					      fault_table[k].effect == FAULT_EFFECT_TOLERATED,
					      "reasons", reasons_of(v)));
	}
	return o;
}

/* What only a conductor knows. */
static void add_player(json_t *figures, const struct report *r)
{
	const struct player *p = r->player;
	uint64_t before = 0;

	for (unsigned i = 0; i < p->plan.dialers; i++)
		before += p->dialers[i].resident_before;
	double growth = (double)r->to.dialer_bytes - (double)before;
	json_t *more = json_pack(
		"{s:i, s:f, s:I, s:f, s:i, s:o, s:o, s:o, s:o, s:o}", "dialers",
		(int)p->plan.dialers, "dialer_bytes_per_agent", growth / fleet_count(r->fleet),
		"dialer_bytes", (json_int_t)r->to.dialer_bytes, "watch_s",
		p->fed.us ? (double)(p->fed.us - p->started.us) / 1e6 : -1.0, "healthy_alive",
		(int)p->voices[FAULT_NONE].alive, "events", events_of(p), "milestones",
		milestones_of(p), "commands", commands_of(p), "healthy_reasons",
		reasons_of(&p->voices[FAULT_NONE]), "faults", faults_of(r));

	json_object_update_new(figures, more);
}

json_t *report_json(const struct report *r)
{
	const struct tally *t = r->to.tally;
	json_t *figures = json_pack(
		"{s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"agents", (int)fleet_count(r->fleet), "port", (int)fleet_plan(r->fleet)->port,
		"servers", (int)r->servers, "interval_s", (int)r->interval_s, "rates", rates(r),
		"staleness", staleness(r), "spread", spread(r), "all_seen_s", r->all_seen_s,
		"connections", (json_int_t)t->connections, "broken_handshakes",
		(json_int_t)t->broken_handshakes, "refused_tokens", (json_int_t)t->refused_tokens,
		"strangers", (json_int_t)t->strangers, "trapped", (json_int_t)t->trapped,
		"commands_ended", (json_int_t)t->ended, "double_polls",
		(json_int_t)t->double_polls);

	if (r->player)
		add_player(figures, r);
	return figures;
}

/* ---- for people */

static double real(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static int64_t whole(const json_t *o, const char *key)
{
	return json_peek_integer(o, key, 0);
}

static void print_counts(GString *out, const char *title, const json_t *counts)
{
	const char *key;
	json_t *value;
	const char *before = "";

	if (json_object_size(counts) == 0)
		return;
	g_string_append_printf(out, "%-16s ", title);
	json_object_foreach((json_t *)(uintptr_t)counts, key, value) {
		g_string_append_printf(out, "%s%s %" JSON_INTEGER_FORMAT, before, key,
				       json_integer_value(value));
		before = ", ";
	}
	g_string_append_c(out, '\n');
}

static void print_faults(GString *out, json_t *faults)
{
	const char *name, *reason;
	json_t *f, *times;

	json_object_foreach(faults, name, f) {
		g_string_append_printf(out,
				       "fault %-18s %6" G_GINT64_FORMAT
				       " agents, %8" G_GINT64_FORMAT
				       " connections, %6" G_GINT64_FORMAT
				       " counted as alive, %6" G_GINT64_FORMAT " named\n",
				       name, whole(f, "agents"), whole(f, "contacts"),
				       whole(f, "alive"), whole(f, "named"));
		json_object_foreach(json_object_get(f, "reasons"), reason, times) {
			g_string_append_printf(out, "    %" JSON_INTEGER_FORMAT " x %s\n",
					       json_integer_value(times), reason);
		}
	}
}

static void print_commands(GString *out, const json_t *c)
{
	if (whole(c, "sent") == 0)
		return;
	g_string_append_printf(
		out,
		"commands         %" G_GINT64_FORMAT " sent, %" G_GINT64_FORMAT
		" refused, %" G_GINT64_FORMAT " succeeded, %" G_GINT64_FORMAT
		" failed; from the end in the agent to the event: p50 %.1f ms, p99 %.1f ms, max %.1f "
		"ms\n",
		whole(c, "sent"), whole(c, "refused"), whole(c, "succeeded"), whole(c, "failed"),
		real(c, "end_to_event_p50_us") / 1e3, real(c, "end_to_event_p99_us") / 1e3,
		real(c, "end_to_event_max_us") / 1e3);
}

/* How many agents a core keeps fresh at this cost, rounded down to two digits. */
static int64_t agents_per_core(double us_per_look, double interval_s)
{
	double agents = us_per_look > 0 ? LOAD_WANTED * interval_s * 1e6 / us_per_look : 0;
	int64_t unit = 1;

	while (agents / (double)unit >= 100)
		unit *= 10;
	return (int64_t)(agents / (double)unit) * unit;
}

static void print_sizing(GString *out, const json_t *figures)
{
	const json_t *rate = json_object_get(figures, "rates");
	double us = real(rate, "dialer_us_per_look"), interval = real(figures, "interval_s");

	g_string_append_printf(
		out,
		"At %.0f us per look a core that is %.0f %% busy keeps %" G_GINT64_FORMAT
		" such agents fresh every %.0f s, %" G_GINT64_FORMAT
		" every 300 s; each takes %.0f bytes of the dialer's memory.\n",
		us, LOAD_WANTED * 100, agents_per_core(us, interval), interval,
		agents_per_core(us, 300), real(figures, "dialer_bytes_per_agent"));
}

static void print_rates(GString *out, const json_t *figures)
{
	const json_t *rate = json_object_get(figures, "rates");

	g_string_append_printf(out, "polls            %.0f per s (%.0f looks per s) over %.1f s\n",
			       real(rate, "polls_per_s"), real(rate, "looks_per_s"),
			       real(rate, "seconds"));
	if (json_object_get(figures, "dialers"))
		g_string_append_printf(
			out,
			"dialer           %.1f us CPU per poll, %.1f per look; load %.2f cores "
			"(%" G_GINT64_FORMAT " dialers)\n"
			"connector        %.1f us CPU per poll; load %.2f cores\n",
			real(rate, "dialer_us_per_poll"), real(rate, "dialer_us_per_look"),
			real(rate, "dialer_load"), whole(figures, "dialers"),
			real(rate, "connector_us_per_poll"), real(rate, "connector_load"));
	g_string_append_printf(
		out,
		"fleet            %.1f us CPU per poll; load %.2f cores (%" G_GINT64_FORMAT
		" processes)\n",
		real(rate, "fleet_us_per_poll"), real(rate, "fleet_load"),
		whole(figures, "servers"));
}

static void print_freshness(GString *out, const json_t *figures)
{
	const json_t *stale = json_object_get(figures, "staleness");
	const json_t *even = json_object_get(figures, "spread");

	g_string_append_printf(
		out,
		"staleness        p50 %.2f s, p99 %.2f s, max %.2f s of %" G_GINT64_FORMAT
		" healthy agents; %" G_GINT64_FORMAT " never looked at\n"
		"lateness         %.2f %% of looks behind the interval of %" G_GINT64_FORMAT
		" s; p99 %.2f s, max %.2f s\n"
		"looks per second mean %.0f, max %.0f, ratio %.2f\n",
		real(stale, "p50_ms") / 1e3, real(stale, "p99_ms") / 1e3,
		real(stale, "max_ms") / 1e3, whole(stale, "healthy"), whole(stale, "never"),
		real(stale, "late_share") * 100, whole(figures, "interval_s"),
		real(stale, "late_p99_ms") / 1e3, real(stale, "late_max_ms") / 1e3,
		real(even, "mean"), real(even, "max"), real(even, "max_to_mean"));
	if (real(figures, "all_seen_s") >= 0)
		g_string_append_printf(out, "first look       at the last agent after %.2f s\n",
				       real(figures, "all_seen_s"));
}

void report_print(const json_t *figures, GString *out)
{
	print_rates(out, figures);
	print_freshness(out, figures);
	if (!json_object_get(figures, "dialers"))
		return;
	g_string_append_printf(
		out,
		"memory           %.0f bytes of the dialer per agent (%.1f MB in all); watches "
		"taken in %.2f s\n",
		real(figures, "dialer_bytes_per_agent"), real(figures, "dialer_bytes") / 1e6,
		real(figures, "watch_s"));
	print_commands(out, json_object_get(figures, "commands"));
	print_counts(out, "events", json_object_get(figures, "events"));
	print_counts(out, "milestones", json_object_get(figures, "milestones"));
	print_counts(out, "healthy, reasons", json_object_get(figures, "healthy_reasons"));
	print_faults(out, json_object_get(figures, "faults"));
	print_sizing(out, figures);
}
