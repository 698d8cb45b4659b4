/* hardware.h: hardware types, the interfaces each may use, and what driver_info each wants: data. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "attr.h"
#include "config.h"
#include "event.h"
#include "node.h"

enum hardware_kind {
	HARDWARE_BIOS,
	HARDWARE_BOOT,
	HARDWARE_CONSOLE,
	HARDWARE_DEPLOY,
	HARDWARE_FIRMWARE,
	HARDWARE_INSPECT,
	HARDWARE_MANAGEMENT,
	HARDWARE_NETWORK,
	HARDWARE_POWER,
	HARDWARE_RAID,
	HARDWARE_RESCUE,
	HARDWARE_STORAGE,
	HARDWARE_VENDOR,
	HARDWARE_INTERFACES
};

struct hardware_interface {
	const char *kind;    /* "power": the attribute is power_interface */
	enum node_attr attr; /* of the node */
	unsigned since;      /* microversion */
	bool validated;      /* stands in GET .../validate */
};

struct hardware_property {
	const char *name;
	const char *doc;
};

struct hardware_type {
	const char *name;
	/* For each kind, names, comma separated, default first. */
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
char *hardware_default(const struct hardware_type *h, enum hardware_kind kind);
/* Why the interface cannot work for this node, as a sentence (the caller frees it); NULL if it can. */
char *hardware_problem(const struct hardware_type *h, enum hardware_kind kind, const struct node *n,
		       const struct agent_defaults *agents);
