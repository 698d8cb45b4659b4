/* flow_fixture.h: what the tests of flows share: nodes in a given phase, and what must hold of them. */
#pragma once

#include "errors.h"
#include "fold_driver.h"

static inline void assert_state(const struct play *p, enum provision_state s)
{
	g_assert_cmpstr(provision_state_text((unsigned)p->n->provision_state), ==,
			provision_state_text(s));
	g_assert_cmpint(p->n->target_provision_state, ==, (int)provision_state_target(s));
}

static inline void assert_at_rest(const struct play *p)
{
	g_assert_cmpuint(json_object_size(p->n->flow), ==, 0);
	g_assert_null(p->n->reservation);
	g_assert_null(p->n->agent_token);
	g_assert_null(p->n->agent_verifier);
	g_assert_null(json_object_get(p->n->instance_info, "rescue_password"));
}

static inline struct event seconds_later(struct play *p, enum event_kind kind, int64_t seconds)
{
	p->now.us += seconds * 1000000;
	return play_event(p, kind);
}

static inline void fold_ok(struct play *p, const struct event *ev)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(play_fold(p, ev, &error));
	g_assert_no_error(error);
}

static inline struct play at_phase(enum phase phase)
{
	static const struct {
		enum operation operation;
		enum provision_state state;
		enum state_event verb;
	} starts[] = {
		{OPERATION_VERIFY, STATE_ENROLL, STATE_EVENT_MANAGE},
		{OPERATION_DEPLOY, STATE_AVAILABLE, STATE_EVENT_DEPLOY},
		{OPERATION_UNDEPLOY, STATE_ACTIVE, STATE_EVENT_DELETE},
		{OPERATION_CLEAN, STATE_MANAGEABLE, STATE_EVENT_PROVIDE},
		{OPERATION_RESCUE, STATE_ACTIVE, STATE_EVENT_RESCUE},
		{OPERATION_UNRESCUE, STATE_RESCUE, STATE_EVENT_UNRESCUE},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(starts); i++) {
		if (starts[i].operation != phase_info[phase].operation)
			continue;
		struct play p = play_new(starts[i].state);

		p.fast_track = phase_info[phase].flags & P_STAY;
		p.n->automated_clean = starts[i].operation == OPERATION_CLEAN;
		if (phase_info[phase].flags & P_MEDIA)
			p.n->boot_interface = g_strdup("redfish-virtual-media");
		/* Boot data of an older flow, so that no phase is passed over. */
		json_object_set_new(p.n->flow, "phase", json_string("clean up/withdraw"));
		json_object_set_new(p.n->flow, "path", json_string("older"));
		g_assert_true(play_verb(&p, starts[i].verb, NULL));
		play_taken(&p);
		play_until(&p, phase);
		return p;
	}
	g_assert_not_reached();
}

static inline bool is_tested(enum phase phase)
{
	enum operation op = phase_info[phase].operation;

	return op == OPERATION_VERIFY || op == OPERATION_DEPLOY || op == OPERATION_UNDEPLOY ||
	       op == OPERATION_CLEAN || op == OPERATION_RESCUE || op == OPERATION_UNRESCUE;
}

static inline void for_each_phase(void (*fn)(struct play *p, enum phase phase))
{
	for (unsigned phase = PHASE_NONE + 1; phase < PHASE_COUNT; phase++) {
		/* Entered by name only, and tested by name. */
		if (!is_tested(phase) || phase_info[phase].flags & P_JUMP)
			continue;
		struct play p = at_phase(phase);

		fn(&p, phase);
		play_done(&p);
	}
}

static inline struct event failure(const struct play *p, bool retry)
{
	g_autoptr(json_t) outcome = NULL;
	struct event ev = play_success(p, &outcome);

	if (ev.kind == EVENT_SENDING && phase_info[play_phase(p)].action == ACTION_FINALIZE)
		ev.kind = EVENT_AGENT_REPLY;
	ev.outcome = NULL;
	ev.ok = false;
	ev.retry = retry;
	ev.status = COMMAND_FAILED;
	ev.reason = "the cable is out";
	return ev;
}

static inline void assert_usable(const struct play *p)
{
	bool verb = false;

	for (unsigned v = 0; v <= STATE_EVENT_SERVICE; v++) {
		struct play q = {.n = node_dup(p->n), .now = p->now};

		verb |= play_verb(&q, v, NULL);
		play_done(&q);
	}
	g_assert_true(verb);
	g_assert_null(p->n->reservation);
	g_assert_null(p->n->agent_token);
}

static inline void restart_agent(struct play *p)
{
	struct event ev = play_event(p, EVENT_AGENT_ALIVE);

	p->now.us += 1000000;
	ev.now = p->now;
	ev.own_agent = true;
	ev.restarted = true;
	g_assert_true(play_fold(p, &ev, NULL));
}
