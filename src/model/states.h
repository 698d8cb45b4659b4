/* states.h: provisioning states and the edges between them: data, checked by the compiler. */
#pragma once

#include <stdbool.h>

enum provision_state {
	STATE_NONE, /* "no target" */
#define STATE(name, text, target, flags) STATE_##name,
#include "states.def"
#undef STATE
	STATE_COUNT
};

enum { S_STABLE = 1 << 0, S_WORKING = 1 << 1, S_WAITING = 1 << 2, S_UPDATE = 1 << 3 };

/* Events of the state machine: the API's verbs, and what flows report. */
enum state_event {
	STATE_EVENT_DEPLOY,
	STATE_EVENT_REBUILD,
	STATE_EVENT_DELETE,
	STATE_EVENT_MANAGE,
	STATE_EVENT_PROVIDE,
	STATE_EVENT_INSPECT,
	STATE_EVENT_ABORT,
	STATE_EVENT_CLEAN,
	STATE_EVENT_ADOPT,
	STATE_EVENT_RESCUE,
	STATE_EVENT_UNRESCUE,
	STATE_EVENT_UNHOLD,
	STATE_EVENT_SERVICE,
	STATE_EVENT_DONE,
	STATE_EVENT_FAIL,
	STATE_EVENT_WAIT,
	STATE_EVENT_RESUME,
	STATE_EVENT_HOLD,
	STATE_EVENT_COUNT
};

const char *provision_state_text(unsigned state); /* "wait call-back"; NULL for STATE_NONE */
int provision_state_parse(const char *text);      /* -1 if there is no such state */
unsigned provision_state_flags(enum provision_state s);
enum provision_state provision_state_target(enum provision_state s);
/* False: the state does not take the event. */
bool provision_state_next(enum provision_state from, enum state_event event,
			  enum provision_state *ret_to);
/* The verb's event; false if the word is no verb or needs a later microversion; *ret_known tells the
 * two apart. */
bool provision_verb_parse(const char *word, unsigned minor, enum state_event *ret_event,
			  bool *ret_known);
