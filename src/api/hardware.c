#include "hardware.h"

#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "jsons.h"
#include "request.h"

const struct hardware_interface hardware_interfaces[HARDWARE_INTERFACES] = {
	[HARDWARE_BIOS] = {"bios", NODE_ATTR_bios_interface, 40, true},
	[HARDWARE_BOOT] = {"boot", NODE_ATTR_boot_interface, 31, true},
	[HARDWARE_CONSOLE] = {"console", NODE_ATTR_console_interface, 31, true},
	[HARDWARE_DEPLOY] = {"deploy", NODE_ATTR_deploy_interface, 31, true},
	[HARDWARE_FIRMWARE] = {"firmware", NODE_ATTR_firmware_interface, 86, true},
	[HARDWARE_INSPECT] = {"inspect", NODE_ATTR_inspect_interface, 31, true},
	[HARDWARE_MANAGEMENT] = {"management", NODE_ATTR_management_interface, 31, true},
	[HARDWARE_NETWORK] = {"network", NODE_ATTR_network_interface, 20, true},
	[HARDWARE_POWER] = {"power", NODE_ATTR_power_interface, 31, true},
	[HARDWARE_RAID] = {"raid", NODE_ATTR_raid_interface, 31, true},
	[HARDWARE_RESCUE] = {"rescue", NODE_ATTR_rescue_interface, 38, true},
	[HARDWARE_STORAGE] = {"storage", NODE_ATTR_storage_interface, 33, true},
	[HARDWARE_VENDOR] = {"vendor", NODE_ATTR_vendor_interface, 31, false},
};

/* clang-format off */
#define AGENT_PROPERTIES                                                                          \
	{"agent_address", "Numeric address of the node while its ramdisk runs; without it one is " \
			  "taken from [boot]address_pool. Optional."},                            \
	{"agent_transport", "How the channel to the agent is secured: psk, pinned or http; "      \
			    "default is [agent]transport. Optional."},                            \
	{"agent_poll_only", "Whether the conductor polls the agent, which never calls; default is "  \
			    "[agent]poll_only. Optional."},                                        \
	{"agent_delivery", "How the agent gets its token: boot, cmdline, of an active node " \
			   "lookup, or, of a passive node and if it is allowed, contact; default "   \
			   "is [agent]token_delivery. Optional."},                                \
	{"fast_track", "Whether cleaning leaves its agent up for the next operation: true or false; " \
		       "default is [deploy]fast_track. Optional."},                               \
	{"deploy_kernel", "Kernel of another ramdisk: a path below the boot host's http root, or " \
			  "a URL. Needs deploy_ramdisk. Optional."},                              \
	{"deploy_ramdisk", "The ramdisk that belongs to it. Optional."},                          \
	{"deploy_iso", "Another ISO for virtual media: a path below the boot host's http root. "  \
		       "Optional."},                                                              \
	{"rescue_kernel", "Kernel of what a rescue boots, as deploy_kernel, which it boots " \
			  "otherwise. Needs rescue_ramdisk. Optional."}, \
	{"rescue_ramdisk", "The ramdisk that belongs to it. Optional."}, \
	{"rescue_iso", "The ISO that a rescue boots from virtual media: a path as deploy_iso, which " \
		       "it boots otherwise. Optional."}, \
	{"kernel_append_params", "Kernel arguments of the ramdisk instead of "                    \
				 "[agent]kernel_append_params, for which %default% stands. "      \
				 "Optional."},                                                    \
	{"agent_certificate_sha256", "SHA-256 of the agent's certificate, for the transport "     \
				     "pinned. Optional."}

static const struct hardware_property fake_properties[] = {AGENT_PROPERTIES, {NULL, NULL}};

static const struct hardware_property redfish_properties[] = {
	{"redfish_address", "URL of the Redfish service: https:// and a numeric address. Required."},
	{"redfish_system_id", "Path of the system, for example /redfish/v1/Systems/1. Required only if "
			      "the service has more than one system."},
	{"redfish_username", "User name. Optional."},
	{"redfish_password", "Password; stored sealed. Optional."},
	{"redfish_verify_ca", "Check the certificate: true or false; default is true. Optional."},
	{"redfish_auth_type", "basic, session or auto; default is auto. Optional."},
	AGENT_PROPERTIES,
	{NULL, NULL}};
/* clang-format on */

static const struct hardware_type types[] = {
	{.name = "fake-hardware",
	 .offers = {[HARDWARE_BIOS] = "fake,no-bios",
		    [HARDWARE_BOOT] = "fake,ipxe,pxe",
		    [HARDWARE_CONSOLE] = "fake,no-console",
		    [HARDWARE_DEPLOY] = "fake,direct",
		    [HARDWARE_FIRMWARE] = "fake,no-firmware",
		    [HARDWARE_INSPECT] = "fake,no-inspect",
		    [HARDWARE_MANAGEMENT] = "fake,noop",
		    [HARDWARE_NETWORK] = "noop",
		    [HARDWARE_POWER] = "fake",
		    [HARDWARE_RAID] = "fake,no-raid",
		    [HARDWARE_RESCUE] = "fake,agent,no-rescue",
		    [HARDWARE_STORAGE] = "noop",
		    [HARDWARE_VENDOR] = "fake,no-vendor"},
	 .properties = fake_properties,
	 .boot_devices = "pxe"},
	{.name = "redfish",
	 .offers = {[HARDWARE_BIOS] = "no-bios",
		    [HARDWARE_BOOT] = "ipxe,pxe,redfish-virtual-media",
		    [HARDWARE_CONSOLE] = "no-console",
		    [HARDWARE_DEPLOY] = "direct",
		    [HARDWARE_FIRMWARE] = "no-firmware",
		    [HARDWARE_INSPECT] = "no-inspect",
		    [HARDWARE_MANAGEMENT] = "redfish",
		    [HARDWARE_NETWORK] = "noop",
		    [HARDWARE_POWER] = "redfish",
		    [HARDWARE_RAID] = "no-raid",
		    [HARDWARE_RESCUE] = "agent,no-rescue",
		    [HARDWARE_STORAGE] = "noop",
		    [HARDWARE_VENDOR] = "no-vendor"},
	 .properties = redfish_properties,
	 .boot_devices = "pxe,disk,cdrom"},
};

static const struct hardware_type *find_built_in(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}

const struct hardware_type *hardware_find(const struct config *c, const char *name)
{
	if (!g_strv_contains(config_list(c, OPTION_DEFAULT_enabled_hardware_types), name))
		return NULL;
	return find_built_in(name);
}

bool hardware_check_config(const struct config *c, GError **error)
{
	const char *const *names = config_list(c, OPTION_DEFAULT_enabled_hardware_types);

	for (size_t i = 0; names[i]; i++)
		if (!find_built_in(names[i]))
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"[DEFAULT]enabled_hardware_types: there is no hardware type '%s'",
				names[i]);
	return true;
}

char *hardware_default(const struct hardware_type *h, enum hardware_kind kind)
{
	const char *offers = h->offers[kind];

	return g_strndup(offers, (size_t)(strchrnul(offers, ',') - offers));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "['direct', 'fake']": what any enabled type offers, sorted, if the name is not among it. */
static char *others_if_unknown(const struct config *c, enum hardware_kind kind, const char *name)
{
	const char *const *enabled = config_list(c, OPTION_DEFAULT_enabled_hardware_types);
	g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);

	for (size_t i = 0; enabled[i]; i++) {
		const struct hardware_type *h = find_built_in(enabled[i]);
		g_auto(GStrv) offers = g_strsplit(h ? h->offers[kind] : "", ",", -1);

		for (size_t j = 0; offers[j]; j++)
			if (!g_ptr_array_find_with_equal_func(all, offers[j], g_str_equal, NULL))
				g_ptr_array_add(all, g_strdup(offers[j]));
	}
	if (g_ptr_array_find_with_equal_func(all, name, g_str_equal, NULL))
		return NULL;
	g_ptr_array_sort(all, compare_names);
	g_ptr_array_add(all, NULL);
	g_autofree char *joined = g_strjoinv("', '", (char **)all->pdata);

	return g_strdup_printf("['%s']", joined);
}

static bool settle_one(const struct config *c, const struct hardware_type *h,
		       enum hardware_kind kind, struct node *n, attr_set changed, GError **error)
{
	const struct hardware_interface *i = &hardware_interfaces[kind];
	char **name = (char **)(void *)((char *)n + node_attrs.attrs[i->attr].offset);

	if (!*name) {
		*name = hardware_default(h, kind);
		attr_set_add(changed, i->attr);
		return true;
	}
	if (word_in_list(h->offers[kind], *name))
		return true;
	g_autofree char *valid = others_if_unknown(c, kind, *name);

	if (valid)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Could not find the following interface in the "
				      "'ironic.hardware.interfaces.%s' entrypoint: %s. Valid "
				      "interfaces are %s.",
				      i->kind, *name, valid);
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "%s interface implementation '%s' is not supported by hardware type "
			      "%s.",
			      i->kind, *name, h->name);
}

bool hardware_settle(const struct config *c, const struct hardware_type *h, struct node *n,
		     attr_set changed, GError **error)
{
	for (enum hardware_kind i = 0; i < HARDWARE_INTERFACES; i++)
		if (!settle_one(c, h, i, n, changed, error))
			return false;
	return true;
}

/* The sentence with which the conductor's side would refuse, or NULL. */
static char *sentence_of(GError *error)
{
	char *sentence = error ? g_strdup(error->message) : NULL;

	g_clear_error(&error);
	return sentence;
}

static char *deploy_problem(const struct node *n, const struct agent_defaults *agents)
{
	GError *error = NULL;
	struct deployment_mode mode;
	g_autoptr(json_t) image = deployment_image_info(n, &error);

	if (image)
		(void)!deployment_mode(n, agents, &mode, &error);
	return sentence_of(error);
}

static char *rescue_problem(const struct node *n, const struct agent_defaults *agents)
{
	GError *error = NULL;

	return deployment_check_rescue_boot(n, agents, &error) ? NULL : sentence_of(error);
}

static char *power_problem(const struct node *n)
{
	GError *error = NULL;

	return deployment_check_power(n, &error) ? NULL : sentence_of(error);
}

char *hardware_problem(const struct hardware_type *h, enum hardware_kind kind, const struct node *n,
		       const struct agent_defaults *agents)
{
	g_autoptr(json_t) value = attr_to_json(&node_attrs, n, hardware_interfaces[kind].attr);
	const char *name = json_string_value(value);

	if (name && g_str_has_prefix(name, "no-"))
		return g_strdup_printf("Driver %s does not support %s (disabled or not "
				       "implemented).",
				       h->name, hardware_interfaces[kind].kind);
	if (kind == HARDWARE_POWER || kind == HARDWARE_MANAGEMENT)
		return power_problem(n);
	if (kind == HARDWARE_DEPLOY)
		return deploy_problem(n, agents);
	if (kind == HARDWARE_RESCUE && g_strcmp0(name, "agent") == 0)
		return rescue_problem(n, agents);
	return NULL;
}
