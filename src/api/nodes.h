/* nodes.h: the handlers of /v1/nodes and what others need of them. */
#pragma once

#include "listing.h"

extern const struct collection node_collection;

bool nodes_list(struct request *rq, GError **error);
bool nodes_list_detail(struct request *rq, GError **error);
bool nodes_create(struct request *rq, GError **error);
bool nodes_show(struct request *rq, GError **error);
bool nodes_patch(struct request *rq, GError **error);
bool nodes_delete(struct request *rq, GError **error);
bool nodes_children(struct request *rq, GError **error);
/* The historic path form of `fields`. */
bool nodes_show_word(struct request *rq, GError **error);

/* Rules between a node's attributes (node_rules.c). */
bool node_check_new(const struct request *rq, struct node *n,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* `before` is the row, `n` the patched copy. */
bool node_check_change(const struct request *rq, const struct node *before, struct node *n,
		       attr_set changed, const attr_set removed,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool node_check_delete(const struct node *n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* INVALID if no conductor serves the driver for the group. */
const struct hardware_type *node_find_hardware(const struct config *c, const struct node *n,
					       GError **error);

/* The handlers of what lies below a node (node_states.c, node_parts.c). */
bool node_states_show(struct request *rq, GError **error);
bool node_provision(struct request *rq, GError **error);
bool node_power(struct request *rq, GError **error);
bool node_maintenance_set(struct request *rq, GError **error);
bool node_maintenance_clear(struct request *rq, GError **error);
bool node_validate(struct request *rq, GError **error);
bool node_validate_argument(struct request *rq, GError **error);
bool node_flow_show(struct request *rq, GError **error);
bool node_boot_device_show(struct request *rq, GError **error);
bool node_boot_device_set(struct request *rq, GError **error);
bool node_boot_device_supported(struct request *rq, GError **error);
bool node_traits_list(struct request *rq, GError **error);
bool node_traits_set(struct request *rq, GError **error);
bool node_trait_add(struct request *rq, GError **error);
bool node_traits_clear(struct request *rq, GError **error);
bool node_trait_remove(struct request *rq, GError **error);
bool node_ports(struct request *rq, GError **error);
bool node_ports_detail(struct request *rq, GError **error);
bool node_empty_list(struct request *rq, GError **error);
bool node_vif_attach(struct request *rq, GError **error);
bool node_vif_detach(struct request *rq, GError **error);
bool node_without_allocation(struct request *rq, GError **error);
bool node_without_inventory(struct request *rq, GError **error);
bool node_unsupported(struct request *rq, GError **error);
bool node_volume(struct request *rq, GError **error);
