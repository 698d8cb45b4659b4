/* Actions that ask the node's BMC. */
#include "act.h"
#include "deployment.h"
#include "errors.h"
#include "jsons.h"
#include "media_call.h"

#define BMC_TIMEOUT_S 30

static struct secret *open_password(struct conductor *c, const struct node *n, GError **error)
{
	const char *text = json_peek_string(n->driver_info, "redfish_password");

	if (!text)
		return NULL;
	return seal_is_sealed(text) ? seal_open(c->key, n->uuid.s, text, error) : secret_new(text);
}

bool fill_bmc_request(struct conductor *c, const struct node *n, enum bmc_operation operation,
		      struct message *ret_message, GError **error)
{
	const json_t *info = n->driver_info;
	const char *address = json_peek_string(info, "redfish_address");
	const char *auth = json_peek_string(info, "redfish_auth_type");
	g_autoptr(GError) sealed = NULL;
	struct message m = {.type = MESSAGE_bmc_request};
	bool verify;
	int auth_type = auth ? bmc_auth_parse(auth) : BMC_AUTH_AUTO;

	if (auth_type < 0)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"driver_info.redfish_auth_type must be auto, session or basic");
	if (g_strcmp0(n->driver, "redfish") == 0 &&
	    !address_check_bmc(c->config, address ? address : "", error))
		return false;
	if (!deployment_flag(n, "redfish_verify_ca", true, &verify, error))
		return false;
	struct secret *password = open_password(c, n, &sealed);

	if (sealed) {
		g_propagate_prefixed_error(error, g_steal_pointer(&sealed),
					   "driver_info.redfish_password: ");
		return false;
	}
	m.bmc_request = (struct message_bmc_request){
		.request = c->next_request,
		.node = n->uuid,
		.operation = operation,
		.driver = g_strdup(n->driver),
		.address = g_strdup(address),
		.system = g_strdup(json_peek_string(info, "redfish_system_id")),
		.username = g_strdup(json_peek_string(info, "redfish_username")),
		.password = password,
		.verify = verify,
		.auth = (uint32_t)auth_type,
		.timeout_s = BMC_TIMEOUT_S,
	};
	*ret_message = m;
	return true;
}

static enum power_target power_target_of(enum action action)
{
	if (action == ACTION_POWER_ON)
		return TARGET_POWER_ON;
	return action == ACTION_SOFT_OFF ? TARGET_SOFT_POWER_OFF : TARGET_POWER_OFF;
}

static bool send_bmc(struct act *a, enum bmc_operation operation, enum boot_device device,
		     GError **error)
{
	g_auto(message) m = {.type = MESSAGE_NONE};

	if (act_is_under_way(a, ROLE_BMC))
		return true;
	if (!fill_bmc_request(a->c, a->n, operation, &m, error))
		return false;
	m.bmc_request.power = power_target_of(flow_action(&a->f));
	m.bmc_request.device = device;
	m.bmc_request.persistent = device == BOOT_DEVICE_DISK;
	m.bmc_request.boot_mode = device == BOOT_DEVICE_NONE ? 0 : deployment_boot_mode(a->n);
	return act_ask(a, ROLE_BMC, false, &m, BMC_TIMEOUT_S, error);
}

bool act_get_power(struct act *a, GError **error)
{
	return send_bmc(a, BMC_GET_POWER, BOOT_DEVICE_NONE, error);
}

bool act_power(struct act *a, GError **error)
{
	return send_bmc(a, a->f.asked_at.us ? BMC_GET_POWER : BMC_SET_POWER, BOOT_DEVICE_NONE,
			error);
}

bool act_boot_pxe(struct act *a, GError **error)
{
	return send_bmc(a, BMC_SET_BOOT, BOOT_DEVICE_PXE, error);
}

/* The boot begins again then. */
static bool is_over(struct act *a)
{
	struct item item = {
		.kind = ITEM_MEDIA_OVER, .node = a->run->node, .turn = (uint64_t)a->f.turn};

	if (!flow_is_before_media(&a->f) || !media_call_is_over(a->f.path))
		return false;
	conductor_post(a->c, &item);
	return true;
}

bool act_boot_cd(struct act *a, GError **error)
{
	return act_is_under_way(a, ROLE_BMC) || is_over(a) ||
	       send_bmc(a, BMC_SET_BOOT, BOOT_DEVICE_CDROM, error);
}

static bool send_media(struct act *a, enum bmc_operation operation, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_NONE};
	g_autofree char *url = NULL;

	if (act_is_under_way(a, ROLE_BMC) || is_over(a))
		return true;
	if (operation == BMC_INSERT_MEDIA &&
	    !(url = media_call_url(a->c->config, a->f.path, error)))
		return false;
	if (!fill_bmc_request(a->c, a->n, operation, &m, error))
		return false;
	m.bmc_request.media_url = g_steal_pointer(&url);
	m.bmc_request.timeout_s = MEDIA_CALL_SECONDS;
	return act_ask(a, ROLE_BMC, false, &m, MEDIA_CALL_SECONDS, error);
}

bool act_insert(struct act *a, GError **error)
{
	return send_media(a, BMC_INSERT_MEDIA, error);
}

bool act_eject(struct act *a, GError **error)
{
	return send_media(a, BMC_EJECT_MEDIA, error);
}

bool act_boot_disk(struct act *a, GError **error)
{
	return send_bmc(a, BMC_SET_BOOT, BOOT_DEVICE_DISK, error);
}
