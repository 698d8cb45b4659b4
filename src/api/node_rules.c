/* Rules between the attributes of a node: what the table of attributes cannot say. */
#include <string.h>

#include "flow.h"
#include "hardware.h"
#include "network_data.h"
#include "nodes.h"

#define STATES_OF_HARDWARE_CHANGE "enroll, inspecting, inspect wait, manageable, available"

const struct hardware_type *node_find_hardware(const struct config *c, const struct node *n,
					       GError **error)
{
	const struct hardware_type *h = hardware_find(c, n->driver);

	/* There is one conductor, and it serves the default group. */
	if (!h || *n->conductor_group) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "No valid host was found. Reason: No conductor service registered "
			       "which supports driver %s for conductor group \"%s\".",
			       n->driver, n->conductor_group);
		return NULL;
	}
	return h;
}

static bool check_name(const char *what, struct node *n, unsigned minor, GError **error)
{
	static const char reserved[] =
		"maintenance,management,states,vendor_passthru,detail,validate";

	if (n->name && !*n->name)
		g_clear_pointer(&n->name, g_free);
	if (!n->name)
		return true;
	if (word_in_list(reserved, n->name))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The word \"%s\" is reserved and can not be used as a node "
				      "name. Reserved words are: maintenance, management, states, "
				      "vendor_passthru, detail, validate.",
				      n->name);
	if (!request_is_name(n->name, minor))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Cannot %s node with invalid name '%s'", what, n->name);
	return true;
}

static bool check_instance_name(const struct request *rq, const struct node *n, GError **error)
{
	return !n->instance_name || *n->instance_name ||
	       inox_error_set(error, INOX_ERROR_INVALID, "Schema error for %s: '' is too short",
			      rq->patch ? "patch" : "node");
}

static bool check_group(struct node *n, GError **error)
{
	g_autofree char *lower = g_ascii_strdown(n->conductor_group, -1);

	for (const char *c = lower; *c; c++)
		if (!g_ascii_isalnum(*c) && !strchr("._-", *c))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Expected a conductor group but received %s.",
					      n->conductor_group);
	g_free(n->conductor_group);
	n->conductor_group = g_steal_pointer(&lower);
	return true;
}

static bool check_parent(const struct request *rq, const struct node *n, GError **error)
{
	if (!uuid_is_set(&n->parent_node))
		return true;
	g_autoptr(node) parent = store_node_get(rq->api->store, n->parent_node.s, NULL);

	if (parent && strcmp(parent->uuid.s, n->uuid.s) != 0)
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "Unable to apply the requested parent_node '%s'. Requested value was "
			      "invalid.",
			      n->parent_node.s);
}

static bool check_instance(const struct request *rq, const struct node *n, GError **error)
{
	static const unsigned columns[] = {NODE_ATTR_uuid};
	g_autoptr(json_t) instance = json_string(n->instance_uuid.s);
	const struct store_filter filter = {.attr = NODE_ATTR_instance_uuid, .value = instance};
	const struct store_query q = {.filters = &filter,
				      .filter_count = 1,
				      .sort_attr = -1,
				      .limit = 2,
				      .attrs = columns,
				      .attr_count = G_N_ELEMENTS(columns)};

	if (!uuid_is_set(&n->instance_uuid))
		return true;
	g_autoptr(GPtrArray) others = store_node_list(rq->api->store, &q, error);

	if (!others)
		return false;
	for (unsigned i = 0; i < others->len; i++)
		if (strcmp(((struct node *)others->pdata[i])->uuid.s, n->uuid.s) != 0)
			return inox_error_set(error, INOX_ERROR_CONFLICT,
					      "Instance %s is already associated with a node, it "
					      "cannot be associated with this other node %s",
					      n->instance_uuid.s, n->uuid.s);
	return true;
}

static bool check_chassis(const struct node *n, GError **error)
{
	if (!uuid_is_set(&n->chassis_uuid))
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID, "Chassis %s could not be found.",
			      n->chassis_uuid.s);
}

/* What holds for a new node and after a change alike. */
static bool check_common(const struct request *rq, const char *what, struct node *n,
			 attr_set changed, GError **error)
{
	if (!check_name(what, n, rq->minor, error) || !check_parent(rq, n, error) ||
	    !check_instance_name(rq, n, error) || !check_group(n, error))
		return false;
	const struct hardware_type *h = node_find_hardware(rq->api->config, n, error);

	return h && check_chassis(n, error) &&
	       hardware_settle(rq->api->config, h, n, changed, error) &&
	       network_data_check(n->network_data, error) && check_instance(rq, n, error);
}

bool node_check_new(const struct request *rq, struct node *n, GError **error)
{
	attr_set changed = {0};

	return check_common(rq, "create", n, changed, error);
}

static bool state_is(const struct node *n, const enum provision_state *states, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if ((int)states[i] == n->provision_state)
			return true;
	return false;
}

static bool state_takes_hardware_change(const struct node *n)
{
	static const enum provision_state states[] = {STATE_ENROLL, STATE_INSPECTING,
						      STATE_INSPECT_WAIT, STATE_MANAGEABLE,
						      STATE_AVAILABLE};

	return state_is(n, states, G_N_ELEMENTS(states));
}

/* Beyond the states that are marked S_UPDATE. */
static bool state_takes_update(const struct node *n)
{
	static const enum provision_state states[] = {STATE_INSPECTING, STATE_VERIFYING,
						      STATE_SERVICING, STATE_SERVICE_WAIT};

	return provision_state_flags((enum provision_state)n->provision_state) & S_UPDATE ||
	       state_is(n, states, G_N_ELEMENTS(states));
}

static bool only_removes_instance(const struct patch *p)
{
	return patch_length(p) == 1 && patch_step_at(p, 0)->verb == PATCH_REMOVE &&
	       strcmp(patch_step_at(p, 0)->path, "/instance_uuid") == 0;
}

static bool check_state(const struct request *rq, const struct node *before, GError **error)
{
	if (before->maintenance && only_removes_instance(rq->patch))
		return true;
	if (!request_check_unlocked(before, error))
		return false;
	if (before->target_provision_state != STATE_NONE && !before->maintenance &&
	    !state_takes_update(before))
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Node %s can not be updated while a state transition is in "
				      "progress.",
				      rq->ident);
	if (before->provision_state == STATE_INSPECTING && rq->minor >= 39)
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Cannot update node \"%s\" while it is in state "
				      "\"inspecting\".",
				      before->uuid.s);
	return true;
}

static bool check_hardware_change(const struct node *before, const attr_set changed, GError **error)
{
	if (state_takes_hardware_change(before))
		return true;
	if (attr_set_has(changed, NODE_ATTR_resource_class))
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Node %s can not have resource_class updated unless it is in "
				      "one of allowed (" STATES_OF_HARDWARE_CHANGE ") states.",
				      before->uuid.s);
	if (before->maintenance)
		return true;
	for (unsigned i = 0; i <= HARDWARE_INTERFACES; i++) {
		unsigned attr = i < HARDWARE_INTERFACES ? (unsigned)hardware_interfaces[i].attr
							: (unsigned)NODE_ATTR_driver;

		if (attr_set_has(changed, attr))
			return inox_error_set(
				error, INOX_ERROR_CONFLICT,
				"Node %s can not have %s updated unless it is in one of allowed "
				"(" STATES_OF_HARDWARE_CHANGE ") states or in maintenance mode.",
				before->uuid.s, node_attrs.attrs[attr].name);
	}
	return true;
}

static bool check_protected(struct node *n, attr_set changed, GError **error)
{
	if (attr_set_has(changed, NODE_ATTR_protected) && n->protected &&
	    n->provision_state != STATE_ACTIVE && n->provision_state != STATE_RESCUE)
		return inox_error_set(
			error, INOX_ERROR_CONFLICT,
			"Node %s can only be made protected in provision states 'active' or "
			"'rescue', the current state is '%s'",
			n->uuid.s, provision_state_text((unsigned)n->provision_state));
	if (n->protected || !n->protected_reason)
		return true;
	if (attr_set_has(changed, NODE_ATTR_protected_reason))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"The protected_reason field can only be set when protected is "
			"True");
	g_clear_pointer(&n->protected_reason, g_free);
	attr_set_add(changed, NODE_ATTR_protected_reason);
	return true;
}

static bool check_retired(struct node *n, attr_set changed, GError **error)
{
	if (attr_set_has(changed, NODE_ATTR_retired) && n->retired &&
	    n->provision_state == STATE_AVAILABLE)
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Node %s can not have 'retired' set in provision state "
				      "'available', the current state is 'available'",
				      n->uuid.s);
	if (n->retired || !n->retired_reason)
		return true;
	if (attr_set_has(changed, NODE_ATTR_retired_reason))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The retired_reason field can only be set when retired is "
				      "True");
	g_clear_pointer(&n->retired_reason, g_free);
	attr_set_add(changed, NODE_ATTR_retired_reason);
	return true;
}

static bool check_association(const struct node *before, const struct node *n, GError **error)
{
	if (!uuid_is_set(&before->instance_uuid) || !uuid_is_set(&n->instance_uuid) ||
	    strcmp(before->instance_uuid.s, n->instance_uuid.s) == 0)
		return true;
	return inox_error_set(error, INOX_ERROR_CONFLICT, "Node %s is associated with instance %s.",
			      before->uuid.s, before->instance_uuid.s);
}

/* Leaving maintenance also forgets why the node was in it. */
static void leave_maintenance(struct node *n, attr_set changed)
{
	if (!attr_set_has(changed, NODE_ATTR_maintenance) || n->maintenance)
		return;
	g_clear_pointer(&n->maintenance_reason, g_free);
	g_clear_pointer(&n->fault, g_free);
	attr_set_add(changed, NODE_ATTR_maintenance_reason);
	attr_set_add(changed, NODE_ATTR_fault);
}

bool node_check_change(const struct request *rq, const struct node *before, struct node *n,
		       attr_set changed, const attr_set removed, GError **error)
{
	if (attr_set_has(removed, NODE_ATTR_chassis_uuid) && rq->minor < 25)
		return api_error_set_too_old(error);
	if (!check_state(rq, before, error) || !check_association(before, n, error) ||
	    !check_common(rq, "update", n, changed, error) ||
	    !check_hardware_change(before, changed, error) || !check_protected(n, changed, error) ||
	    !check_retired(n, changed, error))
		return false;
	leave_maintenance(n, changed);
	return true;
}

bool node_check_delete(const struct node *n, GError **error)
{
	static const enum provision_state states[] = {STATE_MANAGEABLE, STATE_ENROLL,
						      STATE_ADOPT_FAILED, STATE_AVAILABLE};

	if (!request_check_unlocked(n, error))
		return false;
	if (n->protected)
		return inox_error_set(error, INOX_ERROR_DENIED,
				      "Node %s is protected and cannot be undeployed, rebuilt or "
				      "deleted",
				      n->uuid.s);
	if (flow_keeps_agent(n))
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Node %s can not be deleted while the agent of its cleaning "
				      "stays up: switch the machine off first",
				      n->uuid.s);
	if (flow_has_boot_data(n))
		return inox_error_set(
			error, INOX_ERROR_CONFLICT,
			"Node %s can not be deleted while boot data of its ramdisk are "
			"published: abort what is under way, and wait until they are "
			"taken back",
			n->uuid.s);
	if (flow_keeps_address(n))
		return inox_error_set(
			error, INOX_ERROR_CONFLICT,
			"Node %s can not be deleted while the boot host keeps its address %s "
			"after a rescue: undeploy it first (target \"deleted\")",
			n->uuid.s, n->agent_address);
	if (n->maintenance)
		return true;
	if (uuid_is_set(&n->instance_uuid))
		return inox_error_set(error, INOX_ERROR_CONFLICT,
				      "Node %s is associated with instance %s.", n->uuid.s,
				      n->instance_uuid.s);
	if (state_is(n, states, G_N_ELEMENTS(states)))
		return true;
	return inox_error_set(error, INOX_ERROR_CONFLICT,
			      "Can not delete node \"%s\" while it is in provision state \"%s\". "
			      "Valid provision states to perform deletion are: \"('manageable', "
			      "'enroll', 'adopt failed', 'available')\", or set the node into "
			      "maintenance mode",
			      n->uuid.s, provision_state_text((unsigned)n->provision_state));
}
