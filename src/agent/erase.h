/* erase.h: the clean steps that take what an instance left from the machine's disks. */
#pragma once

#include "command.h"

/* Partition tables, boot sectors, file-system and RAID signatures of every disk that may be written, and of
 * its partitions: the first and last MiB of each become zeros.  json_null() on success.
 * Left alone: read-only disks, virtual floppies of the BMC (label ir-vfd-dev), and what
 * properties.skip_block_devices of the node names.  Errors: AGENT_ERROR_ERASE names every disk that failed,
 * and the others were wiped all the same; AGENT_ERROR_DEVICE_NOT_FOUND when the machine has no disk. */
json_t *step_erase_devices_metadata(struct command_context *context, const json_t *args,
				    const json_t *node, struct agent_error *error);
/* Every byte of these disks reads as zero afterwards; {"/dev/sda": null, ...}.  A read-only disk is an error
 * unless driver_internal_info.agent_erase_skip_read_only is true.  Errors as above. */
json_t *step_erase_devices(struct command_context *context, const json_t *args, const json_t *node,
			   struct agent_error *error);
