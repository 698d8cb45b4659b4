#include "rescue_call.h"

#include <crypt.h>
#include <string.h>

#include "deployment.h"
#include "errors.h"
#include "jsons.h"

char *rescue_hash(const char *password, bool sha512, GError **error)
{
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *work = g_new0(struct crypt_data, 1);
	/* NULL: libcrypt asks the system for the random bytes of the salt. */
	const char *made = crypt_gensalt_rn(sha512 ? "$6$" : "$5$", 0, NULL, 0, salt, sizeof(salt))
				   ? crypt_rn(password, salt, work, (int)sizeof(*work))
				   : NULL;
	char *hash = g_strdup(made);

	explicit_bzero(work, sizeof(*work));
	g_free(work);
	if (!hash)
		inox_error_set(error, INOX_ERROR_INVALID, "the rescue password cannot be hashed");
	return hash;
}

json_t *rescue_call_params(const struct config *conf, const struct seal_key *key,
			   const struct node *n, GError **error)
{
	const char *sealed = json_peek_string(n->instance_info, RESCUE_PASSWORD);
	bool sha512 = strcmp(config_text(conf, OPTION_conductor_rescue_password_hash_algorithm),
			     "sha512") == 0;

	if (!sealed || !seal_is_sealed(sealed)) {
		inox_error_set(error, INOX_ERROR_INVALID, "the node has no rescue password");
		return NULL;
	}
	g_autoptr(secret) password = seal_open(key, n->uuid.s, sealed, error);

	if (!password) {
		g_prefix_error(error, "instance_info." RESCUE_PASSWORD ": ");
		return NULL;
	}
	g_autofree char *hash = rescue_hash(secret_peek(password), sha512, error);

	return hash ? json_pack("{s:s, s:b}", "rescue_password", hash, "hashed", 1) : NULL;
}
