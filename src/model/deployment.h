/* deployment.h: what a node's attributes say about its deployment: image, boot mode, BMC. */
#pragma once

#include "node.h"
#include "vocabulary.h"

/* image_info of the step write_image.  A new reference; NULL with INVALID and the sentence that the API's
 * validate shows for "deploy" (bare-metal-api 2.22; image keys: agent-protocol 2.1). */
json_t *deployment_image_info(const struct node *n, GError **error);
/* INVALID when driver_info lacks what the driver needs: the API's sentence for "power". */
bool deployment_check_power(const struct node *n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* From the capabilities of instance_info (object or text) or properties (text); UNKNOWN: neither says. */
enum boot_mode deployment_boot_mode(const struct node *n);
