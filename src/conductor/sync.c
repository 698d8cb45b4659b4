/* Power sync: the BMC's answer is adopted for nodes at rest. */
#include <string.h>

#include "inside.h"
#include "log.h"

/* Requests under way for this purpose: the BMC worker has others to carry out. */
#define AT_A_TIME 16
#define TIMEOUT_S 45

static bool is_wanted(const struct node *n)
{
	unsigned flags = provision_state_flags((enum provision_state)n->provision_state);

	return n->provision_state != STATE_ENROLL && n->provision_state != STATE_ADOPT_FAILED &&
	       !(flags & (S_WORKING | S_WAITING)) && !n->maintenance && !n->reservation &&
	       !n->target_power_state && (json_object_size(n->flow) == 0 || flow_is_idle(n));
}

void sync_start(struct conductor *c)
{
	static const unsigned attrs[] = {NODE_ATTR_provision_state, NODE_ATTR_maintenance,
					 NODE_ATTR_reservation, NODE_ATTR_target_power_state,
					 NODE_ATTR_flow};
	struct store_query query = {
		.sort_attr = -1, .attrs = attrs, .attr_count = G_N_ELEMENTS(attrs)};
	g_autoptr(GError) error = NULL;

	/* The last round is not done: the BMCs are slower than the interval. */
	if (!g_queue_is_empty(&c->sync_queue)) {
		log_warn(NULL, "power sync takes longer than its interval",
			 F_INT("waiting", g_queue_get_length(&c->sync_queue)));
		return;
	}
	g_autoptr(GPtrArray) nodes = store_node_list(c->store, &query, &error);

	if (!nodes) {
		log_error(NULL, "nodes cannot be read", F_ERR(error));
		return;
	}
	for (guint i = 0; i < nodes->len; i++) {
		const struct node *n = nodes->pdata[i];

		if (is_wanted(n))
			g_queue_push_tail(&c->sync_queue, g_strdup(n->uuid.s));
	}
	sync_next(c);
}

static void look_at(struct conductor *c, const char *uuid)
{
	g_autoptr(node) n = store_node_get(c->store, uuid, NULL);

	/* No run is made for a node that was deleted meanwhile. */
	if (!n || !is_wanted(n))
		return;
	struct run *run = conductor_run(c, uuid);
	g_auto(message) m = {.type = MESSAGE_NONE};
	struct request rq = {.id = c->next_request,
			     .node = run->node,
			     .worker = ROLE_BMC,
			     .due = mono_add(loop_now(c->loop), SPAN_SECONDS(TIMEOUT_S))};
	g_autoptr(GError) error = NULL;

	if (run->requests[ROLE_BMC])
		return;
	if (!fill_bmc_request(c, n, BMC_GET_POWER, &m, &error) ||
	    !conductor_request(c, run, &rq, &m, &error))
		log_debug(uuid, "power not looked at", F_ERR(error));
}

void sync_next(struct conductor *c)
{
	while (c->workers[ROLE_BMC].channel && c->syncs < AT_A_TIME &&
	       !g_queue_is_empty(&c->sync_queue)) {
		g_autofree char *uuid = g_queue_pop_head(&c->sync_queue);

		look_at(c, uuid);
	}
}
