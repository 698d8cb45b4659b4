/* The routes, each once.  The first that fits wins, so literal paths stand before variable ones. */
#include <string.h>

#include "agents.h"
#include "documents.h"
#include "nodes.h"
#include "ports.h"

#define PAGING "limit,marker,sort_key,sort_dir,fields,detail,"
#define NODE_FILTERS                                                                         \
	"instance_uuid,associated,maintenance,chassis_uuid,provision_state,driver,"          \
	"resource_class,fault,conductor_group,conductor,owner,description_contains,retired," \
	"lessee,project,shard,sharded,parent_node,include_children,instance_name"
#define PORT_FILTERS "node,node_uuid,address,portgroup,description_contains,conductor_groups"
#define NODE_PAGING  "limit,marker,sort_key,sort_dir,"
#define CHANGE       R_WRITE | R_NODE | R_UNLOCKED
#define HEARTBEAT \
	"callback_url,agent_version,agent_token,agent_verify_ca,agent_status,agent_status_message"
#define NO_TEMPLATES   "The API version does not allow deploy templates"
#define NO_RUNBOOKS    "The API version does not allow runbooks"
#define NO_RULES       "The API version does not allow inspection rules"
#define NO_ALLOCATIONS "The API version does not allow allocations"
#define NOT_YET        "The API is not supported for this version"
#define NO_BOOT_MODE   "This endpoint is supported starting with the API version 1.76"

/* clang-format off */
const struct route api_routes[] = {
	{"GET",    "/",                  document_root,    R_OWN | R_ANY_QUERY},
	{"GET",    "/v1",                document_v1,      R_ANY_QUERY, 1},
	{"HEAD",   "/v1",                document_v1,      R_ANY_QUERY, 1},
	{"GET",    "/healthcheck",       document_health,  R_OWN | R_ANY_QUERY},
	{"GET",    "/metrics",           document_metrics, R_OWN | R_ANY_QUERY},

	{"GET",    "/v1/nodes",          nodes_list,        0, 1, .arguments = PAGING NODE_FILTERS},
	{"POST",   "/v1/nodes",          nodes_create,      R_WRITE | R_BODY, 1},
	{"GET",    "/v1/nodes/detail",   nodes_list_detail, 0, 1, .arguments = NODE_PAGING NODE_FILTERS},
	{"GET",    "/v1/nodes/validate", node_validate_argument, 0, 1, .arguments = "node"},
	{"GET",    "/v1/nodes/{}",       nodes_show,        R_NODE, 1, .arguments = "fields"},
	{"PATCH",  "/v1/nodes/{}",       nodes_patch,       R_WRITE | R_NODE | R_PATCH, 1, .arguments = "reset_interfaces"},
	{"DELETE", "/v1/nodes/{}",       nodes_delete,      R_WRITE | R_NODE, 1},

	{"GET",    "/v1/nodes/{}/flow",             node_flow_show,         R_NODE | R_OWN},
	{"GET",    "/v1/nodes/{}/validate",         node_validate,          R_NODE, 1},
	{"GET",    "/v1/nodes/{}/states",           node_states_show,       R_NODE, 1},
	{"PUT",    "/v1/nodes/{}/states/provision", node_provision,         R_WRITE | R_NODE | R_BODY | R_LARGE, 1},
	{"PUT",    "/v1/nodes/{}/states/power",     node_power,             R_WRITE | R_NODE | R_BODY, 1},
	{"PUT",    "/v1/nodes/{}/states/raid",      node_unsupported,       R_NODE, 12, OLD_NOT_ACCEPTABLE},
	{"PUT",    "/v1/nodes/{}/states/boot_mode", node_unsupported,       R_NODE, 76, OLD_NOT_FOUND, NO_BOOT_MODE},
	{"PUT",    "/v1/nodes/{}/states/secure_boot", node_unsupported,     R_NODE, 76, OLD_NOT_FOUND, NO_BOOT_MODE},
	{"GET",    "/v1/nodes/{}/states/console",   node_unsupported,       R_NODE, 1},
	{"PUT",    "/v1/nodes/{}/states/console",   node_unsupported,       R_NODE, 1},
	{"PUT",    "/v1/nodes/{}/maintenance",      node_maintenance_set,   CHANGE | R_BODY, 1},
	{"DELETE", "/v1/nodes/{}/maintenance",      node_maintenance_clear, CHANGE, 1},
	{"GET",    "/v1/nodes/{}/management/boot_device", node_boot_device_show, R_NODE, 1},
	{"PUT",    "/v1/nodes/{}/management/boot_device", node_boot_device_set,  R_NODE | R_UNLOCKED | R_BODY, 1, .arguments = "boot_device,persistent"},
	{"GET",    "/v1/nodes/{}/management/boot_device/supported", node_boot_device_supported, R_NODE, 1},
	{"PUT",    "/v1/nodes/{}/management/inject_nmi", node_unsupported,  R_NODE, 29},
	{"GET",    "/v1/nodes/{}/management/indicators", node_empty_list,   R_NODE, 1},
	{"GET",    "/v1/nodes/{}/vendor_passthru/methods", node_unsupported, R_NODE, 1},
	{"GET",    "/v1/nodes/{}/vendor_passthru",  node_unsupported,       R_NODE | R_ANY_QUERY, 1},
	{"POST",   "/v1/nodes/{}/vendor_passthru",  node_unsupported,       R_NODE | R_ANY_QUERY, 1},
	{"GET",    "/v1/nodes/{}/vendor_passthru/{}", node_unsupported,     R_NODE | R_ANY_QUERY, 1},
	{"POST",   "/v1/nodes/{}/vendor_passthru/{}", node_unsupported,     R_NODE | R_ANY_QUERY, 1},
	{"GET",    "/v1/nodes/{}/vifs",             node_empty_list,        R_NODE, 28},
	{"POST",   "/v1/nodes/{}/vifs",             node_vif_attach,        R_NODE | R_UNLOCKED | R_BODY, 28},
	{"DELETE", "/v1/nodes/{}/vifs/{}",          node_vif_detach,        R_NODE | R_UNLOCKED, 28},
	{"GET",    "/v1/nodes/{}/traits",           node_traits_list,       R_NODE, 37, OLD_NOT_ACCEPTABLE},
	{"PUT",    "/v1/nodes/{}/traits",           node_traits_set,        CHANGE | R_BODY, 37, OLD_METHOD},
	{"DELETE", "/v1/nodes/{}/traits",           node_traits_clear,      CHANGE, 37},
	{"PUT",    "/v1/nodes/{}/traits/{}",        node_trait_add,         CHANGE | R_BODY, 37, OLD_METHOD},
	{"DELETE", "/v1/nodes/{}/traits/{}",        node_trait_remove,      CHANGE, 37},
	{"GET",    "/v1/nodes/{}/bios",             node_empty_list,        R_NODE, 40, .arguments = "detail,fields"},
	{"GET",    "/v1/nodes/{}/firmware",         node_empty_list,        R_NODE, 86, OLD_ROUTE, "The API version does not allow node firmware"},
	{"GET",    "/v1/nodes/{}/history",          node_empty_list,        R_NODE, 78, .arguments = PAGING},
	{"GET",    "/v1/nodes/{}/inventory",        node_without_inventory, R_NODE, 81},
	{"GET",    "/v1/nodes/{}/children",         nodes_children,         R_NODE, 83},
	{"GET",    "/v1/nodes/{}/vmedia",           node_unsupported,       R_NODE, 93},
	{"POST",   "/v1/nodes/{}/vmedia",           node_unsupported,       R_NODE, 89},
	{"DELETE", "/v1/nodes/{}/vmedia",           node_unsupported,       R_NODE | R_ANY_QUERY, 89},
	{"GET",    "/v1/nodes/{}/allocation",       node_without_allocation, R_NODE, 52, .arguments = "fields"},
	{"DELETE", "/v1/nodes/{}/allocation",       node_without_allocation, R_NODE, 52},
	{"GET",    "/v1/nodes/{}/ports",            node_ports,             R_NODE, 1, .arguments = PAGING},
	{"GET",    "/v1/nodes/{}/ports/detail",     node_ports_detail,      R_NODE, 1, .arguments = NODE_PAGING},
	{"GET",    "/v1/nodes/{}/portgroups",       node_empty_list,        R_NODE, 24, .arguments = PAGING},
	{"GET",    "/v1/nodes/{}/volume",           node_volume,            R_NODE, 32},
	{"GET",    "/v1/nodes/{}/volume/connectors", node_empty_list,       R_NODE, 32, .arguments = PAGING},
	{"GET",    "/v1/nodes/{}/volume/targets",   node_empty_list,        R_NODE, 32, .arguments = PAGING},
	{"GET",    "/v1/nodes/{}/{}",               nodes_show_word,        R_NODE | R_FALLBACK, 1},

	{"GET",    "/v1/ports",          ports_list,        0, 1, .arguments = PAGING PORT_FILTERS},
	{"POST",   "/v1/ports",          ports_create,      R_WRITE | R_BODY, 1},
	{"GET",    "/v1/ports/detail",   ports_list_detail, 0, 1, .arguments = NODE_PAGING PORT_FILTERS},
	{"GET",    "/v1/ports/{}",       ports_show,        R_PORT, 1, .arguments = "fields"},
	{"PATCH",  "/v1/ports/{}",       ports_patch,       R_WRITE | R_PORT | R_PATCH, 1},
	{"DELETE", "/v1/ports/{}",       ports_delete,      R_WRITE | R_PORT | R_UUID, 1},

	{"GET",    "/v1/drivers",               drivers_list,       0, 1, .arguments = "type,detail,fields"},
	{"GET",    "/v1/drivers/{}",            drivers_show,       0, 1, .arguments = "fields"},
	{"GET",    "/v1/drivers/{}/properties", drivers_properties, 0, 1},
	{"GET",    "/v1/drivers/{}/raid/logical_disk_properties", drivers_raid_properties, 0, 12, OLD_NOT_ACCEPTABLE},
	{"GET",    "/v1/conductors",            conductors_list,    0, 49, OLD_NOT_FOUND, NOT_YET, PAGING},
	{"GET",    "/v1/conductors/{}",         conductors_show,    0, 49, OLD_NOT_FOUND, NOT_YET, "fields"},

	{"GET",    "/v1/lookup",                agent_lookup,    R_AGENT, 22, OLD_NOT_FOUND, NULL, "addresses,node_uuid"},
	{"POST",   "/v1/heartbeat/{}",          agent_heartbeat, R_AGENT | R_NODE | R_BODY, 22, OLD_NOT_FOUND, NULL, HEARTBEAT},
	{"POST",   "/v1/continue_inspection",   agent_refuse_inspection, R_AGENT | R_ANY_QUERY},

	/* Resources of Ironic that this server has none of. */
	{"GET",    "/v1/shards",                shards_list,    0, 82, OLD_ROUTE, "The API version does not allow shards"},
	{"GET",    "/v1/chassis",               absent_list,    R_ANY_QUERY, 1},
	{"GET",    "/v1/chassis/detail",        absent_list,    R_ANY_QUERY, 1},
	{"POST",   "/v1/chassis",               absent_write,   0, 1},
	{"GET",    "/v1/chassis/{}",            absent_element, R_ANY_QUERY, 1},
	{"GET",    "/v1/chassis/{}/nodes",      absent_element, R_ANY_QUERY, 1},
	{"PATCH",  "/v1/chassis/{}",            absent_element, 0, 1},
	{"DELETE", "/v1/chassis/{}",            absent_element, 0, 1},
	{"GET",    "/v1/portgroups",            absent_list,    R_ANY_QUERY, 23},
	{"GET",    "/v1/portgroups/detail",     absent_list,    R_ANY_QUERY, 23},
	{"POST",   "/v1/portgroups",            absent_write,   0, 23},
	{"GET",    "/v1/portgroups/{}",         absent_element, R_ANY_QUERY, 23},
	{"GET",    "/v1/portgroups/{}/ports",   absent_element, R_ANY_QUERY, 24, OLD_NOT_ACCEPTABLE},
	{"PATCH",  "/v1/portgroups/{}",         absent_element, 0, 23},
	{"DELETE", "/v1/portgroups/{}",         absent_element, 0, 23},
	{"GET",    "/v1/allocations",           absent_list,    R_ANY_QUERY, 52, OLD_ROUTE, NO_ALLOCATIONS},
	{"POST",   "/v1/allocations",           absent_write,   0, 52, OLD_METHOD, NO_ALLOCATIONS},
	{"GET",    "/v1/allocations/{}",        absent_element, R_ANY_QUERY, 52, OLD_ROUTE, NO_ALLOCATIONS},
	{"PATCH",  "/v1/allocations/{}",        absent_element, 0, 57, OLD_METHOD, NO_ALLOCATIONS},
	{"DELETE", "/v1/allocations/{}",        absent_element, 0, 52, OLD_METHOD, NO_ALLOCATIONS},
	{"GET",    "/v1/deploy_templates",      absent_list,    R_ANY_QUERY, 55, OLD_ROUTE, NO_TEMPLATES},
	{"POST",   "/v1/deploy_templates",      absent_write,   0, 55, OLD_METHOD, NO_TEMPLATES},
	{"GET",    "/v1/deploy_templates/{}",   absent_element, R_ANY_QUERY, 55, OLD_ROUTE, NO_TEMPLATES},
	{"PATCH",  "/v1/deploy_templates/{}",   absent_element, 0, 55, OLD_METHOD, NO_TEMPLATES},
	{"DELETE", "/v1/deploy_templates/{}",   absent_element, 0, 55, OLD_METHOD, NO_TEMPLATES},
	{"GET",    "/v1/runbooks",              absent_list,    R_ANY_QUERY, 92, OLD_ROUTE, NO_RUNBOOKS},
	{"POST",   "/v1/runbooks",              absent_write,   0, 92, OLD_METHOD, NO_RUNBOOKS},
	{"GET",    "/v1/runbooks/{}",           absent_element, R_ANY_QUERY, 92, OLD_ROUTE, NO_RUNBOOKS},
	{"PATCH",  "/v1/runbooks/{}",           absent_element, 0, 92, OLD_METHOD, NO_RUNBOOKS},
	{"DELETE", "/v1/runbooks/{}",           absent_element, 0, 92, OLD_METHOD, NO_RUNBOOKS},
	{"GET",    "/v1/inspection_rules",      absent_list,    R_ANY_QUERY, 96, OLD_ROUTE, NO_RULES},
	{"POST",   "/v1/inspection_rules",      absent_write,   0, 96, OLD_METHOD, NO_RULES},
	{"GET",    "/v1/inspection_rules/{}",   absent_element, R_ANY_QUERY, 96, OLD_ROUTE, NO_RULES},
	{"PATCH",  "/v1/inspection_rules/{}",   absent_element, 0, 96, OLD_METHOD, NO_RULES},
	{"DELETE", "/v1/inspection_rules/{}",   absent_element, 0, 96, OLD_METHOD, NO_RULES},
	{"GET",    "/v1/volume",                absent_volume,  R_ANY_QUERY, 32},
	{"GET",    "/v1/volume/connectors",     absent_list,    R_ANY_QUERY, 32},
	{"POST",   "/v1/volume/connectors",     absent_write,   0, 32},
	{"GET",    "/v1/volume/connectors/{}",  absent_element, R_ANY_QUERY, 32},
	{"PATCH",  "/v1/volume/connectors/{}",  absent_element, 0, 32},
	{"DELETE", "/v1/volume/connectors/{}",  absent_element, 0, 32},
	{"GET",    "/v1/volume/targets",        absent_list,    R_ANY_QUERY, 32},
	{"POST",   "/v1/volume/targets",        absent_write,   0, 32},
	{"GET",    "/v1/volume/targets/{}",     absent_element, R_ANY_QUERY, 32},
	{"PATCH",  "/v1/volume/targets/{}",     absent_element, 0, 32},
	{"DELETE", "/v1/volume/targets/{}",     absent_element, 0, 32},
	{"POST",   "/v1/events",                absent_write,   0, 54, OLD_NOT_FOUND, NOT_YET},
};
/* clang-format on */

const unsigned api_route_count = G_N_ELEMENTS(api_routes);

/* The end of the segment that begins at `at`. */
static size_t segment_length(const char *at)
{
	return strcspn(at, "/");
}

/* Compares segment by segment; a variable one takes anything that is not empty. */
static bool path_fits(const char *pattern, const char *path, char *variables[2])
{
	unsigned count = 0;

	while (*pattern == '/' && *path == '/') {
		size_t want = segment_length(++pattern), have = segment_length(++path);

		if (want == 2 && memcmp(pattern, "{}", 2) == 0 && have > 0)
			variables[count++] = g_strndup(path, have);
		else if (want != have || memcmp(pattern, path, want) != 0)
			return false;
		pattern += want;
		path += have;
	}
	return !*pattern && !*path;
}

static void clear_variables(char *variables[2])
{
	g_clear_pointer(&variables[0], g_free);
	g_clear_pointer(&variables[1], g_free);
}

static const struct route *search(const char *method, const char *path, char *variables[2],
				  GString *allowed)
{
	for (unsigned i = 0; i < api_route_count; i++) {
		const struct route *r = &api_routes[i];

		clear_variables(variables);
		if (!path_fits(r->path, path, variables) ||
		    (r->flags & R_FALLBACK && allowed->len > 0))
			continue;
		if (strcmp(r->method, method) == 0)
			return r;
		if (!strstr(allowed->str, r->method))
			g_string_append_printf(allowed, "%s%s", allowed->len ? ", " : "",
					       r->method);
	}
	clear_variables(variables);
	return NULL;
}

const struct route *route_find(const char *method, const char *path, char **ret_ident,
			       char **ret_detail, char **ret_allowed)
{
	g_autoptr(GString) allowed = g_string_new(NULL);
	g_autofree char *whole = g_strdup(path);
	char *variables[2] = {NULL, NULL};
	size_t length = strlen(whole);

	/* One slash at the end is nothing, except behind "detail", which has been a word from the start. */
	if (length > 1 && whole[length - 1] == '/' && !g_str_has_suffix(whole, "/detail/"))
		whole[length - 1] = '\0';
	const struct route *found = search(method, whole, variables, allowed);

	/* Bookmark links leave the version out. */
	if (!found && allowed->len == 0 && *whole == '/' && !g_str_has_prefix(whole, "/v1")) {
		g_autofree char *versioned = g_strconcat("/v1", whole, NULL);

		found = search(method, versioned, variables, allowed);
	}
	*ret_ident = variables[0];
	*ret_detail = variables[1];
	*ret_allowed = !found && allowed->len > 0 ? g_strdup(allowed->str) : NULL;
	return found;
}
