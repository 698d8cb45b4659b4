#include "fake.h"

#include "errors.h"

/* Further nodes are off, whatever is asked: the memory of a process that meets strangers is bounded. */
#define NODES_MAX (1024 * 1024)

static GMutex nodes_mutex;
static GHashTable *nodes_on; /* UUIDs */

static bool get_power(const struct bmc_target *t, enum power_state *ret_power,
		      enum boot_mode *ret_mode, GError **error)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&nodes_mutex);

	(void)error;
	*ret_power = nodes_on && g_hash_table_contains(nodes_on, t->node) ? POWER_ON : POWER_OFF;
	*ret_mode = BOOT_MODE_UNKNOWN;
	return true;
}

static bool set_power(const struct bmc_target *t, enum power_target target, GError **error)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&nodes_mutex);
	bool off = target == TARGET_POWER_OFF || target == TARGET_SOFT_POWER_OFF;

	if (!nodes_on)
		nodes_on = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	if (off)
		g_hash_table_remove(nodes_on, t->node);
	else if (target != TARGET_NONE && g_hash_table_size(nodes_on) >= NODES_MAX)
		return inox_error_set(error, INOX_ERROR_LIMIT, "more than %d fake machines are on",
				      NODES_MAX);
	else if (target != TARGET_NONE)
		g_hash_table_add(nodes_on, g_strdup(t->node));
	return true;
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

const struct driver fake_driver = {
	.name = "fake-hardware",
	.get_power = get_power,
	.set_power = set_power,
	.set_boot = set_boot,
};
