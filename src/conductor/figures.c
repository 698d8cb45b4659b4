/* What the dialers count, as settings that the API prints: "dialer metrics N" = "SECONDS FIGURES". */
#include "dialer_metrics.h"
#include "inside.h"
#include "log.h"

static void keep(struct conductor *c, unsigned index, const char *value)
{
	g_autofree char *name = g_strdup_printf(DIALER_METRICS_SETTING, index);
	g_autoptr(GError) error = NULL;

	/* Nothing depends on them: the next ones come in ten seconds. */
	if (!store_setting_set(c->store, name, value, &error))
		log_warn(NULL, "figures of a dialer cannot be kept", F_ERR(error));
}

void figures_take(const struct link *l, const char *text)
{
	struct dialer_metrics m;
	g_autoptr(GError) error = NULL;

	/* A worker meets strangers: only numbers go on. */
	if (!dialer_metrics_decode(text, &m, &error)) {
		log_warn(NULL, "figures of a dialer dropped", F_INT("index", l->index),
			 F_ERR(error));
		return;
	}
	g_autofree char *figures = dialer_metrics_encode(&m);
	g_autofree char *value = g_strdup_printf("%" G_GINT64_FORMAT " %s",
						 (gint64)(wall_now().us / 1000000), figures);

	keep(l->c, l->index, value);
}

void figures_drop(struct conductor *c, unsigned index)
{
	keep(c, index, "");
}
