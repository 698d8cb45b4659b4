/* node.flow: what parses prints to the same; and a node with any flow takes any event without harm. */
#include "../unit/fold_driver.h"
#include "limit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void feed(struct play *p, enum event_kind kind)
{
	g_autoptr(json_t) outcome = NULL;
	struct event ev = play_success(p, &outcome);

	ev.kind = kind;
	(void)!play_fold(p, &ev, NULL);
	g_autofree char *why = node_why(p->n, p->now);
	g_autoptr(json_t) view = node_flow_view(p->n, p->now);

	g_assert_nonnull(why);
	g_assert_nonnull(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autoptr(json_t) object =
		json_parse_limited((const char *)data, length, LIMIT_NODE_JSON, "flow", NULL);
	struct flow f = {.phase = PHASE_NONE}, again = {.phase = PHASE_NONE};

	if (!json_is_object(object) || !flow_parse(object, &f, NULL))
		return 0;
	g_autoptr(json_t) printed = flow_print(&f);

	g_assert_true(flow_parse(printed, &again, NULL));
	g_autoptr(json_t) twice = flow_print(&again);

	g_assert_true(json_equal(printed, twice));
	flow_clear(&f);
	flow_clear(&again);
	for (unsigned kind = 0; kind < EVENT_COUNT; kind++) {
		struct play p = play_new(STATE_DEPLOYING);

		json_object_update(p.n->flow, object);
		feed(&p, (enum event_kind)kind);
		play_done(&p);
	}
	return 0;
}
