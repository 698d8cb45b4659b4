#include "http_head.h"

#include <string.h>

#include "errors.h"
#include "secret.h"

static bool is_token_char(char c)
{
	return g_ascii_isalnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (!is_token_char(*text))
			return false;
	return true;
}

/* Visible ASCII, space, tab and bytes above 0x7f: nothing that could end a line or a string. */
static bool has_control(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

/* Ends the line at *cursor, moves *cursor behind it; NULL if the line end is not CR LF or the line
 * holds control characters. */
static char *take_line(char **cursor)
{
	char *line = *cursor;
	char *end = strchr(line, '\r');

	if (end) {
		if (end[1] != '\n')
			return NULL;
		*end = '\0';
		*cursor = end + 2;
	} else {
		end = line + strlen(line);
		*cursor = end;
	}
	return has_control(line, (size_t)(end - line)) ? NULL : line;
}

static bool parse_field(struct http_head *h, char *line, GError **error)
{
	char *colon = strchr(line, ':');

	if (h->n_fields == HTTP_HEADERS_MAX)
		return inox_error_set(error, INOX_ERROR_LIMIT, "more than %d header lines",
				      HTTP_HEADERS_MAX);
	if (colon)
		*colon = '\0';
	if (!colon || !is_token(line))
		return inox_error_set(error, INOX_ERROR_PEER, "a malformed header line");
	h->fields[h->n_fields++] =
		(struct http_field){.name = line, .value = g_strstrip(colon + 1)};
	return true;
}

static bool parse_fields(struct http_head *h, char *cursor, GError **error)
{
	while (*cursor) {
		char *line = take_line(&cursor);

		if (!line)
			return inox_error_set(error, INOX_ERROR_PEER,
					      "a control character in the header");
		if (!parse_field(h, line, error))
			return false;
	}
	return true;
}

/* "HTTP/1.0" or "HTTP/1.1" */
static bool parse_version(struct http_head *h, const char *text)
{
	if (!g_str_equal(text, "HTTP/1.1") && !g_str_equal(text, "HTTP/1.0"))
		return false;
	h->minor = (unsigned)(text[7] - '0');
	return true;
}

static bool start(struct http_head *h, const char *text, size_t length, char **ret_cursor,
		  char **ret_line, GError **error)
{
	*h = (struct http_head){.text = g_strndup(text, length)};
	if (strlen(h->text) != length)
		return inox_error_set(error, INOX_ERROR_PEER, "a NUL byte in the header");
	*ret_cursor = h->text;
	*ret_line = take_line(ret_cursor);
	if (!*ret_line)
		return inox_error_set(error, INOX_ERROR_PEER, "a control character in the header");
	return true;
}

static bool parse_request_line(struct http_head *h, char *line)
{
	char *target = strchr(line, ' ');
	char *version = target ? strchr(target + 1, ' ') : NULL;

	if (!version)
		return false;
	*target++ = '\0';
	*version++ = '\0';
	h->method = line;
	h->target = target;
	return is_token(line) && *target && parse_version(h, version);
}

bool http_head_parse_request(struct http_head *h, const char *text, size_t length, GError **error)
{
	g_auto(http_head) head = {.text = NULL};
	char *cursor, *line;

	if (!start(&head, text, length, &cursor, &line, error))
		return false;
	if (!parse_request_line(&head, line))
		return inox_error_set(error, INOX_ERROR_PEER, "a malformed request line");
	if (!parse_fields(&head, cursor, error))
		return false;
	*h = head;
	head.text = NULL;
	return true;
}

/* "HTTP/1.1 200 anything" or "HTTP/1.1 200" */
static bool parse_status_line(struct http_head *h, char *line)
{
	char *code = strchr(line, ' ');

	if (!code)
		return false;
	*code++ = '\0';
	for (int i = 0; i < 3; i++)
		if (!g_ascii_isdigit(code[i]))
			return false;
	if (code[3] != ' ' && code[3] != '\0')
		return false;
	h->status = (code[0] - '0') * 100 + (code[1] - '0') * 10 + code[2] - '0';
	return h->status >= 100 && h->status <= 599 && parse_version(h, line);
}

bool http_head_parse_answer(struct http_head *h, const char *text, size_t length, GError **error)
{
	g_auto(http_head) head = {.text = NULL};
	char *cursor, *line;

	if (!start(&head, text, length, &cursor, &line, error))
		return false;
	if (!parse_status_line(&head, line))
		return inox_error_set(error, INOX_ERROR_PEER, "a malformed status line");
	if (!parse_fields(&head, cursor, error))
		return false;
	*h = head;
	head.text = NULL;
	return true;
}

void http_head_clear(struct http_head *h)
{
	secret_wipe_text(h->text);
	*h = (struct http_head){.text = NULL};
}

const char *http_head_find(const struct http_head *h, const char *name)
{
	for (unsigned i = 0; i < h->n_fields; i++)
		if (g_ascii_strcasecmp(h->fields[i].name, name) == 0)
			return h->fields[i].value;
	return NULL;
}

bool http_head_has_word(const struct http_head *h, const char *name, const char *word)
{
	const char *value = http_head_find(h, name);
	g_auto(GStrv) words = g_strsplit(value ? value : "", ",", -1);

	for (char **w = words; *w; w++)
		if (g_ascii_strcasecmp(g_strstrip(*w), word) == 0)
			return true;
	return false;
}

static unsigned count(const struct http_head *h, const char *name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->n_fields; i++)
		n += g_ascii_strcasecmp(h->fields[i].name, name) == 0;
	return n;
}

bool http_head_framing(const struct http_head *h, bool no_body, enum http_framing *ret_framing,
		       uint64_t *ret_length, GError **error)
{
	const char *length = http_head_find(h, "Content-Length");
	const char *coding = http_head_find(h, "Transfer-Encoding");
	enum http_framing otherwise = h->status ? HTTP_UNTIL_CLOSE : HTTP_NO_BODY;
	guint64 n = 0;

	/* Two ways to say where a message ends are how requests are smuggled past each other. */
	if (count(h, "Content-Length") + count(h, "Transfer-Encoding") > 1)
		return inox_error_set(error, INOX_ERROR_PEER, "more than one length of the body");
	if (length && !g_ascii_string_to_unsigned(length, 10, 0, G_MAXINT64, &n, NULL))
		return inox_error_set(error, INOX_ERROR_PEER, "a Content-Length that is no number");
	if (coding && (h->minor == 0 || g_ascii_strcasecmp(coding, "chunked") != 0))
		return inox_error_set(error, INOX_ERROR_PEER, "an unknown Transfer-Encoding");
	bool bare = no_body || h->status == 204 || h->status == 304;

	*ret_length = bare ? 0 : n;
	if (bare || (length && n == 0))
		*ret_framing = HTTP_NO_BODY;
	else
		*ret_framing = length ? HTTP_LENGTH : coding ? HTTP_CHUNKED : otherwise;
	return true;
}
