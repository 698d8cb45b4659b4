/* media_range.h: which bytes a request asks for (RFC 9110, section 14).  One range; several are answered as none. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum media_range_kind {
	MEDIA_RANGE_NONE, /* all: no range, one that is not understood, or of another ETag */
	MEDIA_RANGE_SOME,
	MEDIA_RANGE_UNSATISFIABLE
};

struct media_range {
	uint64_t offset, length;
};

/* `range` and `if_range` are the headers' values, NULL if they are absent.  *ret is what to send, of MEDIA_RANGE_NONE all. */
enum media_range_kind media_range_read(const char *range, const char *if_range, const char *etag,
				       uint64_t size, struct media_range *ret);
