#include "fake.h"

#include <pthread.h>

#include "errors.h"

/* The memory of a process that meets strangers is bounded. */
#define NODES_MAX (1024 * 1024)

static pthread_mutex_t nodes_mutex = PTHREAD_MUTEX_INITIALIZER;
static GHashTable *nodes_on; /* UUIDs */

static bool is_on(const char *node)
{
	pthread_mutex_lock(&nodes_mutex);
	bool on = nodes_on && g_hash_table_contains(nodes_on, node);

	pthread_mutex_unlock(&nodes_mutex);
	return on;
}

/* False if there are too many. */
static bool remember(const char *node, bool on)
{
	bool ok = true;

	pthread_mutex_lock(&nodes_mutex);
	if (!nodes_on)
		nodes_on = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	if (!on)
		g_hash_table_remove(nodes_on, node);
	else if ((ok = g_hash_table_size(nodes_on) < NODES_MAX))
		g_hash_table_add(nodes_on, g_strdup(node));
	pthread_mutex_unlock(&nodes_mutex);
	return ok;
}

static bool get_power(const struct bmc_target *t, enum power_state *ret_power,
		      enum boot_mode *ret_mode, GError **error)
{
	(void)error;
	*ret_power = is_on(t->node) ? POWER_ON : POWER_OFF;
	*ret_mode = BOOT_MODE_UNKNOWN;
	return true;
}

static bool set_power(const struct bmc_target *t, enum power_target target, GError **error)
{
	bool off = target == TARGET_POWER_OFF || target == TARGET_SOFT_POWER_OFF;

	if (target == TARGET_NONE || remember(t->node, !off))
		return true;
	return inox_error_set(error, INOX_ERROR_LIMIT, "more than %d fake machines are on",
			      NODES_MAX);
}

static bool set_boot(const struct bmc_target *t, enum boot_device device, bool persistent,
		     enum boot_mode mode, GError **error)
{
	(void)t;
	(void)device;
	(void)persistent;
	(void)mode;
	(void)error;
	return true;
}

static bool insert_media(const struct bmc_target *t, const char *url, GError **error)
{
	(void)t;
	(void)url;
	(void)error;
	return true;
}

static bool eject_media(const struct bmc_target *t, GError **error)
{
	(void)t;
	(void)error;
	return true;
}

const struct driver fake_driver = {
	.name = "fake-hardware",
	.get_power = get_power,
	.set_power = set_power,
	.set_boot = set_boot,
	.insert_media = insert_media,
	.eject_media = eject_media,
};
