/* survey.c: what is known of the ramdisk's ISOs: many boots are made from few. */
#include "errors.h"
#include "limit.h"
#include "shelf-backend.h"

/* Nodes may have an ISO of their own each; then all are looked at again. */
#define REMEMBERED 64

struct surveys {
	GMutex mutex;
	GHashTable *known; /* name -> struct survey */
};

struct survey {
	char *tag;
	struct boot_iso_base base;
};

static void survey_free(void *data)
{
	struct survey *v = data;

	g_free(v->tag);
	g_free(v);
}

struct surveys *surveys_new(void)
{
	struct surveys *s = g_new0(struct surveys, 1);

	g_mutex_init(&s->mutex);
	s->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, survey_free);
	return s;
}

void surveys_free(struct surveys *s)
{
	g_hash_table_unref(s->known);
	g_mutex_clear(&s->mutex);
	g_free(s);
}

/* The tag, which the caller frees, NULL if there is none. */
static char *recall(struct surveys *s, const char *name, struct boot_iso_base *ret)
{
	char *tag = NULL;

	g_mutex_lock(&s->mutex);
	const struct survey *v = g_hash_table_lookup(s->known, name);

	if (v) {
		tag = g_strdup(v->tag);
		*ret = v->base;
	}
	g_mutex_unlock(&s->mutex);
	return tag;
}

static void remember(struct surveys *s, const char *name, const char *tag,
		     const struct boot_iso_base *base)
{
	struct survey *v = g_new0(struct survey, 1);

	v->tag = g_strdup(tag);
	v->base = *base;
	g_mutex_lock(&s->mutex);
	if (g_hash_table_size(s->known) >= REMEMBERED)
		g_hash_table_remove_all(s->known);
	g_hash_table_insert(s->known, g_strdup(name), v);
	g_mutex_unlock(&s->mutex);
}

bool shelf_survey(const struct shelf *s, const char *name, const char *what,
		  struct boot_iso_base *ret, GError **error)
{
	struct boot_iso_base base;
	g_autofree char *known = recall(s->surveys, name, &base), *tag = NULL;
	g_autoptr(GBytes) bytes = NULL;

	if (!shelf_check_there(s, error) ||
	    !s->backend->load(s, name, what, known, &tag, &bytes, error))
		return false;
	if (bytes) {
		gsize length;
		const uint8_t *iso = g_bytes_get_data(bytes, &length);

		if (!boot_iso_survey(iso, length, &base, error))
			return false;
		if (tag)
			remember(s->surveys, name, tag, &base);
	}
	*ret = base;
	return true;
}
