/* Machines: power, firmware, boot, disk, and the agent of a ramdisk. */
#include <string.h>

#include "jsons.h"
#include "media_ticket.h"
#include "sim.h"

struct boot {
	unsigned machine;
	uint64_t boot;
	struct boot_image image;
};

static void after(struct machine *m, int64_t us, sim_fn fn, const struct boot_image *image)
{
	struct boot b = {.machine = m->index, .boot = m->boot};

	if (image)
		b.image = *image;
	sim_after(us, fn, g_memdup2(&b, sizeof(b)), NULL);
}

/* NULL: the power was changed meanwhile. */
static struct machine *still(const struct boot *b)
{
	struct machine *m = &sim->machines[b->machine];

	return m->boot == b->boot ? m : NULL;
}

void machine_init(unsigned index)
{
	struct machine *m = &sim->machines[index];

	m->index = index;
	m->persistent = BOOT_DEVICE_DISK;
	g_snprintf(m->mac, sizeof(m->mac), "52:54:00:00:00:%02x", index + 1);
	m->agent.commands = g_array_new(FALSE, TRUE, sizeof(struct agent_command));
}

void machine_end(struct machine *m)
{
	if (m->agent.commands)
		g_array_free(m->agent.commands, TRUE);
}

/* ---- boot */

void machine_stop_agent(struct machine *m)
{
	m->agent.up = false;
	m->agent.instance++;
	g_array_set_size(m->agent.commands, 0);
}

/* What an active agent does by itself. */
static void on_agent_turn(void *data)
{
	struct boot *b = data;
	struct machine *m = still(b);
	struct boot_image *boot = m ? &m->agent.boot : NULL;

	if (!m || m->os != OS_AGENT)
		return;
	after(m, 3 * SECOND + (int64_t)sim_below(m->agent.called ? 60 * SECOND : 5 * SECOND),
	      on_agent_turn, NULL);
	if (!m->agent.up || m->dark || sim_chance(sim->loss))
		return;
	if (!*boot->token) {
		people_look_up(m->index, boot->token);
		if (*boot->token)
			check_holder(boot->token, m);
	}
	if (*boot->token && people_heartbeat(m->index, boot->token, boot->address))
		m->agent.called = true;
}

void machine_start_agent(struct machine *m)
{
	m->agent.up = true;
	m->agent.instance++;
	m->agent.started_ms = (uint64_t)sim->now / 1000;
	g_array_set_size(m->agent.commands, 0);
	sim_say("machine %u: the agent of epoch %d runs", m->index, (int)m->agent.boot.epoch);
}

static void on_agent_up(void *data)
{
	struct boot *b = data;
	struct machine *m = still(b);

	if (!m || m->hangs) {
		if (m)
			m->os = OS_NOTHING;
		return;
	}
	m->os = OS_AGENT;
	m->agent.boot = b->image;
	m->agent.own = !sim_coin(100);
	m->agent.called = m->agent.finalized = false;
	if (*b->image.token)
		check_holder(b->image.token, m);
	machine_start_agent(m);
	if (b->image.active)
		on_agent_turn(data);
}

/* Kernel and initrd are there; now the file with the token, which belongs to the same boot. */
static void on_token(void *data)
{
	struct boot *b = data;
	struct machine *m = still(b);
	const struct boot_image *there = m ? boot_host_path(b->image.path) : NULL;

	if (!m)
		return;
	if (!there || !there->token_there) {
		m->os = OS_NOTHING;
		return;
	}
	after(m, 3 * SECOND + (int64_t)sim_below(30 * SECOND), on_agent_up, there);
}

static void on_firmware(void *data)
{
	struct machine *m = still(data);
	struct boot_image *image = NULL;

	if (!m)
		return;
	enum boot_device device = m->once ? m->once : m->persistent;
	const struct node *n = m->index < sim->nodes ? rows_peek(m->index) : NULL;

	m->once = BOOT_DEVICE_NONE;
	if (device == BOOT_DEVICE_PXE && n && !m->dark)
		image = boot_host_script(n->uuid.s);
	if (device == BOOT_DEVICE_CDROM && *m->media &&
	    !media_path_is_over(m->media, (struct wall){sim->now}))
		image = boot_host_path(m->media);
	if (image) {
		m->os = OS_LOADING;
		after(m, SECOND + (int64_t)sim_below(3 * SECOND), on_token, image);
		return;
	}
	m->os = m->disk.whole ? OS_INSTANCE : OS_NOTHING;
	sim_say("machine %u: %s", m->index,
		m->os == OS_INSTANCE ? "boots its disk" : "finds nothing to boot");
}

void machine_set_power(struct machine *m, bool on)
{
	if (m->power == on)
		return;
	sim_say("machine %u: power %s", m->index, on ? "on" : "off");
	m->power = on;
	m->boot++;
	m->write_runs = 0;
	m->version += on && m->flashes && sim_chance(150);
	machine_stop_agent(m);
	m->os = on ? OS_FIRMWARE : OS_OFF;
	if (on)
		after(m, SECOND + (int64_t)sim_below(20 * SECOND), on_firmware, NULL);
}

struct machine *machine_at(const char *address)
{
	struct machine *found = NULL;
	unsigned count = 0;

	for (unsigned i = 0; i < MACHINES_MOST; i++) {
		struct machine *m = &sim->machines[i];

		if (m->agent.up && !m->dark && strcmp(m->agent.boot.address, address) == 0 &&
		    sim_below(++count) == 0)
			found = m;
	}
	return found;
}

bool machine_refuses_at(const char *address)
{
	for (unsigned i = 0; i < MACHINES_MOST; i++) {
		const struct machine *m = &sim->machines[i];

		/* An agent that ends otherwise is started again by its init, or hangs. */
		if (m->os == OS_AGENT && m->agent.finalized && !m->agent.up && !m->dark &&
		    strcmp(m->agent.boot.address, address) == 0)
			return true;
	}
	return false;
}

/* ---- commands */

struct agent_command *machine_command(struct machine *m, const char *id)
{
	for (guint i = 0; i < m->agent.commands->len; i++) {
		struct agent_command *c =
			&g_array_index(m->agent.commands, struct agent_command, i);

		if (strcmp(c->id, id) == 0)
			return c;
	}
	return NULL;
}

struct work {
	unsigned machine;
	uint64_t instance;
	char id[UUID_TEXT];
};

static void finish(struct machine *m, struct agent_command *c)
{
	c->status = sim_chance(30) ? COMMAND_FAILED : COMMAND_SUCCEEDED;
	if (strcmp(c->step, "write_image") == 0 && c->status == COMMAND_SUCCEEDED) {
		m->disk =
			(struct disk){.whole = true, .epoch = m->agent.boot.epoch, .at = sim->now};
		g_strlcpy(m->disk.node, m->agent.boot.node, sizeof(m->disk.node));
	}
	sim_say("machine %u: step %s %s", m->index, c->step, command_status_text(c->status));
}

static void on_work(void *data)
{
	struct work *w = data;
	struct machine *m = &sim->machines[w->machine];
	struct agent_command *c = machine_command(m, w->id);

	if (!m->agent.up || m->agent.instance != w->instance || !c || c->status != COMMAND_RUNNING)
		return;
	if (sim->now >= c->ends) {
		finish(m, c);
		return;
	}
	c->done += 1000;
	sim_after(MIN(c->ends - sim->now, 20 * SECOND), on_work, g_memdup2(w, sizeof(*w)), NULL);
}

static struct agent_command *add_command(struct machine *m, const char *name,
					 enum command_status status)
{
	struct agent_command c = {.status = status};

	sim_uuid(c.id);
	g_strlcpy(c.name, name, sizeof(c.name));
	g_array_append_val(m->agent.commands, c);
	return &g_array_index(m->agent.commands, struct agent_command, m->agent.commands->len - 1);
}

static void start_step(struct machine *m, const char *step, struct agent_command *c)
{
	struct work w = {.machine = m->index, .instance = m->agent.instance};

	g_strlcpy(c->step, step, sizeof(c->step));
	c->ends = sim->now + (int64_t)sim_below(sim_coin(100) ? 600 * SECOND : 30 * SECOND);
	g_strlcpy(w.id, c->id, sizeof(w.id));
	check_step(m, c);
	sim_say("machine %u: step %s runs", m->index, step);
	if (strcmp(step, "burn") != 0 && strcmp(step, "flash") != 0)
		m->disk.whole = false;
	sim_after(MIN(c->ends - sim->now, 20 * SECOND), on_work, g_memdup2(&w, sizeof(w)), NULL);
}

static bool is_busy(const struct machine *m)
{
	for (guint i = 0; i < m->agent.commands->len; i++)
		if (g_array_index(m->agent.commands, struct agent_command, i).status ==
		    COMMAND_RUNNING)
			return true;
	return false;
}

static void on_power_off(void *data)
{
	struct machine *m = still(data);

	if (m)
		machine_set_power(m, false);
}

/* The answer goes out before the port is closed. */
static void on_finalized(void *data)
{
	struct machine *m = still(data);

	if (m)
		machine_stop_agent(m);
}

static char *outcome_of(struct machine *m, const char *name)
{
	if (strcmp(name, "get_hardware_info") == 0)
		return g_strdup_printf("{\"interfaces\": [{\"mac_address\": \"%s\"}]}", m->mac);
	if (strcmp(name, "get_deploy_steps") == 0)
		return g_strdup(
			"{\"deploy_steps\": {\"a\": [{\"interface\": \"deploy\", \"step\": "
			"\"write_image\", \"priority\": 0}]}, \"hardware_manager_version\": "
			"{\"a\": \"1\"}}");
	if (strcmp(name, "get_clean_steps") == 0)
		return g_strdup_printf(
			"{\"clean_steps\": {\"a\": [{\"interface\": \"deploy\", \"step\": "
			"\"erase_devices\", \"priority\": 10, \"abortable\": true}, "
			"%s{\"interface\": \"deploy\", \"step\": \"burn\", \"priority\": 5}]}, "
			"\"hardware_manager_version\": {\"a\": \"%u\"}}",
			m->flashes ? "{\"interface\": \"raid\", \"step\": \"flash\", "
				     "\"priority\": 7, \"reboot_requested\": true}, "
				   : "",
			m->version);
	return NULL;
}

bool machine_call(struct machine *m, const char *command, const json_t *params,
		  struct message_agent_reply *reply)
{
	const char *name = strchr(command, '.') + 1;
	const char *step = json_peek_string(json_object_get(params, "step"), "step");
	bool executes = g_str_has_prefix(name, "execute_");

	if (is_busy(m))
		return false;
	struct agent_command *c =
		add_command(m, name, executes ? COMMAND_RUNNING : COMMAND_SUCCEEDED);

	if (executes)
		start_step(m, step ? step : "?", c);
	if (strcmp(name, "power_off") == 0)
		after(m, SECOND + (int64_t)sim_below(5 * SECOND), on_power_off, NULL);
	if (strcmp(name, "finalize_rescue") == 0) {
		m->agent.finalized = true;
		after(m, 100000, on_finalized, NULL);
	}
	reply->command = g_strdup(c->id);
	reply->status = c->status;
	reply->outcome = outcome_of(m, name);
	return true;
}

json_t *machine_list(struct machine *m)
{
	json_t *list = json_array();

	for (guint i = 0; i < m->agent.commands->len; i++) {
		const struct agent_command *c =
			&g_array_index(m->agent.commands, struct agent_command, i);

		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s}", "id", c->id, "name", c->name,
						"status", command_status_text(c->status)));
	}
	return list;
}
