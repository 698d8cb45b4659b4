/* command_rescue.c: the last command of a boot: the machine is handed to a person.
 *
 * The ramdisk makes the user (tools/ramdisk/init) when the agent has ended; here is only what it needs: the
 * hash in a file, and the mark behind which no agent serves any more. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "command_table.h"
#include "errors.h"
#include "jsons.h"
#include "log.h"
#include "rescue_hash.h"

#define FOLDER   "etc/ipa-rescue-config"
#define PASSWORD FOLDER "/ipa-rescue-password"

/* The text that goes into the file, wiped and freed by the caller. */
static char *hash_of(const json_t *params, GError **error)
{
	const json_t *password = json_object_get(params, "rescue_password");
	const json_t *hashed = json_object_get(params, "hashed");
	const char *text = password ? json_string_value(password) : "";

	if (!text || (hashed && !json_is_boolean(hashed))) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "rescue_password is a text, and hashed is true or false.");
		return NULL;
	}
	if (!json_is_true(hashed))
		return rescue_hash_make(text, error);
	return rescue_hash_check(text, error) ? g_strdup(text) : NULL;
}

static bool write_file(const char *path, const char *text, GError **error)
{
	g_autoptr(GError) reason = NULL;

	return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600,
					&reason) ||
	       inox_error_set(error, INOX_ERROR_IO, "%s", reason->message);
}

/* Both files or none. */
static bool hand_over(const char *root, const char *hash, GError **error)
{
	g_autofree char *folder = g_build_filename(root, FOLDER, NULL);
	g_autofree char *path = g_build_filename(root, PASSWORD, NULL);
	g_autofree char *mark = g_build_filename(root, AGENT_RESCUED_MARK, NULL);

	if (!g_file_test(folder, G_FILE_TEST_IS_DIR))
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
				      "This ramdisk has no rescue login: there is no /" FOLDER ".");
	if (!write_file(path, hash, error))
		return false;
	if (write_file(mark, "", error))
		return true;
	(void)g_unlink(path);
	return false;
}

json_t *command_finalize_rescue(struct agent *a, struct command_context *context,
				const json_t *params, struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	char *hash = hash_of(params, &reason);

	if (!hash) {
		agent_error_set_reason(error, AGENT_ERROR_INVALID_PARAMS, reason);
		return NULL;
	}
	bool good = hand_over(command_peek_root(context), hash, &reason);

	secret_wipe_text(hash);
	if (!good) {
		agent_error_set_reason(error, AGENT_ERROR_EXECUTION, reason);
		return NULL;
	}
	agent_retire(a);
	log_notice(NULL, "the machine is handed over for rescue: this agent ends");
	return json_null();
}
