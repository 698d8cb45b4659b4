/* The server's parsers of heads, targets and bodies, as a stranger reaches them. */
#include <event2/buffer.h>
#include <string.h>

#include "http_connection.h"

#define BODY_LIMIT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void read_body(const struct http_head *head, const uint8_t *data, size_t length)
{
	enum http_framing framing;
	uint64_t body_length;
	struct http_body body = {.framing = HTTP_NO_BODY};
	struct evbuffer *input = evbuffer_new();
	enum http_progress p = HTTP_MORE;

	/* Byte by byte, so that each pause inside a chunk is met. */
	if (http_head_framing(head, false, &framing, &body_length, NULL) &&
	    http_body_start(&body, framing, body_length, BODY_LIMIT, NULL))
		for (size_t i = 0; i < length && p == HTTP_MORE; i++) {
			evbuffer_add(input, data + i, 1);
			p = http_body_read(&body, input, NULL);
		}
	if (body.bytes)
		g_assert_cmpuint(body.bytes->len, <=, BODY_LIMIT);
	http_body_clear(&body);
	evbuffer_free(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	const uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
	struct http_request rq = {.extra_headers = evbuffer_new()};
	size_t head_length = end ? (size_t)(end - data) : length;

	if (http_head_parse_request(&rq.head, (const char *)data, head_length, NULL)) {
		if (http_request_read_target(&rq, NULL)) {
			g_assert_nonnull(http_request_path(&rq));
			(void)http_request_query(&rq, "agent_token");
		}
		if (end)
			read_body(&rq.head, end + 4, length - head_length - 4);
	}
	http_request_clear(&rq);
	evbuffer_free(rq.extra_headers);
	return 0;
}
