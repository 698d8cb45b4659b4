#include "erase_options.h"

#include <stddef.h>

#include "errors.h"

static const struct {
	const char *key;
	size_t offset;
} truths[] = {
	{"agent_erase_devices_zeroize", offsetof(struct erase_options, zeroize)},
	{"agent_enable_nvme_secure_erase", offsetof(struct erase_options, nvme)},
	{"agent_enable_ata_secure_erase", offsetof(struct erase_options, ata)},
	{"agent_erase_skip_read_only", offsetof(struct erase_options, skip_read_only)},
	/* the older name first: the newer one goes before it */
	{"agent_continue_if_ata_erase_failed", offsetof(struct erase_options, go_on)},
	{"agent_continue_if_secure_erase_failed", offsetof(struct erase_options, go_on)},
};

static bool read_truth(const json_t *info, size_t i, struct erase_options *o, GError **error)
{
	const json_t *value = json_object_get(info, truths[i].key);

	if (!value || json_is_null(value))
		return true;
	if (!json_is_boolean(value))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_internal_info.%s is neither true nor false",
				      truths[i].key);
	*(bool *)(void *)((char *)o + truths[i].offset) = json_is_true(value);
	return true;
}

static bool read_iterations(const json_t *info, struct erase_options *o, GError **error)
{
	const json_t *value = json_object_get(info, "agent_erase_devices_iterations");
	json_int_t number = json_integer_value(value);

	if (!value || json_is_null(value))
		return true;
	if (!json_is_integer(value) || number < 0 || number > ERASE_PASSES_MOST)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_internal_info.agent_erase_devices_iterations is not "
				      "0 to %d",
				      ERASE_PASSES_MOST);
	o->iterations = (unsigned)number;
	return true;
}

bool erase_options_read(const json_t *node, struct erase_options *ret_options, GError **error)
{
	const json_t *info = json_object_get(node, "driver_internal_info");
	struct erase_options o = {.iterations = 1, .zeroize = true, .nvme = true, .ata = true};

	for (size_t i = 0; i < G_N_ELEMENTS(truths); i++)
		if (!read_truth(info, i, &o, error))
			return false;
	if (!read_iterations(info, &o, error))
		return false;
	if (o.iterations == 0 && !o.zeroize)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "driver_internal_info asks for no pass at all, neither "
				      "random nor zeros");
	*ret_options = o;
	return true;
}
