/* option.h: options.def as a table, and one option's value.  For the files of src/config only. */
#pragma once

#include "config.h"

enum option_kind {
	OPTION_KIND_TEXT,
	OPTION_KIND_BOOL,
	OPTION_KIND_INT,
	OPTION_KIND_SPAN,
	OPTION_KIND_ENUM,
	OPTION_KIND_NETWORKS,
	OPTION_KIND_PATH,
	OPTION_KIND_LIST
};

struct option {
	const char *group, *name;
	enum option_kind kind;
	const char *initial;
	unsigned roles; /* 1 << enum role */
	const char *limits;
	const char *doc;
};

extern const struct option option_table[OPTION_COUNT];

struct option_value {
	char *text;    /* as written */
	unsigned line; /* 0: the default */
	bool present;  /* false: this process does not get the option */
	bool flag;
	int64_t number;
	char **list;
	struct network *networks;
	unsigned network_count;
};

struct config {
	struct option_value values[OPTION_COUNT];
	char *name; /* of the file, for sentences; NULL: defaults */
	char *host;
	char *warning;
};

/* -1 if there is none. */
int option_find(const char *group, const char *name);
/* Index of the option that was probably meant, -1 if none is near. */
int option_suggest(const char *group, const char *name);
/* True if the option of Ironic is accepted and does nothing. */
bool option_is_ignored(const char *group, const char *name);

/* Sets all but `line`.  On failure nothing is changed and the caller frees the sentence's rest, which
 * goes behind "[group]name = value: ". */
char *option_value_set(struct option_value *v, const struct option *o, const char *text);
void option_value_clear(struct option_value *v);
