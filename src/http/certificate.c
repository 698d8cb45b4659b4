#include "certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "errors.h"

#define BLANKS " \t\r\n"
#define BEGIN  "-----BEGIN CERTIFICATE-----"
#define END    "-----END CERTIFICATE-----"

/* From BEGIN to END with nothing around it but blanks: a second certificate, a key or a comment is refused,
 * where OpenSSL's reader would pass over it. */
static bool is_one_block(const char *pem)
{
	const char *start = pem + strspn(pem, BLANKS);
	const char *end = strstr(start, END);

	return g_str_has_prefix(start, BEGIN) && end && !strstr(start + strlen(BEGIN), BEGIN) &&
	       end[strlen(END) + strspn(end + strlen(END), BLANKS)] == '\0';
}

static bool digest_of(const unsigned char *der, long length, char out[static CERTIFICATE_PIN_TEXT])
{
	const unsigned char *at = der;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	X509 *certificate = d2i_X509(NULL, &at, length);
	bool good = certificate && at == der + length && X509_get0_pubkey(certificate) &&
		    X509_digest(certificate, EVP_sha256(), digest, &size) == 1;

	X509_free(certificate);
	for (unsigned i = 0; good && i < size; i++)
		g_snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
	return good;
}

bool certificate_pin(const char *pem, char out[static CERTIFICATE_PIN_TEXT], GError **error)
{
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	long length = 0;
	bool good = false;

	/* PEM_read_bio() neither decrypts nor asks anybody for a pass phrase. */
	if (is_one_block(pem)) {
		BIO *bio = BIO_new_mem_buf(pem + strspn(pem, BLANKS), -1);

		good = PEM_read_bio(bio, &name, &header, &der, &length) == 1 && *header == '\0' &&
		       digest_of(der, length, out);
		BIO_free(bio);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	return good ||
	       inox_error_set(error, INOX_ERROR_INVALID, "it is not one certificate in PEM form");
}
