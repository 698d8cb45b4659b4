/* planted.h: test builds (-Dplanted_takeover=true) only: an answer of a machine can make the process that reads
 * it attack its surroundings, as if an error in a parser had handed it over.
 *
 *     {"planted": "open /etc/passwd"}      one attempt of the table in planted.c
 *
 * Each attempt is announced on standard error, and told if it comes back: "planted open: succeeded", or
 * "planted open: refused: Permission denied".  With INOX_PLANTED_UNCONFINED in the environment processes
 * do not enter their sandbox: what the test must be able to see.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef INOX_PLANTED_TAKEOVER
#	define PLANTED_TAKEOVER true
void planted_takeover(const char *body, size_t length);
bool planted_is_unconfined(void);
#else
#	define PLANTED_TAKEOVER               false
#	define planted_takeover(body, length) ((void)0)
#	define planted_is_unconfined()        false
#endif
