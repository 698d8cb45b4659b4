/* write_image.h: the deploy step write_image (agent protocol, "standby.prepare_image / step write_image"). */
#pragma once

#include "command.h"

/* Arguments: image_info (image_info.h) and configdrive (config_drive.h).  The disk is chosen by the node's
 * root device hints (hints.h).  Result: {"result": "prepare_image: image (ID) written to device ..."}. */
json_t *step_write_image(struct command_context *context, const json_t *args, const json_t *node,
			 struct agent_error *error);
