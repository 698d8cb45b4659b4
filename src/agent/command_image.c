/* command_image.c: what makes a written disk bootable. */
#include "command_table.h"
#include "jsons.h"

/* A whole-disk image brings its boot loader along, so there is nothing to install; firmware with UEFI starts
 * it from the default path of its system partition (boot entries are not made).  What only a partition
 * image has is refused, because such a disk would not boot. */
json_t *command_install_bootloader(struct agent *a, struct command_context *context,
				   const json_t *params, struct agent_error *error)
{
	static const char *const partitions[] = {"efi_system_part_uuid", "prep_boot_part_uuid"};

	(void)a;
	(void)context;
	for (size_t i = 0; i < G_N_ELEMENTS(partitions); i++) {
		const json_t *uuid = json_object_get(params, partitions[i]);

		if (!uuid || json_is_null(uuid))
			continue;
		agent_error_set(error, AGENT_ERROR_INVALID_IMAGE,
				"A boot loader for %s cannot be installed: use a whole-disk image, "
				"which has one",
				partitions[i]);
		return NULL;
	}
	return json_null();
}
