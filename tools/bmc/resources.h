/* resources.h: the resources of the Redfish service as JSON; new references.  Source: DMTF schemas
 * ServiceRoot 1.9, ComputerSystem 1.13, EthernetInterface 1.6, VirtualMedia 1.3, Manager 1.10, Chassis 1.14. */
#pragma once

#include <jansson.h>

#include "machine.h"

#define ROOT     "/redfish/v1"
#define SYSTEMS  ROOT "/Systems"
#define MEDIA_ID "Cd"

/* Texts on the wire, by the enumerations of machine.h. */
extern const char *const resource_reset_text[MACHINE_RESET_COUNT];
extern const char *const resource_target_text[BOOT_TARGET_COUNT];
extern const char *const resource_enabled_text[BOOT_ENABLED_COUNT];
extern const char *const resource_mode_text[2];

json_t *resource_root(void);
json_t *resource_session_service(unsigned timeout_s);
json_t *resource_session(const char *id, const char *username);
json_t *resource_manager(bool alone); /* alone: there is one machine */
json_t *resource_chassis(void);
/* `ids` are appended to `path` to make the members' links. */
json_t *resource_collection(const char *path, const char *type, const char *const *ids,
			    unsigned count);
json_t *resource_system(const struct machine *m, const char *id);
/* The optical drive. */
json_t *resource_media(const struct machine *m, const char *system_id);
json_t *resource_nic(const struct machine *m, const char *system_id, unsigned nic);
/* The ETag of a system; the caller frees it. */
char *resource_etag(const struct machine *m);
