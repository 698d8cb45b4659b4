#include <glib.h>
#include <string.h>

#include "errors.h"
#include "fetch_parse.h"

static void test_urls(void)
{
	static const struct {
		const char *text, *host, *target, *shown;
		unsigned port;
	} good[] = {
		{"http://h/a/b?x=1#f", "h", "/a/b?x=1", "http://h:80/a/b", 80},
		{"HTTPS://h.example:8443", "h.example", "/", "https://h.example:8443/", 8443},
		{"http://[fd77::1]:81/x", "fd77::1", "/x", "http://[fd77::1]:81/x", 81},
		{"http://h?secret=1", "h", "/?secret=1", "http://h:80/", 80},
	};
	static const char *const bad[] = {"ftp://h/",       "http://",        "http:///x",
					  "http://u:p@h/",  "http://h:0/",    "http://h:99999/",
					  "http://h:8x/",   "http://h/a b",   "http://h/\r\nX: y",
					  "http://[::1/",   "http://[::1]x/", "h/x",
					  "http://h\x80/x", "http://h%00/"};

	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		g_auto(fetch_url) u = {.host = NULL};

		g_assert_true(fetch_url_parse(good[i].text, &u, NULL));
		g_assert_cmpstr(u.host, ==, good[i].host);
		g_assert_cmpstr(u.target, ==, good[i].target);
		g_assert_cmpstr(u.shown, ==, good[i].shown);
		g_assert_cmpuint(u.port, ==, good[i].port);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_auto(fetch_url) u = {.host = NULL};
		g_autoptr(GError) error = NULL;

		if (fetch_url_parse(bad[i], &u, &error))
			g_error("%s was accepted", bad[i]);
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

static void test_heads(void)
{
	static const char good[] = "HTTP/1.1 206 Partial Content\r\nContent-Length: 900\r\n"
				   "ETag: \"abc\"\r\ncontent-range: bytes 100-999/1000\r\n"
				   "Content-Encoding: identity\r\n\r\nbody";
	static const char *const bad[] = {
		"HTTP/2 200\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\nspace before : x\r\n\r\n",
		"HTTP/1.1 206 OK\r\nContent-Range: 1-2/3\r\n\r\n",
		"junk\r\n\r\n",
	};
	g_auto(fetch_head) h = {.etag = NULL};
	size_t end = fetch_head_find_end(good, strlen(good));

	g_assert_cmpuint(end, ==, strlen(good) - 4);
	g_assert_cmpuint(fetch_head_find_end(good, end - 1), ==, 0);
	g_assert_true(fetch_head_parse(good, end, &h, NULL));
	g_assert_cmpint(h.status, ==, 206);
	g_assert_cmpint(h.length, ==, 900);
	g_assert_cmpint(h.range_start, ==, 100);
	g_assert_cmpint(h.range_total, ==, 1000);
	g_assert_cmpstr(h.etag, ==, "\"abc\"");
	g_assert_null(h.encoding);
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_auto(fetch_head) x = {.etag = NULL};
		g_autoptr(GError) error = NULL;

		if (fetch_head_parse(bad[i], strlen(bad[i]), &x, &error))
			g_error("%s was accepted", bad[i]);
		g_assert_error(error, INOX_ERROR, INOX_ERROR_PEER);
	}
}

/* However the bytes are cut into pieces, the body is the same. */
static void test_chunks(void)
{
	static const char in[] =
		"5\r\nhello\r\n1;x=y\r\n \r\n006\nworld!\r\n0\r\nTrailer: 1\r\n\r\nmore";

	for (size_t step = 1; step < sizeof(in); step++) {
		struct fetch_chunks c = {.state = FETCH_CHUNK_SIZE};
		char out[64] = "";
		size_t at = 0, have = 0, used, got;

		while (c.state != FETCH_CHUNK_DONE) {
			g_assert_true(fetch_chunks_decode(
				&c, (const uint8_t *)in + at, MIN(step, strlen(in) - at), &used,
				(uint8_t *)out + have, MIN(step, sizeof(out) - have), &got, NULL));
			g_assert_true(used + got > 0);
			at += used;
			have += got;
		}
		g_assert_cmpstr(out, ==, "hello world!");
		g_assert_cmpstr(in + at, ==, "more");
	}
}

static void test_bad_chunks(void)
{
	static const char *const bad[] = {"\r\n", "x\r\n", "5\r\nhelloX", "ffffffffffffffff\r\n",
					  "-1\r\n"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct fetch_chunks c = {.state = FETCH_CHUNK_SIZE};
		uint8_t out[64];
		size_t used, got;

		if (fetch_chunks_decode(&c, (const uint8_t *)bad[i], strlen(bad[i]), &used, out,
					sizeof(out), &got, NULL))
			g_error("%s was accepted", bad[i]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fetch/URLs are taken apart, and nothing secret is shown", test_urls);
	g_test_add_func("/fetch/heads with doubtful framing are refused", test_heads);
	g_test_add_func("/fetch/a chunked body survives any fragmentation", test_chunks);
	g_test_add_func("/fetch/malformed chunks are refused", test_bad_chunks);
	return g_test_run();
}
