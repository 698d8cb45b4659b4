/* The hash of a rescue password: what is taken must be one line of /etc/shadow, and known to crypt(3). */
#include <crypt.h>
#include <stdint.h>
#include <string.h>

#include "rescue_hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autofree char *text = g_strndup((const char *)data, length);

	if (rescue_hash_check(text, NULL)) {
		g_assert_null(strpbrk(text, ":\n*! "));
		g_assert_cmpint(crypt_checksalt(text), !=, CRYPT_SALT_INVALID);
	}
	return 0;
}
