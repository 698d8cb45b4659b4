/* attr.h: the engine behind the .def lists: JSON in, JSON out, SQL text, PATCH, change tracking.
 *
 * A resource is a struct whose members, enum and table are expanded from one list (node.def, port.def).
 * Everything that a kind needs is in one switch each in attr.c; a new attribute is one line in the list
 * and one migration.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "clocks.h"
#include "identity.h"

enum attr_kind {
	ATTR_TEXT, /* char *                  NULL is JSON null */
	ATTR_UUID, /* struct uuid             unset is JSON null */
	ATTR_BOOL, /* bool */
	ATTR_TRI,  /* int: -1 null, 0, 1 */
	ATTR_ENUM, /* int; text by enum_text  value 0 is JSON null when A_NULL */
	ATTR_INT,  /* int64_t */
	ATTR_TIME, /* struct wall             0 is JSON null */
	ATTR_JSON, /* json_t *, an object     never NULL */
	ATTR_LIST, /* json_t *, an array      never NULL */
	ATTR_MAC,  /* struct mac */
};

enum {
	A_READ = 1 << 0,     /* shown by the API */
	A_CREATE = 1 << 1,   /* may stand in POST */
	A_PATCH = 1 << 2,    /* may be changed by PATCH */
	A_BRIEF = 1 << 3,    /* in the short list */
	A_NULL = 1 << 4,     /* may be null */
	A_MASK = 1 << 5,     /* JSON whose secret-looking keys are shown as ****** */
	A_SEAL = 1 << 6,     /* JSON whose secret-looking values are sealed in the row */
	A_KEY = 1 << 7,      /* the primary key */
	A_REQUIRED = 1 << 8, /* must stand in POST */
};

struct attr {
	const char *name;
	const char *sqltype; /* "TEXT" or "INTEGER" */
	const char *doc;
	enum attr_kind kind;
	unsigned flags;
	unsigned since; /* first microversion (the N of 1.N) that has it; 0: never shown */
	size_t offset;
	size_t limit; /* bytes of a text, or of a JSON value when printed; 0: the kind's own */
	const char *(*enum_text)(unsigned value);
	int (*enum_parse)(const char *text);
};

struct attr_table {
	const char *table; /* SQL name */
	const char *noun;  /* "node", for sentences */
	const struct attr *attrs;
	unsigned count;
	size_t size;                        /* of the struct */
	void (*set_defaults)(void *object); /* what differs from the kinds' empty values; or NULL */
};

/* A value as a database column holds it. */
enum attr_value_type { ATTR_VALUE_NULL, ATTR_VALUE_INTEGER, ATTR_VALUE_TEXT };

struct attr_value {
	enum attr_value_type type;
	int64_t integer;
	const char *text; /* `length` bytes, which need not end with a NUL */
	size_t length;
};

/* A change set: one bit per attribute, in the list's order. */
typedef uint64_t attr_set[2];

static inline void attr_set_add(attr_set set, unsigned attr)
{
	set[attr / 64] |= (uint64_t)1 << (attr % 64);
}

static inline bool attr_set_has(const attr_set set, unsigned attr)
{
	return set[attr / 64] >> (attr % 64) & 1;
}

static inline bool attr_set_is_empty(const attr_set set)
{
	return (set[0] | set[1]) == 0;
}

/* Fills a struct with the defaults; frees what it holds and zeroes it; deep copy into a struct that
 * holds nothing.  Defaults: NULL or, for a text that cannot be null, ""; false; {} and []. */
void attrs_init(const struct attr_table *t, void *object);
void attrs_clear(const struct attr_table *t, void *object);
void attrs_copy(const struct attr_table *t, const void *from, void *ret_to);

/* -1 if there is no such attribute. */
int attrs_find(const struct attr_table *t, const char *name);

/* Sets one attribute from a JSON value, which is copied; null sets the default, and is refused for what
 * is A_REQUIRED.  Booleans may be words as in Ironic ("true", "off", ...).  INVALID, with Ironic's
 * sentence where it has one ("Schema error for node: 'x' is not of type 'object', 'null'").  The
 * object keeps its value on failure. */
bool attr_from_json(const struct attr_table *t, void *object, unsigned attr, const json_t *value,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The value as the row and the API hold it, unmasked; a new reference to a copy. */
json_t *attr_to_json(const struct attr_table *t, const void *object, unsigned attr);
bool attr_is_equal(const struct attr_table *t, const void *a, const void *b, unsigned attr);

/* Sets the attributes that stand in `body`; `flag` is A_CREATE or A_PATCH.  Errors: INVALID for an
 * unknown key, one without the flag, a missing A_REQUIRED one (A_CREATE only) or a wrong value;
 * UNSUPPORTED ("Request not acceptable.") for one newer than microversion 1.`minor`.  On failure the
 * object stays as it was; else the bits of what stood in the body are added to `changed`. */
bool attrs_from_json(const struct attr_table *t, void *object, const json_t *body, unsigned flag,
		     unsigned minor, attr_set changed, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for a database column: a row passes the checks that a request passes.  NULL is INVALID
 * where the attribute cannot be null. */
bool attr_from_value(const struct attr_table *t, void *object, unsigned attr,
		     const struct attr_value *value, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* `*ret_text` owns the text of the value where one had to be made (else NULL); texts of the object
 * itself are borrowed.  LIMIT for a value that attr_from_value() would refuse for its size. */
bool attr_to_value(const struct attr_table *t, const void *object, unsigned attr,
		   struct attr_value *ret_value, char **ret_text,
		   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* An object with the attributes that have `flags` (A_READ, or A_READ|A_BRIEF) and are not newer than
 * microversion 1.`minor`, masked.  `fields` (NULL-terminated names) restricts it further when not NULL.
 * A new reference. */
json_t *attrs_to_json(const struct attr_table *t, const void *object, unsigned flags,
		      unsigned minor, const char *const *fields);

/* True if the lower-cased key contains one of the words that mark a secret (password, token, ...), or
 * is one of the few keys that are secret by name. */
bool attr_key_is_secret(const char *key);
/* A copy with secret values replaced by "******", recursively through objects; lists are not entered.
 * Sealed texts are masked whatever their key is. */
json_t *attr_masked(const json_t *object);

/* The value as Python prints it ('x', 5, True, None), for sentences that repeat Ironic's; cut after
 * some 200 bytes.  The caller frees it. */
char *attr_repr(const json_t *value);
