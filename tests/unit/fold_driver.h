/* fold_driver.h: plays the world for node_fold() in tests: for any flow, the event that its phase waits for.
 * Time is a number. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <string.h>

#include "flow.h"
#include "flow_record.h"
#include "jsons.h"

struct play {
	struct node *n;
	struct wall now;
	attr_set changed;
	bool fast_track;
};

#define PLAY_HOST "conductor-1"

static inline struct play play_new(enum provision_state s)
{
	struct play p = {.n = node_new(), .now = {1700000000000000}};

	p.n->uuid = uuid_new();
	g_free(p.n->driver);
	p.n->driver = g_strdup("fake-hardware");
	p.n->provision_state = (int)s;
	p.n->target_provision_state = (int)provision_state_target(s);
	json_object_set_new(p.n->instance_info, "image_source",
			    json_string("http://10.77.0.1/images/disk.raw"));
	json_object_set_new(p.n->instance_info, "image_checksum",
			    json_string("http://10.77.0.1/images/SHA256SUMS"));
	return p;
}

static inline void play_done(struct play *p)
{
	node_free(p->n);
}

static inline struct flow play_flow(const struct play *p)
{
	struct flow f = {.phase = PHASE_NONE};

	g_assert_true(flow_parse(p->n->flow, &f, NULL));
	return f;
}

static inline enum phase play_phase(const struct play *p)
{
	struct flow f = play_flow(p);
	enum phase phase = f.phase;

	flow_clear(&f);
	return phase;
}

static inline struct event play_event(const struct play *p, enum event_kind kind)
{
	struct flow f = play_flow(p);
	struct event ev = {
		.kind = kind,
		.now = p->now,
		.host = PLAY_HOST,
		.epoch = (uint64_t)p->n->boot_epoch,
		.turn = (uint64_t)f.turn,
		.limits = {.callback_s = 1800, .power_s = 60},
		.fast_track = p->fast_track,
		.fast_track_s = 300,
		.ok = true,
		.fresh_token = "sealed:v1:token",
		.fresh_verifier = "v1:verifier",
		.fresh_path = "path",
		.assigned_address = "10.77.2.9",
		.status = COMMAND_SUCCEEDED,
	};

	flow_clear(&f);
	return ev;
}

static inline bool play_fold(struct play *p, const struct event *ev, GError **error)
{
	memset(p->changed, 0, sizeof(p->changed));
	return node_fold(p->n, ev, p->changed, error);
}

static inline bool play_verb(struct play *p, enum state_event verb, GError **error)
{
	struct event ev = play_event(p, EVENT_VERB);

	ev.verb = verb;
	ev.rescue_password = "sealed:v1:password";
	ev.limits = (struct flow_limits){0};
	return play_fold(p, &ev, error);
}

static inline void play_taken(struct play *p)
{
	struct event ev = play_event(p, EVENT_TAKEN);

	g_assert_true(play_fold(p, &ev, NULL));
}

static inline json_t *play_clean_steps(void)
{
	return json_pack("{s:{s:[{s:s,s:s,s:i,s:b},{s:s,s:s,s:i}]},s:{s:s}}", "clean_steps", "inox",
			 "interface", "deploy", "step", "erase_devices_metadata", "priority", 99,
			 "abortable", 1, "interface", "deploy", "step", "burn", "priority", 0,
			 "hardware_manager_version", "inox", "1");
}

static inline json_t *play_steps(void)
{
	return json_pack("{s:{s:[{s:s,s:s,s:i},{s:s,s:s,s:i}]},s:{s:s}}", "deploy_steps", "inox",
			 "interface", "deploy", "step", "write_image", "priority", 0, "interface",
			 "deploy", "step", "erase_devices_metadata", "priority", 0,
			 "hardware_manager_version", "inox", "1");
}

/* The event with which the current phase succeeds.  *ret_outcome is to be freed. */
static inline struct event play_success(const struct play *p, json_t **ret_outcome)
{
	struct flow f = play_flow(p);
	enum action action = flow_action(&f);
	struct event ev = play_event(p, action_info[action].answer);

	*ret_outcome = NULL;
	if (action == ACTION_STEP_SEND && !f.sending)
		ev.kind = EVENT_SENDING;
	if (action == ACTION_FINALIZE && f.runs == 0)
		ev.kind = EVENT_SENDING;
	if (action == ACTION_STEP_SEND) {
		ev.command = "11111111-2222-4333-8444-555555555555";
		ev.status = COMMAND_RUNNING;
	}
	if (action == ACTION_STEP_WAIT)
		ev.command = "11111111-2222-4333-8444-555555555555";
	if (action == ACTION_LOAD_STEPS)
		ev.outcome = *ret_outcome =
			flow_operation(&f) == OPERATION_CLEAN ? play_clean_steps() : play_steps();
	if (action == ACTION_CONTACT) {
		ev.own_agent = true;
		ev.version = "0.1.0";
		ev.started_ms = 1000;
		ev.agent_url = "https://10.77.2.9:9999";
	}
	ev.power = action == ACTION_POWER_ON ? POWER_ON : POWER_OFF;
	flow_clear(&f);
	return ev;
}

static inline void play_step(struct play *p)
{
	g_autoptr(json_t) outcome = NULL;
	struct event ev = play_success(p, &outcome);
	g_autoptr(GError) error = NULL;

	p->now.us += 1000000;
	ev.now = p->now;
	g_assert_true(play_fold(p, &ev, &error));
	g_assert_no_error(error);
}

/* Runs until the phase is reached, or until there is no flow for PHASE_NONE. */
static inline void play_until(struct play *p, enum phase phase)
{
	for (unsigned guard = 0; play_phase(p) != phase; guard++) {
		g_assert_cmpuint(guard, <, 100);
		play_step(p);
	}
}
