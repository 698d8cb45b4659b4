/* What the dialers count, as settings that the API prints: "dialer metrics N" = "SECONDS FIGURES". */
#include "dialer_metrics.h"
#include "inside.h"
#include "log.h"

static void leave(struct link *l, char *value)
{
	g_free(l->figures);
	l->figures = value;
	loop_timer_arm(l->c->drain_timer, SPAN_MS(0));
}

void figures_take(struct link *l, const char *text)
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

	leave(l, g_strdup_printf("%" G_GINT64_FORMAT " %s", (gint64)(wall_now().us / 1000000),
				 figures));
}

void figures_drop(struct conductor *c, unsigned index)
{
	leave(&c->dialers[index], g_strdup(""));
}

static bool write_all(struct conductor *c, GError **error)
{
	if (!store_begin(c->store, error))
		return false;
	for (unsigned i = 0; i < c->dialer_count; i++) {
		g_autofree char *name = g_strdup_printf(DIALER_METRICS_SETTING, i);
		const char *value = c->dialers[i].figures;

		if (value && !store_setting_set(c->store, name, value, error)) {
			store_rollback(c->store);
			return false;
		}
	}
	return store_commit(c->store, error);
}

bool figures_keep(struct conductor *c)
{
	g_autoptr(GError) error = NULL;
	bool any = false;

	for (unsigned i = 0; i < c->dialer_count; i++)
		any = any || c->dialers[i].figures;
	if (!any)
		return false;
	/* Nothing depends on them: the next ones come in ten seconds. */
	if (!write_all(c, &error))
		log_warn(NULL, "figures of the dialers cannot be kept", F_ERR(error));
	for (unsigned i = 0; i < c->dialer_count; i++)
		g_clear_pointer(&c->dialers[i].figures, g_free);
	return true;
}
