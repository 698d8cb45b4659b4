/* fold.h: what the parts of node_fold() share.  Inside the model only. */
#pragma once

#include "flow.h"
#include "flow_record.h"

struct fold {
	struct node *n;
	const struct event *ev;
	uint64_t *changed; /* attr_set */
	struct flow f;     /* parsed; printed into the node at the end when `dirty` */
	bool dirty;
};

/* fold_field.c: changes of the node */
#define FOLD_TEXT(x, attr, value) fold_set_text((x), NODE_ATTR_##attr, &(x)->n->attr, (value))
#define FOLD_JSON(x, attr, value) fold_set_json((x), NODE_ATTR_##attr, &(x)->n->attr, (value))
void fold_set_text(struct fold *x, enum node_attr attr, char **field, const char *value);
void fold_set_json(struct fold *x, enum node_attr attr, json_t **field, json_t *value); /* takes */
/* driver_internal_info[key]; takes the value, NULL removes the key. */
void fold_set_info(struct fold *x, const char *key, json_t *value);
void fold_set_state(struct fold *x, enum provision_state s);
/* The node's own wish, else the server's. */
bool fold_cleans(const struct fold *x);
/* The boot's token is worth nothing from here; what is left of it tells an old one from a wrong one. */
void fold_end_token(struct fold *x);
void fold_note(struct fold *x, const char *reason);

/* fold_phase.c: moves of the flow */
void fold_start(struct fold *x, enum operation op);
/* Without a ramdisk. */
void fold_start_bare(struct fold *x, enum operation op);
void fold_enter(struct fold *x, enum phase p);
void fold_advance(struct fold *x);
/* An attempt failed: again after a pause, or the phase fails. */
void fold_trouble(struct fold *x, bool retry, const char *reason);
void fold_fail_phase(struct fold *x, const char *reason);
/* The boot's data are taken back.  The machine keeps its address when it goes on running. */
void fold_end_boot(struct fold *x, bool keep_address);
/* fold_end.c */
void fold_fail(struct fold *x, const char *sentence);
/* Like a failure, and by request: no fault. */
void fold_abort(struct fold *x);
void fold_finish(struct fold *x);
/* Lists and versions of the steps of an operation before, and where its machine was. */
void fold_forget_steps(struct fold *x);
/* Of a rescue that is over. */
void fold_forget_password(struct fold *x);
/* The deadline of the current phase, counted from the event; 0 in the API's events. */
struct wall fold_deadline(const struct fold *x);
/* Of the current operation; PHASE_NONE if it has none. */
enum phase fold_phase_with(const struct fold *x, enum action action);

/* fold_idle.c: fast track */
/* The cleaning under way may leave its agent up. */
bool fold_may_stay(const struct fold *x);
/* Checksum of what a boot depends on.  The caller frees it. */
char *fold_boot_basis(const struct node *n);
/* From here the agent waits for the next operation. */
void fold_idle(struct fold *x);
/* An agent was kept, and no operation works with it: a power request may come in between. */
bool fold_is_idle(const struct fold *x);
/* With the agent that was kept, if nothing speaks against it; else in a new boot. */
void fold_begin_boot(struct fold *x, enum operation op);
void fold_idle_deadline(struct fold *x);
/* Where an agent that was kept fails, that is no failure of the operation.  False: none was. */
bool fold_give_up_kept(struct fold *x);
/* The agent that was kept is not needed any more, and its machine is somebody else's matter. */
void fold_end_kept(struct fold *x);

/* fold_verb.c */
bool fold_verb(struct fold *x, GError **error);
bool fold_power_request(struct fold *x, GError **error);

/* fold_agent.c */
void fold_alive(struct fold *x);
void fold_heartbeat(struct fold *x);
void fold_lookup(struct fold *x);
void fold_old_token(struct fold *x);
void fold_milestone(struct fold *x);
void fold_gone(struct fold *x);
void fold_reply(struct fold *x);
/* It answered something that was asked. */
void fold_answered(struct fold *x);
/* The dialer says that it is there. */
void fold_contact(struct fold *x);
void fold_agent_restarted(struct fold *x);

/* fold_step.c */
void fold_load_steps(struct fold *x);
void fold_step_reply(struct fold *x);
void fold_list(struct fold *x);
void fold_command(struct fold *x);
void fold_sending(struct fold *x);
/* Nobody asks the agent of this boot for anything any more.  What its boot has left is taken back before the next one. */
void fold_end_agent(struct fold *x);
/* Where the next clean step is carried out; PHASE_NONE: there is none.  Goes past steps that are done by what comes. */
enum phase fold_step_phase(struct fold *x);
/* A step of the conductor's own, or a part of it, is done. */
void fold_end_own_step(struct fold *x);
/* "deploy.write_image"; the caller frees it. */
char *fold_step_name(const struct fold *x);
/* Borrowed; NULL when there are no (more) steps. */
json_t *fold_peek_step(const struct node *n, const struct flow *f);
