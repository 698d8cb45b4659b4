/* inox-agent with harmless steps, for tests of the protocol: lab_sleep runs until the test makes
 * <root>/run/lab-go (its argument is only given back), lab_fail fails; lab_mark and lab_flash, which asks for a reboot,
 * write "NAME PID" as a line of <root>/lab-steps. */
#include <stdio.h>
#include <unistd.h>

#include "agent.h"

#define TICK_US  5000
#define PATIENCE SPAN_SECONDS(60)

static json_t *lab_sleep(struct command_context *context, const json_t *args, const json_t *node,
			 struct agent_error *error)
{
	const json_t *seconds = json_object_get(args, "seconds");
	struct mono end = mono_add(mono_now(), PATIENCE);
	g_autofree char *go = g_build_filename(command_peek_root(context), "run/lab-go", NULL);
	uint64_t ticks = 0;

	(void)node;
	while (!mono_reached(end, mono_now()) && access(go, F_OK) != 0) {
		if (command_is_cancelled(context)) {
			agent_error_set(error, AGENT_ERROR_DEPLOYMENT, "cancelled");
			return NULL;
		}
		command_progress(context, "sleeping", ++ticks, 1000);
		usleep(TICK_US);
	}
	json_t *partitions = json_pack("{s:s}", "root uuid", "0x8f2a11c3");

	command_record_partitions(context, partitions);
	return json_pack("{s:O}", "slept", seconds);
}

static json_t *lab_fail(struct command_context *context, const json_t *args, const json_t *node,
			struct agent_error *error)
{
	(void)context;
	(void)args;
	(void)node;
	agent_error_set(error, AGENT_ERROR_DEPLOYMENT, "lab step failed on purpose");
	return NULL;
}

static json_t *note(struct command_context *context, const char *name)
{
	g_autofree char *path = g_build_filename(command_peek_root(context), "lab-steps", NULL);
	FILE *file = fopen(path, "a");

	if (file) {
		fprintf(file, "%s %d\n", name, (int)getpid());
		fclose(file);
	}
	return json_null();
}

static json_t *lab_mark(struct command_context *context, const json_t *args, const json_t *node,
			struct agent_error *error)
{
	(void)args, (void)node, (void)error;
	return note(context, "mark");
}

static json_t *lab_flash(struct command_context *context, const json_t *args, const json_t *node,
			 struct agent_error *error)
{
	(void)args, (void)node, (void)error;
	return note(context, "flash");
}

static const struct step lab_steps[] = {
	{.interface = "deploy", .name = "lab_sleep", .abortable = true, .run = lab_sleep},
	{.interface = "deploy", .name = "lab_fail", .run = lab_fail},
	{.interface = "deploy", .name = "lab_mark", .run = lab_mark},
	{.interface = "management",
	 .name = "lab_flash",
	 .reboot_requested = true,
	 .run = lab_flash},
	{.name = NULL},
};

int main(int argc, char **argv)
{
	return agent_main(argc, argv, lab_steps);
}
