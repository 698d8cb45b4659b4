/* fingerprint.h: what a certificate is pinned by. */
#pragma once

#include <glib.h>

/* The SHA-256 of the first certificate in a PEM text, as 64 hex digits. */
static inline char *fingerprint_of(const char *pem)
{
	g_auto(GStrv) parts = g_strsplit(pem, "-----", -1);
	gsize length = 0;
	g_autofree guchar *der = g_base64_decode(parts[2], &length);

	return g_compute_checksum_for_data(G_CHECKSUM_SHA256, der, length);
}
