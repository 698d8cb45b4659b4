/* deployment.h: what a node's attributes say about its deployment: image, boot mode, BMC. */
#pragma once

#include "event.h"
#include "node.h"
#include "vocabulary.h"

/* image_info of the step write_image.  A new reference; NULL with INVALID and the sentence that the API's
 * validate shows for "deploy" (bare-metal-api 2.22; image keys: agent-protocol 2.1). */
json_t *deployment_image_info(const struct node *n, GError **error);
/* INVALID when driver_info lacks what the driver needs: the API's sentence for "power". */
bool deployment_check_power(const struct node *n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A flag of driver_info: true, false, or one of the words for it, as command lines send them.  INVALID names
 * the key. */
bool deployment_flag(const struct node *n, const char *key, bool otherwise, bool *ret_flag,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Key of instance_info: sealed, and there while a rescue is under way. */
#define RESCUE_PASSWORD "rescue_password"
/* INVALID when rescue_interface says that the node cannot be rescued: the API's sentence for "rescue". */
bool deployment_check_rescue(const struct node *n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How the node and its agent find each other: driver_info before the configuration. */
struct deployment_mode {
	bool active;     /* the agent calls the API; false: it is polled and never calls */
	bool by_lookup;  /* of an active node: its first look-up gives the token */
	bool by_contact; /* of a passive node: the first who answers is given the token */
};
/* INVALID when driver_info does not fit, the node is active and there is no URL for its agent, or its token
 * may not be given at the first contact. */
bool deployment_mode(const struct node *n, const struct agent_defaults *defaults,
		     struct deployment_mode *ret_mode, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* enum agent_transport; `otherwise` is [agent]transport.  INVALID for another word. */
bool deployment_transport(const struct node *n, const char *otherwise,
			  enum agent_transport *ret_transport,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* INVALID when what a rescue would boot, or how its agent would be found, does not fit. */
bool deployment_check_rescue_boot(const struct node *n, const struct agent_defaults *defaults,
				  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* True if its ramdisk boots from virtual media, by boot_interface. */
bool deployment_uses_media(const struct node *n);
/* From the capabilities of instance_info (object or text) or properties (text); UNKNOWN: neither says. */
enum boot_mode deployment_boot_mode(const struct node *n);
