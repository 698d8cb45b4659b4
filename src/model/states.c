#include "states.h"

#include <glib.h>
#include <string.h>

static const struct state_info {
	const char *text;
	enum provision_state target;
	unsigned flags;
} state_info[STATE_COUNT] = {
#define STATE(name, state_text, state_target, state_flags) \
	[STATE_##name] = {                                 \
		.text = (state_text), .target = STATE_##state_target, .flags = (state_flags)},
#include "states.def"
#undef STATE
};

static const struct verb_info {
	const char *word;
	enum state_event event;
	unsigned since;
} verb_info[] = {
#define VERB(verb_word, verb_event, verb_since) {verb_word, STATE_EVENT_##verb_event, verb_since},
#include "verbs.def"
#undef VERB
};

const char *provision_state_text(unsigned state)
{
	return state < STATE_COUNT ? state_info[state].text : NULL;
}

int provision_state_parse(const char *text)
{
	for (int s = STATE_NONE + 1; s < STATE_COUNT; s++)
		if (strcmp(state_info[s].text, text) == 0)
			return s;
	return -1;
}

unsigned provision_state_flags(enum provision_state s)
{
	return state_info[s].flags;
}

enum provision_state provision_state_target(enum provision_state s)
{
	return state_info[s].target;
}

bool provision_state_next(enum provision_state from, enum state_event event,
			  enum provision_state *ret_to)
{
	/* The switch is the table: no search, and a pair that stands twice does not compile. */
	switch ((int)from * STATE_EVENT_COUNT + (int)event) {
#define EDGE(edge_from, edge_event, edge_to)                                            \
	case (int)STATE_##edge_from *STATE_EVENT_COUNT + (int)STATE_EVENT_##edge_event: \
		*ret_to = STATE_##edge_to;                                              \
		return true;
#include "edges.def"
#undef EDGE
	default: return false;
	}
}

bool provision_verb_parse(const char *word, unsigned minor, enum state_event *ret_event,
			  bool *ret_known)
{
	*ret_known = false;
	for (size_t i = 0; i < G_N_ELEMENTS(verb_info); i++) {
		if (strcmp(verb_info[i].word, word) != 0)
			continue;
		*ret_known = true;
		if (verb_info[i].since > minor)
			return false;
		*ret_event = verb_info[i].event;
		return true;
	}
	return false;
}
