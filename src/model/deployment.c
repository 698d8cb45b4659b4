#include "deployment.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "ramdisk.h"

#define URL_MAX    2048
#define DIGEST_MAX 512

static bool is_url(const char *text)
{
	if (!g_str_has_prefix(text, "http://") && !g_str_has_prefix(text, "https://"))
		return false;
	for (const char *p = text; *p; p++)
		if (!g_ascii_isgraph(*p))
			return false;
	return strlen(text) <= URL_MAX;
}

static bool is_digest(const char *text)
{
	return text && *text && strlen(text) <= DIGEST_MAX;
}

static const char *info_text(const struct node *n, const char *key)
{
	return json_peek_string(n->instance_info, key);
}

/* Either image_checksum, or image_os_hash_algo with image_os_hash_value. */
static bool add_checksum(const struct node *n, json_t *image, GError **error)
{
	const char *checksum = info_text(n, "image_checksum");
	const char *algo = info_text(n, "image_os_hash_algo");
	const char *value = info_text(n, "image_os_hash_value");

	if (!algo != !value)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "instance_info needs image_os_hash_algo and "
				      "image_os_hash_value together");
	if (!checksum && !algo)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "image_source's image_checksum, or image_os_hash_algo and "
				      "image_os_hash_value, must be given in instance_info");
	if ((checksum && !is_digest(checksum)) || (algo && (!is_digest(algo) || !is_digest(value))))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "instance_info holds an empty or oversized image checksum");
	if (checksum)
		json_object_set_new(image, "checksum", json_string(checksum));
	if (algo) {
		json_object_set_new(image, "os_hash_algo", json_string(algo));
		json_object_set_new(image, "os_hash_value", json_string(value));
	}
	return true;
}

static bool check_image(const struct node *n, const char *source, GError **error)
{
	const char *type = info_text(n, "image_type");

	if (!source)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"Node %s failed to validate deploy image info. Some parameters "
			"were missing. Missing are: ['instance_info.image_source']",
			n->uuid.s);
	if (!is_url(source))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"instance_info.image_source must be an http:// or https:// URL");
	if (type && strcmp(type, "partition") == 0)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"instance_info.image_type: partition images are not supported "
			"by this release of Inox");
	return true;
}

json_t *deployment_image_info(const struct node *n, GError **error)
{
	const char *source = info_text(n, "image_source");
	const char *url = info_text(n, "image_url");
	const char *format = info_text(n, "image_disk_format");
	const char *container = info_text(n, "image_container_format");

	if (!check_image(n, source, error))
		return NULL;
	if (!url)
		url = source;
	if (!is_url(url)) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "instance_info.image_url must be an http:// or https:// URL");
		return NULL;
	}
	const char *name = strrchr(source, '/') + 1;
	g_autoptr(json_t) image =
		json_pack("{s:s, s:[s], s:s?, s:s?, s:b, s:s}", "id", *name ? name : "image",
			  "urls", url, "disk_format", format, "container_format", container,
			  "stream_raw_images", 1, "node_uuid", n->uuid.s);

	if (!add_checksum(n, image, error))
		return NULL;
	return g_steal_pointer(&image);
}

bool deployment_check_power(const struct node *n, GError **error)
{
	if (g_strcmp0(n->driver, "redfish") == 0 &&
	    !json_peek_string(n->driver_info, "redfish_address"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Missing the following Redfish properties in node's "
				      "driver_info: ['redfish_address']");
	return true;
}

bool deployment_check_rescue(const struct node *n, GError **error)
{
	if (n->rescue_interface && g_str_has_prefix(n->rescue_interface, "no-"))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"Driver %s does not support rescue (disabled or not implemented).",
			n->driver);
	return true;
}

bool deployment_check_rescue_boot(const struct node *n, const struct agent_defaults *defaults,
				  GError **error)
{
	struct deployment_mode mode;
	struct ramdisk ramdisk;

	return ramdisk_read(n, RAMDISK_RESCUE, "", &ramdisk, error) &&
	       deployment_mode(n, defaults, &mode, error);
}

/* "boot_mode:uefi,secure_boot:true" */
static int mode_in_list(const char *text)
{
	g_auto(GStrv) pairs = g_strsplit(text, ",", 64);

	for (char **p = pairs; *p; p++) {
		char *pair = g_strstrip(*p);

		if (g_str_has_prefix(pair, "boot_mode:"))
			return boot_mode_parse(pair + strlen("boot_mode:"));
	}
	return -1;
}

/* Command lines often make a text of what was meant as an object. */
static int mode_in_text(const char *text)
{
	g_autoptr(json_t) object = NULL;

	if (*text != '{')
		return mode_in_list(text);
	object = json_parse_limited(text, strlen(text), LIMIT_NODE_JSON, "capabilities", NULL);
	const char *mode = json_peek_string(object, "boot_mode");

	return mode ? boot_mode_parse(mode) : -1;
}

static int mode_in(const json_t *object)
{
	const json_t *capabilities = json_object_get(object, "capabilities");
	const char *mode = json_peek_string(capabilities, "boot_mode");

	if (mode)
		return boot_mode_parse(mode);
	return json_is_string(capabilities) ? mode_in_text(json_string_value(capabilities)) : -1;
}

enum boot_mode deployment_boot_mode(const struct node *n)
{
	int mode = mode_in(n->instance_info);

	if (mode < 0)
		mode = mode_in(n->properties);
	return mode < 0 ? BOOT_MODE_UNKNOWN : (enum boot_mode)mode;
}

bool deployment_flag(const struct node *n, const char *key, bool otherwise, bool *ret_flag,
		     GError **error)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"true", true},   {"yes", true}, {"1", true},  {"on", true},
		     {"false", false}, {"no", false}, {"0", false}, {"off", false}};
	const json_t *value = json_object_get(n->driver_info, key);
	const char *text = json_string_value(value);

	if (!value || json_is_boolean(value)) {
		*ret_flag = value ? json_is_true(value) : otherwise;
		return true;
	}
	for (size_t i = 0; text && i < G_N_ELEMENTS(words); i++)
		if (g_ascii_strcasecmp(text, words[i].word) == 0) {
			*ret_flag = words[i].value;
			return true;
		}
	return inox_error_set(error, INOX_ERROR_INVALID, "driver_info.%s must be true or false",
			      key);
}

static bool is_delivery(const char *text)
{
	static const char *const ways[] = {"boot", "cmdline", "lookup", "contact", NULL};

	return g_strv_contains(ways, text);
}

/* Whether the token may go to whoever answers first. */
static bool check_contact(const struct node *n, const struct agent_defaults *defaults, bool active,
			  GError **error)
{
	enum agent_transport transport;

	if (active)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the token is to be given at the first contact, and the node is in active "
			"mode: use the passive mode, or another driver_info.agent_delivery or "
			"[agent]token_delivery");
	if (!defaults->allow_contact)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the token is to be given at the first contact, which is not allowed: set "
			"[agent]allow_first_contact, or use another driver_info.agent_delivery or "
			"[agent]token_delivery");
	if (!deployment_transport(n, defaults->transport ? defaults->transport : "psk", &transport,
				  error))
		return false;
	return transport != TRANSPORT_PINNED ||
	       inox_error_set(error, INOX_ERROR_INVALID,
			      "the token is to be given at the first contact, and the transport is "
			      "pinned: use psk or http, or another driver_info.agent_delivery or "
			      "[agent]token_delivery");
}

bool deployment_mode(const struct node *n, const struct agent_defaults *defaults,
		     struct deployment_mode *ret_mode, GError **error)
{
	const char *delivery = json_peek_string(n->driver_info, "agent_delivery");
	struct deployment_mode mode = {.by_lookup = defaults->by_lookup,
				       .by_contact = defaults->by_contact};
	struct ramdisk ramdisk;
	bool polled, fast;

	if (!deployment_flag(n, "fast_track", false, &fast, error) ||
	    !deployment_flag(n, "agent_poll_only", !defaults->active, &polled, error))
		return false;
	if (delivery && !is_delivery(delivery))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_info.agent_delivery must be boot, cmdline, lookup or "
				      "contact");
	if (!ramdisk_read(n, RAMDISK_DEPLOY, "", &ramdisk, error))
		return false;
	if (!polled && !defaults->api_url)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the node is in active mode, and there is no URL at which its agent could "
			"reach the API: set [service_catalog]endpoint_override or "
			"[api]public_endpoint, or use the passive mode ([agent]poll_only = true, or "
			"driver_info.agent_poll_only of the node)");
	if (!polled && defaults->closed)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the node is in active mode, and [api]disable_agent_api = true refuses what "
			"its agent would call: use the passive mode ([agent]poll_only = true, or "
			"driver_info.agent_poll_only of the node), or open it");
	if (delivery) {
		mode.by_lookup = strcmp(delivery, "lookup") == 0;
		mode.by_contact = strcmp(delivery, "contact") == 0;
	}
	if (mode.by_contact && !check_contact(n, defaults, !polled, error))
		return false;
	mode.active = !polled;
	/* Who does not call cannot look up. */
	mode.by_lookup &= mode.active;
	*ret_mode = mode;
	return true;
}

bool deployment_transport(const struct node *n, const char *otherwise,
			  enum agent_transport *ret_transport, GError **error)
{
	const char *own = json_peek_string(n->driver_info, "agent_transport");
	int transport = agent_transport_parse(own ? own : otherwise);

	if (transport < 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_info.agent_transport must be psk, pinned or http");
	*ret_transport = (enum agent_transport)transport;
	return true;
}

bool deployment_uses_media(const struct node *n)
{
	return g_strcmp0(n->boot_interface, "redfish-virtual-media") == 0;
}
