/* flow_record.h: the flow as a struct, and the tables of operations, phases and actions.  For the model and
 * the conductor; everybody else uses flow.h. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "clocks.h"
#include "event.h"
#include "states.h"

enum operation {
	OPERATION_NONE,
#define OPERATION(name, text, end) OPERATION_##name,
#define PHASE(op, name, text, state, action, limit, attempts, flags, step, priority, what)
#include "phases.def"
#undef OPERATION
#undef PHASE
	OPERATION_COUNT
};

enum phase {
	PHASE_NONE,
#define OPERATION(name, text, end)
#define PHASE(op, name, text, state, action, limit, attempts, flags, step, priority, what) \
	PHASE_##op##_##name,
#include "phases.def"
#undef OPERATION
#undef PHASE
	PHASE_COUNT
};

enum action {
	ACTION_NONE,
#define ACTION(name, answer, watch) ACTION_##name,
#include "actions.def"
#undef ACTION
	ACTION_COUNT
};

/* Seconds between two attempts of a phase. */
#define FLOW_BACK_OFF_MAX 30

enum flow_watch { WATCH_OFF, WATCH_FIRST, WATCH_ON, WATCH_STILL };
enum flow_limit { LIMIT_POWER, LIMIT_CALLBACK, LIMIT_IDLE, LIMIT_DAY, LIMIT_STEP, LIMIT_NEVER };
enum flow_end { END_DONE, END_POWER, END_UNDEPLOYED, END_CLEANED, END_RESCUED, END_KEEP };
enum {
	P_SKIP = 1 << 0,
	P_BOOT_DATA = 1 << 1,
	P_OWN = 1 << 2,
	P_MEDIA = 1 << 3,
	P_NETWORK = 1 << 4,
	P_STAY = 1 << 5,
	P_LEAVE = 1 << 6,
	P_BARE = 1 << 7,
	P_AGENT = 1 << 8,
	P_JUMP = 1 << 9
};

struct phase_info {
	enum operation operation;
	const char *text;
	enum provision_state state; /* STATE_NONE: unchanged */
	enum action action;
	enum flow_limit limit;
	unsigned attempts;
	unsigned flags;
	const char *step; /* NULL: none is shown */
	int priority;
	const char *what;
};

struct action_info {
	enum event_kind answer;
	enum flow_watch watch;
};

struct operation_info {
	const char *text;
	enum flow_end end;
	enum phase first;
};

/* What deploy and clean steps are called. */
struct step_words {
	const char *kind; /* "deploy" */
	const char
		*steps; /* key of the agent's answer and of driver_internal_info: "deploy_steps" */
	const char *wanted; /* key of driver_internal_info with the operator's list */
	const char *get;    /* the agent's commands */
	const char *execute;
	const char *version; /* parameter of `execute` with the versions of `get` */
};
extern const struct step_words deploy_words, clean_words;

extern const struct phase_info phase_info[PHASE_COUNT];
extern const struct action_info action_info[ACTION_COUNT];
extern const struct operation_info operation_info[OPERATION_COUNT];

#define FLOW_CTYPE_PHASE enum phase
#define FLOW_CTYPE_INT   int64_t
#define FLOW_CTYPE_TIME  struct wall
#define FLOW_CTYPE_BOOL  bool
#define FLOW_CTYPE_TEXT  char *

/* phase PHASE_NONE: there is no flow. */
struct flow {
#define FIELD(kind, name) FLOW_CTYPE_##kind name;
#include "flow.def"
#undef FIELD
};

/* flow.until of what has no deadline; some time around it after a correction. */
#define FLOW_NEVER ((struct wall){INT64_C(1) << 61})
static inline bool flow_has_deadline(const struct flow *f)
{
	return f->until.us < INT64_C(1) << 60;
}

/* {} is no flow.  The caller clears *ret_flow.  INVALID names the key that does not fit. */
bool flow_parse(const json_t *object, struct flow *ret_flow,
		GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A new reference. */
json_t *flow_print(const struct flow *f);
void flow_clear(struct flow *f);

static inline enum action flow_action(const struct flow *f)
{
	return phase_info[f->phase].action;
}

/* The BMC has still to be told of the boot's ISO, or to boot from it. */
static inline bool flow_is_before_media(const struct flow *f)
{
	return flow_action(f) == ACTION_INSERT || flow_action(f) == ACTION_BOOT_CD;
}

static inline enum operation flow_operation(const struct flow *f)
{
	return phase_info[f->phase].operation;
}

static inline const struct step_words *flow_words(const struct flow *f)
{
	return flow_operation(f) == OPERATION_CLEAN ? &clean_words : &deploy_words;
}

/* The phase after this one; PHASE_NONE at the end of the operation. */
enum phase flow_phase_after(enum phase p);

typedef struct flow flow;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(flow, flow_clear)
