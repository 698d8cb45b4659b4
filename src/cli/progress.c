#include "progress.h"

#include <stdio.h>
#include <string.h>

#include "jsons.h"
#include "log.h"

/* The rate is an average over the last looks, so that it neither jumps nor lags by minutes. */
#define RATE_LOOKS 16

struct look {
	struct mono at;
	uint64_t done;
};

struct progress {
	bool live, drawn;
	struct mono start;
	char *last_line_key; /* plain mode: what was printed last */
	struct look looks[RATE_LOOKS];
	unsigned look_count;
	uint64_t last_done;
};

struct progress *progress_new(bool live, struct mono start)
{
	struct progress *p = g_new0(struct progress, 1);

	p->live = live;
	p->start = start;
	return p;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	if (p->live && p->drawn)
		fputc('\n', stderr);
	g_free(p->last_line_key);
	g_free(p);
}

char *progress_bytes_text(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1000 && unit + 1 < G_N_ELEMENTS(units)) {
		value /= 1024;
		unit++;
	}
	return g_strdup_printf(unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
			       units[unit]);
}

char *progress_time_text(uint64_t seconds)
{
	if (seconds < 60)
		return g_strdup_printf("%us", (unsigned)seconds);
	if (seconds < 3600)
		return g_strdup_printf("%um%02us", (unsigned)(seconds / 60),
				       (unsigned)(seconds % 60));
	return g_strdup_printf("%uh%02um", (unsigned)(seconds / 3600),
			       (unsigned)(seconds / 60 % 60));
}

/* Bytes per second over the remembered looks; 0 while unknown. */
static uint64_t remember(struct progress *p, uint64_t done, struct mono now)
{
	if (done < p->last_done)
		p->look_count = 0; /* another transfer began */
	p->last_done = done;
	p->looks[p->look_count++ % RATE_LOOKS] = (struct look){now, done};
	unsigned kept = MIN(p->look_count, RATE_LOOKS);
	const struct look *oldest = &p->looks[(p->look_count - kept) % RATE_LOOKS];
	uint64_t us = now.us - oldest->at.us;

	return us > 0 ? (done - oldest->done) * 1000000u / us : 0;
}

static void append_transfer(GString *line, uint64_t done, uint64_t total, uint64_t rate)
{
	g_autofree char *done_text = progress_bytes_text(done);
	g_autofree char *total_text = progress_bytes_text(total);
	g_autofree char *rate_text = progress_bytes_text(rate);

	g_string_append_printf(line, "  %s", done_text);
	if (total > 0)
		g_string_append_printf(line, " of %s (%u%%)", total_text,
				       (unsigned)(done >= total ? 100 : done * 100 / total));
	if (rate > 0)
		g_string_append_printf(line, "  %s/s", rate_text);
	if (rate > 0 && total > done) {
		g_autofree char *rest = progress_time_text((total - done) / rate);

		g_string_append_printf(line, "  %s left", rest);
	}
}

static bool changed(struct progress *p, const char *phase, const char *state, uint64_t done,
		    uint64_t total)
{
	g_autofree char *key = g_strdup_printf("%s/%s/%u", state, phase,
					       (unsigned)(total > 0 ? done * 10 / total : 0));

	if (g_strcmp0(key, p->last_line_key) == 0)
		return false;
	g_free(p->last_line_key);
	p->last_line_key = g_steal_pointer(&key);
	return true;
}

void progress_show(struct progress *p, const char *state, const json_t *flow, struct mono now)
{
	const json_t *transfer = json_peek_object(flow, "progress");
	uint64_t done = (uint64_t)json_peek_integer(transfer, "done", 0);
	uint64_t total = (uint64_t)json_peek_integer(transfer, "total", 0);
	const char *raw = json_peek_string(flow, "phase");
	g_autofree char *phase = raw ? log_clean_text(raw, strlen(raw), 60) : g_strdup("");
	g_autofree char *elapsed = progress_time_text((now.us - p->start.us) / 1000000u);
	g_autoptr(GString) line = g_string_new(NULL);
	uint64_t rate = transfer ? remember(p, done, now) : 0;

	g_string_append_printf(line, "%6s  %-14s %s", elapsed, state, phase);
	if (transfer && done > 0)
		append_transfer(line, done, total, rate);
	if (p->live) {
		/* Return, line, erase to the end of the line. */
		fprintf(stderr, "\r%s\x1b[K", line->str);
		fflush(stderr);
		p->drawn = true;
	} else if (changed(p, phase, state, done, total)) {
		fprintf(stderr, "%s\n", line->str);
	}
}
