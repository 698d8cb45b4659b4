#include "media_range.h"

#include <glib.h>
#include <string.h>

#define UNIT "bytes="

/* Digits, as many as there are: what is too large stays the largest number.  False without any. */
static bool take_number(const char **text, uint64_t *ret)
{
	const char *c = *text;
	uint64_t n = 0;

	for (; g_ascii_isdigit(*c); c++) {
		unsigned digit = (unsigned)(*c - '0');

		n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
	}
	if (c == *text)
		return false;
	*text = c;
	*ret = n;
	return true;
}

static enum media_range_kind take_suffix(const char *text, uint64_t size, struct media_range *ret)
{
	uint64_t last;

	if (!take_number(&text, &last) || *text)
		return MEDIA_RANGE_NONE;
	if (last == 0 || size == 0)
		return MEDIA_RANGE_UNSATISFIABLE;
	last = MIN(last, size);
	*ret = (struct media_range){size - last, last};
	return MEDIA_RANGE_SOME;
}

enum media_range_kind media_range_read(const char *range, const char *if_range, const char *etag,
				       uint64_t size, struct media_range *ret)
{
	uint64_t from, to = UINT64_MAX;

	*ret = (struct media_range){0, size};
	/* A date is no strong validator here: there is no Last-Modified to compare it with. */
	if (!range || (if_range && strcmp(if_range, etag) != 0) ||
	    g_ascii_strncasecmp(range, UNIT, strlen(UNIT)) != 0)
		return MEDIA_RANGE_NONE;
	range += strlen(UNIT);
	if (*range == '-')
		return take_suffix(range + 1, size, ret);
	if (!take_number(&range, &from) || *range++ != '-' ||
	    (*range && !take_number(&range, &to)) || *range || to < from)
		return MEDIA_RANGE_NONE;
	if (from >= size)
		return MEDIA_RANGE_UNSATISFIABLE;
	*ret = (struct media_range){from, MIN(to, size - 1) - from + 1};
	return MEDIA_RANGE_SOME;
}
