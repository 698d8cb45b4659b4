/* certificate.h: a certificate that came as a text from outside. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define CERTIFICATE_PIN_TEXT 65

/* The SHA-256 of the certificate in lower-case hex: what TRANSPORT_PINNED compares.  `pem` is one certificate in
 * PEM form and nothing else; INVALID otherwise. */
bool certificate_pin(const char *pem, char out[static CERTIFICATE_PIN_TEXT],
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;
