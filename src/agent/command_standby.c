/* command_standby.c: the machine itself: flushing, rebooting, switching off. */
#include <fcntl.h>
#include <unistd.h>

#include "command_table.h"
#include "disk.h"

/* Makes later readers see the disks instead of the cache.  Not being able to is no failure. */
static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	ssize_t written = write(fd, "3", 1);

	(void)written;
	close(fd);
}

static void flush(const struct agent *a, struct command_context *context)
{
	if (!agent_is_machine(a))
		return;
	command_progress(context, "flushing", 0, 0);
	disk_flush_all(a->options.root);
}

json_t *command_sync(struct agent *a, struct command_context *context, const json_t *params,
		     struct agent_error *error)
{
	(void)params;
	(void)error;
	flush(a, context);
	if (agent_is_machine(a))
		drop_caches();
	return json_null();
}

/* The loop ends the program when the command has ended and its answers are out. */
json_t *command_run_image(struct agent *a, struct command_context *context, const json_t *params,
			  struct agent_error *error)
{
	(void)params;
	(void)error;
	flush(a, context);
	a->power = AGENT_REBOOTS;
	return json_null();
}

json_t *command_power_off(struct agent *a, struct command_context *context, const json_t *params,
			  struct agent_error *error)
{
	(void)params;
	(void)error;
	flush(a, context);
	a->power = AGENT_POWERS_OFF;
	return json_null();
}

json_t *command_get_partition_uuids(struct agent *a, struct command_context *context,
				    const json_t *params, struct agent_error *error)
{
	(void)context;
	(void)params;
	(void)error;
	return json_incref(a->partitions);
}
