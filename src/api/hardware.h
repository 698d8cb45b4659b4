/* hardware.h: hardware types, the interfaces each may use, and what driver_info each wants: data. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "attr.h"
#include "config.h"
#include "node.h"

#define HARDWARE_INTERFACES 13

struct hardware_interface {
	const char *kind;        /* "power": the attribute is power_interface */
	enum node_attr attr;     /* of the node */
	unsigned since;          /* microversion */
	const char *label;       /* in validate: NULL if it is not listed there */
};

struct hardware_property {
	const char *name;
	const char *doc;
	bool required;
};

struct hardware_type {
	const char *name;
	/* For each kind, in the order of hardware_interfaces[]: names, comma separated, default first. */
	const char *offers[HARDWARE_INTERFACES];
	const struct hardware_property *properties; /* ends with a NULL name */
	const char *boot_devices;                   /* comma separated */
};

extern const struct hardware_interface hardware_interfaces[HARDWARE_INTERFACES];

/* NULL if there is no such type or the configuration does not enable it. */
const struct hardware_type *hardware_find(const struct config *c, const char *name);
/* INVALID if the configuration enables a type that is not built in. */
bool hardware_check_config(const struct config *c, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Gives each unset interface its default and checks the others; sets the bits of what it changed.
 * INVALID in Ironic's words. */
bool hardware_settle(const struct config *c, const struct hardware_type *h, struct node *n,
		     attr_set changed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* First name of a comma list; the caller frees it. */
char *hardware_default(const struct hardware_type *h, unsigned interface);
/* Why the interface cannot work for this node, as a sentence (the caller frees it); NULL if it can. */
char *hardware_problem(const struct hardware_type *h, unsigned interface, const struct node *n);
