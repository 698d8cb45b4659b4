#include "dialer_metrics.h"

#include <stddef.h>
#include <string.h>

#include "errors.h"

#define NUMBERS (sizeof(struct dialer_metrics) / sizeof(uint64_t))

/* The text is the struct's numbers in order. */
_Static_assert(sizeof(struct histogram) == (HISTOGRAM_BOUNDS + 2) * sizeof(uint64_t),
	       "a histogram is numbers only");

/* Milliseconds. */
static const uint32_t bounds_ms[][HISTOGRAM_BOUNDS] = {
	[BOUNDS_SHORT] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000},
	[BOUNDS_LONG] = {1000, 5000, 15000, 30000, 60000, 120000, 240000, 300000, 330000, 360000,
			 600000, 1800000},
};

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };

static const struct row {
	enum kind kind;
	size_t offset;
	const char *name, *labels, *help;
	enum histogram_bounds bounds;
} rows[] = {
#define COUNTER(field, name, labels, help) \
	{KIND_COUNTER, offsetof(struct dialer_metrics, field), name, labels, help, 0},
#define GAUGE(field, name, labels, help) \
	{KIND_GAUGE, offsetof(struct dialer_metrics, field), name, labels, help, 0},
#define HISTOGRAM(field, name, bounds, help) \
	{KIND_HISTOGRAM, offsetof(struct dialer_metrics, field), name, "", help, bounds},
#include "dialer_metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

void histogram_add(struct histogram *h, enum histogram_bounds bounds, struct span value)
{
	uint64_t us = (uint64_t)MAX(value.us, 0);
	unsigned i = 0;

	while (i < HISTOGRAM_BOUNDS && us > (uint64_t)bounds_ms[bounds][i] * 1000)
		i++;
	h->buckets[i]++;
	h->sum_us += us;
}

char *dialer_metrics_encode(const struct dialer_metrics *m)
{
	const uint64_t *numbers = (const uint64_t *)m;
	GString *out = g_string_new(NULL);

	for (size_t i = 0; i < NUMBERS; i++)
		g_string_append_printf(out, "%s%" G_GUINT64_FORMAT, i ? " " : "",
				       (guint64)numbers[i]);
	return g_string_free(out, FALSE);
}

bool dialer_metrics_decode(const char *text, struct dialer_metrics *ret_metrics, GError **error)
{
	g_auto(GStrv) words = g_strsplit(text, " ", NUMBERS + 1);
	struct dialer_metrics m;
	uint64_t *numbers = (uint64_t *)&m;

	if (g_strv_length(words) != NUMBERS)
		return inox_error_set(error, INOX_ERROR_PEER, "%u figures instead of %zu",
				      g_strv_length(words), NUMBERS);
	for (size_t i = 0; i < NUMBERS; i++) {
		guint64 number;

		if (!g_ascii_string_to_unsigned(words[i], 10, 0, G_MAXUINT64, &number, NULL))
			return inox_error_set(error, INOX_ERROR_PEER, "figure %zu is no number", i);
		numbers[i] = number;
	}
	*ret_metrics = m;
	return true;
}

/* ---- printing */

static void print_histogram(GString *out, const struct row *row, unsigned dialer,
			    const struct histogram *h)
{
	uint64_t count = 0;

	for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
		char bound[G_ASCII_DTOSTR_BUF_SIZE] = "+Inf";

		count += h->buckets[i];
		if (i < HISTOGRAM_BOUNDS)
			g_ascii_formatd(bound, sizeof(bound), "%g",
					bounds_ms[row->bounds][i] / 1000.0);
		g_string_append_printf(
			out,
			"inox_dialer_%s_bucket{dialer=\"%u\",le=\"%s\"} %" G_GUINT64_FORMAT "\n",
			row->name, dialer, bound, (guint64)count);
	}
	g_string_append_printf(out,
			       "inox_dialer_%s_sum{dialer=\"%u\"} %" G_GUINT64_FORMAT ".%06u\n"
			       "inox_dialer_%s_count{dialer=\"%u\"} %" G_GUINT64_FORMAT "\n",
			       row->name, dialer, (guint64)(h->sum_us / 1000000),
			       (unsigned)(h->sum_us % 1000000), row->name, dialer, (guint64)count);
}

static void print_row(GString *out, const struct row *row, unsigned dialer,
		      const struct dialer_metrics *m)
{
	const void *place = (const char *)m + row->offset;

	if (row->kind == KIND_HISTOGRAM)
		print_histogram(out, row, dialer, place);
	else
		g_string_append_printf(out,
				       "inox_dialer_%s{dialer=\"%u\"%s%s} %" G_GUINT64_FORMAT "\n",
				       row->name, dialer, *row->labels ? "," : "", row->labels,
				       (guint64) * (const uint64_t *)place);
}

static void print_name(GString *out, size_t first, struct dialer_metrics *const *list,
		       unsigned count)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};

	g_string_append_printf(out, "# HELP inox_dialer_%s %s\n# TYPE inox_dialer_%s %s\n",
			       rows[first].name, rows[first].help, rows[first].name,
			       types[rows[first].kind]);
	for (size_t i = first;
	     i < G_N_ELEMENTS(rows) && strcmp(rows[i].name, rows[first].name) == 0; i++)
		for (unsigned dialer = 0; dialer < count; dialer++)
			if (list[dialer])
				print_row(out, &rows[i], dialer, list[dialer]);
}

void dialer_metrics_print(GString *out, struct dialer_metrics *const *list, unsigned count)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (*rows[i].help)
			print_name(out, i, list, count);
}
