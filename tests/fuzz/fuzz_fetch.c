/* What a web server sends to the downloader: first byte of the input: how the rest is cut into pieces. */
#include <string.h>

#include "fetch_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void read_chunks(const uint8_t *data, size_t length, size_t step)
{
	struct fetch_chunks c = {.state = FETCH_CHUNK_SIZE};
	uint8_t out[257];
	size_t at = 0, used, got;

	while (at < length && c.state != FETCH_CHUNK_DONE) {
		if (!fetch_chunks_decode(&c, data + at, MIN(step, length - at), &used, out,
					 sizeof(out), &got, NULL))
			return;
		g_assert_true(used > 0 && used <= step && got <= used);
		at += used;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_auto(fetch_head) h = {.etag = NULL};
	g_auto(fetch_url) u = {.host = NULL};
	size_t step, end;

	if (length < 2)
		return 0;
	step = 1 + data[0];
	data++;
	length--;
	end = fetch_head_find_end((const char *)data, length);
	g_assert_true(end <= length);
	if (end > 0 && fetch_head_parse((const char *)data, end, &h, NULL)) {
		g_assert_true(h.length >= -1 && h.range_start >= -1 && h.status <= 999);
		g_assert_false(h.chunked && h.length >= 0);
		read_chunks(data + end, length - end, step);
	}
	read_chunks(data, length, step);

	g_autofree char *text = g_strndup((const char *)data, length);

	if (fetch_url_parse(text, &u, NULL)) {
		g_assert_true(u.target[0] == '/' && !strpbrk(u.target, " \r\n#"));
		g_assert_null(strchr(u.shown, '?'));
	}
	return 0;
}
