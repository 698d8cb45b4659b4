/* key_schedule.h: the key schedule of TLS 1.3 (RFC 8446, 7.1) with SHA-256 or SHA-384, for a client that opens thousands of
 * connections a second.
 *
 * A handshake with a pre-shared key derives two dozens of secrets.  OpenSSL takes 17,000 instructions for each,
 * nearly all of them to find, make and forget algorithms; the hashing itself is 1,500.
 *
 * It does what OpenSSL's TLS needs of "TLS13-KDF" (EVP_KDF-TLS13_KDF(7)), with all parameters in the call that
 * derives: those two hashes, secrets of up to the size of one.  Everything else is refused.
 */
#pragma once

#include <openssl/core.h>

/* provider-kdf(7) */
extern const OSSL_DISPATCH key_schedule_calls[];
