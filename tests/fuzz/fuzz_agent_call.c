/* What an agent's heartbeat carries: a callback URL and a certificate, and the check values of tokens. */
#include <string.h>

#include "agent_words.h"
#include "certificate.h"
#include "verifier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void try_callback(const char *text)
{
	struct callback c, again;
	g_autoptr(GError) error = NULL;

	if (!callback_parse(text, &c, &error)) {
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		return;
	}
	g_autofree char *shown = callback_print(&c);

	g_assert_true(callback_parse(shown, &again, NULL));
	g_autofree char *shown_again = callback_print(&again);

	g_assert_cmpstr(shown, ==, shown_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autofree char *text = g_strndup((const char *)data, length);
	char pin[CERTIFICATE_PIN_TEXT];

	try_callback(text);
	if (certificate_pin(text, pin, NULL))
		g_assert_cmpuint(strlen(pin), ==, 64);
	g_assert_false(verifier_matches(text, "token"));
	return 0;
}
