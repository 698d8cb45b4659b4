/* command_image.c: what makes a written disk bootable. */
#include "command_table.h"
#include "disk.h"
#include "efi_install.h"
#include "errors.h"
#include "hints.h"
#include "jsons.h"
#include "log.h"

static bool is_ignoring(const struct agent *a, const json_t *params)
{
	const json_t *wanted = json_object_get(params, "ignore_bootloader_failure");

	return wanted && !json_is_null(wanted) ? json_is_true(wanted)
					       : a->options.ignore_bootloader;
}

static bool make_entries(const struct agent *a, unsigned *ret_count, GError **error)
{
	const char *root = a->options.root;
	g_autoptr(GPtrArray) disks = disk_list(root, error);
	const struct disk *d =
		disks ? hints_choose(a->node ? hints_of_node(a->node) : NULL, disks, error) : NULL;

	return d && efi_install_entries(root, d, ret_count, error);
}

/* True if the firmware knows now what to boot; *ret_made is false when that is left to its default path. */
static bool manage_entries(const struct agent *a, const json_t *params, bool *ret_made,
			   struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	unsigned count = 0;

	*ret_made = false;
	if (!efi_install_is_possible(a->options.root))
		return true;
	if (make_entries(a, &count, &reason)) {
		*ret_made = count > 0;
		return true;
	}
	if (is_ignoring(a, params)) {
		log_warn(NULL, "boot entries could not be made, which is to be ignored",
			 F_ERR(reason));
		*ret_made = true;
		return true;
	}
	agent_error_set_reason(error,
			       g_error_matches(reason, INOX_ERROR, INOX_ERROR_NOT_FOUND)
				       ? AGENT_ERROR_DEVICE_NOT_FOUND
				       : AGENT_ERROR_EXECUTION,
			       reason);
	return false;
}

/* A whole-disk image brings its boot loader along.  Firmware with UEFI gets an entry for it; without one it
 * starts what is at the default path of the system partition.  What only a partition image has is refused, because
 * such a disk would not boot. */
json_t *command_install_bootloader(struct agent *a, struct command_context *context,
				   const json_t *params, struct agent_error *error)
{
	static const char *const partitions[] = {"efi_system_part_uuid", "prep_boot_part_uuid"};
	bool made;

	(void)context;
	if (!manage_entries(a, params, &made, error))
		return NULL;
	for (size_t i = 0; !made && i < G_N_ELEMENTS(partitions); i++) {
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
