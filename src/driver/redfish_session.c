#include "redfish_session.h"

#include <glib.h>
#include <pthread.h>

#include "clocks.h"
#include "redfish_client.h"

/* BMCs end idle sessions by themselves, mostly after 5 to 30 minutes. */
#define IDLE_LIMIT SPAN_SECONDS(30 * 60)

struct kept {
	struct redfish_session *session;
	struct mono since;
};

static pthread_mutex_t store_mutex = PTHREAD_MUTEX_INITIALIZER;
static GHashTable *store; /* key -> struct kept */

void redfish_session_free(struct redfish_session *s)
{
	if (!s)
		return;
	secret_free(s->token);
	secret_free(s->password);
	g_free(s->uri);
	g_free(s->system);
	g_free(s);
}

static void kept_free(void *value)
{
	struct kept *k = value;

	redfish_session_free(k->session);
	g_free(k);
}

static gboolean is_stale(gpointer key, gpointer value, gpointer ctx)
{
	const struct kept *k = value;
	const struct mono *now = ctx;

	(void)key;
	return mono_reached(mono_add(k->since, IDLE_LIMIT), *now);
}

static GHashTable *locked_store(void)
{
	if (!store)
		store = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, kept_free);
	return store;
}

static struct redfish_session *take_locked(const char *key, const struct secret *password)
{
	struct kept *k = g_hash_table_lookup(locked_store(), key);
	struct redfish_session *s = NULL;

	if (!k)
		return NULL;
	if (secret_equal(k->session->password, secret_peek(password), secret_length(password)))
		s = g_steal_pointer(&k->session);
	g_hash_table_remove(store, key);
	return s;
}

static bool keep_locked(const char *key, struct redfish_session *s)
{
	struct mono now = mono_now();

	if (g_hash_table_size(locked_store()) >= REDFISH_SESSIONS)
		g_hash_table_foreach_remove(store, is_stale, &now);
	if (g_hash_table_size(store) >= REDFISH_SESSIONS || g_hash_table_contains(store, key))
		return false;
	struct kept *k = g_new0(struct kept, 1);

	*k = (struct kept){.session = s, .since = now};
	g_hash_table_insert(store, g_strdup(key), k);
	return true;
}

struct redfish_session *redfish_session_take(const char *key, const struct secret *password)
{
	pthread_mutex_lock(&store_mutex);
	struct redfish_session *s = take_locked(key, password);

	pthread_mutex_unlock(&store_mutex);
	return s;
}

bool redfish_session_keep(const char *key, struct redfish_session *s)
{
	pthread_mutex_lock(&store_mutex);
	bool kept = keep_locked(key, s);

	pthread_mutex_unlock(&store_mutex);
	return kept;
}
