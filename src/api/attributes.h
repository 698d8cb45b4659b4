/* attributes.h: a resource and its table where PATCH, `fields` and sealed secrets are concerned. */
#pragma once

#include "attr.h"
#include "request.h"

/* Refuses a patch of what cannot be patched; needs no object. */
bool attributes_check_patch(const struct patch *p, const struct attr_table *t, unsigned minor,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Applies a checked patch; the bits of what differs now are added to `changed`.  A root that was
 * removed gets its default; its bit in `removed` is set. */
bool attributes_patch(const struct patch *p, const struct attr_table *t, void *object,
		      attr_set changed, attr_set removed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Checks the names of a `fields` argument; NOT_ACCEPTABLE for one that is too new.  `further`: names
 * that are no attributes, comma separated. */
bool attributes_check_fields(const struct attr_table *t, unsigned minor, char **fields,
			     const char *further, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* True if any string of the value, at any depth, looks sealed already. */
bool attributes_hold_sealed(const json_t *value);
/* A copy in which each string under a secret-looking key is sealed for `context`; what is sealed
 * already stays. */
json_t *attributes_seal(const struct seal_key *k, const char *context, const json_t *object);
