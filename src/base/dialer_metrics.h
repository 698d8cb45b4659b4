/* dialer_metrics.h: the figures of one dialer: counted there, sent as a text, printed by the API. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "clocks.h"

/* Where the conductor keeps them for the API: "SECONDS FIGURES", "" when the dialer is gone. */
#define DIALER_METRICS_SETTING "dialer metrics %u"

#define HISTOGRAM_BOUNDS       12 /* and one more bucket for what is above the last */

enum histogram_bounds { BOUNDS_SHORT, BOUNDS_LONG };

struct histogram {
	uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* each for itself, not cumulative */
	uint64_t sum_us;
};

struct dialer_metrics {
#define COUNTER(field, name, labels, help)   uint64_t field;
#define GAUGE(field, name, labels, help)     uint64_t field;
#define HISTOGRAM(field, name, bounds, help) struct histogram field;
#include "dialer_metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

void histogram_add(struct histogram *h, enum histogram_bounds bounds, struct span value);

/* Numbers with a blank between, in the order of the list.  The caller frees the text. */
char *dialer_metrics_encode(const struct dialer_metrics *m);
/* The same back; PEER if it is anything else. */
bool dialer_metrics_decode(const char *text, struct dialer_metrics *ret_metrics,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Prometheus' text format; `list` has `count` entries, NULL for a dialer that has no figures, and the place in it is
 * the label. */
void dialer_metrics_print(GString *out, struct dialer_metrics *const *list, unsigned count);
