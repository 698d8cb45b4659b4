#include "agent_call.h"

#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "jsons.h"
#include "port.h"

/* The microversion whose attributes agents are shown. */
#define AGENT_MINOR 109

static const struct call {
	const char *name;
	bool waits;
} calls[ACTION_COUNT] = {
	[ACTION_IDENTIFY] = {"poll.get_hardware_info", true},
	[ACTION_CLAIM] = {"poll.set_node_info", true},
	[ACTION_LOAD_STEPS] = {.waits = true}, /* named after the kind of steps */
	[ACTION_FINALIZE] = {"rescue.finalize_rescue", true},
	[ACTION_SYNC] = {"standby.sync", true},
	[ACTION_AGENT_OFF] = {"standby.power_off", false},
};

const char *agent_call_name(const struct flow *f)
{
	enum action action = flow_action(f);

	if (action == ACTION_LOAD_STEPS)
		return flow_words(f)->get;
	return action == ACTION_STEP_SEND ? flow_words(f)->execute : calls[action].name;
}

bool agent_call_waits(enum action action)
{
	return calls[action].waits;
}

/* Masked as the API shows it; the config drive goes as an argument of its own. */
static json_t *node_for_agent(const struct node *n)
{
	static const struct step_words *const kinds[] = {&deploy_words, &clean_words};
	static const char *const fields[] = {"uuid",
					     "name",
					     "driver_info",
					     "driver_internal_info",
					     "instance_info",
					     "properties",
					     "provision_state",
					     "target_raid_config",
					     NULL};
	json_t *shown = attrs_to_json(&node_attrs, n, A_READ, AGENT_MINOR, fields);

	json_object_del(json_object_get(shown, "instance_info"), "configdrive");
	json_t *info = json_object_get(shown, "driver_internal_info");

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		json_object_del(info, kinds[i]->steps);
		json_object_del(info, kinds[i]->wanted);
	}
	return shown;
}

static json_t *ports_for_agent(const GPtrArray *ports)
{
	json_t *list = json_array();

	for (guint i = 0; i < ports->len; i++) {
		const struct port *p = ports->pdata[i];
		char mac[MAC_TEXT];

		mac_print(p->address, mac);
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:b}", "uuid", p->uuid.s, "address",
						mac, "pxe_enabled", p->pxe_enabled));
	}
	return list;
}

static json_t *claim_params(const struct config *conf, const struct node *n)
{
	json_int_t timeout = config_span(conf, OPTION_api_ramdisk_heartbeat_timeout).us / 1000000;

	return json_pack("{s:{s:o, s:{s:I}}}", "node_info", "node", node_for_agent(n), "config",
			 "heartbeat_timeout", timeout);
}

/* The step with the arguments that only the conductor knows. */
static json_t *step_for_agent(const struct node *n, const struct flow *f, GError **error)
{
	const json_t *list = json_object_get(n->driver_internal_info, flow_words(f)->steps);
	const json_t *known = json_array_get(list, (size_t)f->step);
	const char *name = json_peek_string(known, "step");

	if (!name) {
		inox_error_set(error, INOX_ERROR_INVALID, "the step is not in the node's list");
		return NULL;
	}
	g_autoptr(json_t) step = json_deep_copy(known);

	if (!json_peek_object(step, "args"))
		json_object_set_new(step, "args", json_object());
	if (flow_words(f) == &deploy_words && strcmp(name, "write_image") == 0) {
		json_t *image = deployment_image_info(n, error);
		json_t *args = json_peek_object(step, "args");

		if (!image)
			return NULL;
		json_object_set_new(args, "image_info", image);
		json_object_set_new(args, "configdrive",
				    n->config_drive ? json_string(n->config_drive) : json_null());
	}
	return g_steal_pointer(&step);
}

static json_t *step_params(const struct node *n, const struct flow *f, const GPtrArray *ports,
			   GError **error)
{
	json_t *step = step_for_agent(n, f, error);
	json_t *versions = json_object_get(n->driver_internal_info, "hardware_manager_version");

	if (!step)
		return NULL;
	return json_pack("{s:o, s:o, s:o, s:O?}", "step", step, "node", node_for_agent(n), "ports",
			 ports_for_agent(ports), flow_words(f)->version, versions);
}

json_t *agent_call_params(const struct config *conf, const struct node *n, const struct flow *f,
			  const GPtrArray *ports, GError **error)
{
	switch (flow_action(f)) {
	case ACTION_CLAIM: return claim_params(conf, n);
	case ACTION_LOAD_STEPS:
		return json_pack("{s:o, s:o}", "node", node_for_agent(n), "ports",
				 ports_for_agent(ports));
	case ACTION_STEP_SEND: return step_params(n, f, ports, error);
	case ACTION_NONE:
	case ACTION_GET_POWER:
	case ACTION_POWER_OFF:
	case ACTION_POWER_ON:
	case ACTION_SOFT_OFF:
	case ACTION_CONFIRM_OFF:
	case ACTION_BOOT_PXE:
	case ACTION_BOOT_CD:
	case ACTION_INSERT:
	case ACTION_EJECT:
	case ACTION_EMPTY_DRIVE:
	case ACTION_BOOT_DISK:
	case ACTION_BOOT_INSTANCE:
	case ACTION_PUBLISH:
	case ACTION_WITHDRAW_TOKEN:
	case ACTION_WITHDRAW:
	case ACTION_WITHDRAW_BOOT:
	case ACTION_FINALIZE:
	case ACTION_CONTACT:
	case ACTION_KEEP_AGENT:
	case ACTION_IDLE:
	case ACTION_HOLD:
	case ACTION_PAUSE:
	case ACTION_IDENTIFY:
	case ACTION_STEP_WAIT:
	case ACTION_SYNC:
	case ACTION_AGENT_OFF:
	case ACTION_COUNT: break;
	}
	return json_object();
}

enum watch_phase agent_call_watch(enum flow_watch want)
{
	static const enum watch_phase phases[] = {[WATCH_OFF] = WATCH_IDLE,
						  [WATCH_FIRST] = WATCH_FIRST_CONTACT,
						  [WATCH_ON] = WATCH_WORKING,
						  [WATCH_STILL] = WATCH_IDLE};

	return phases[want];
}
