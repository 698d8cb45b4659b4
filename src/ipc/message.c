#include "message.h"

#include <string.h>

#include "errors.h"
#include "limit.h"

/* One visitor per message, generated from messages.def, serves encoding, decoding and clearing: the
 * codec says which.  Like a cursor, it remembers the first failure and makes the rest harmless. */
enum codec_mode { CODEC_ENCODE, CODEC_DECODE, CODEC_CLEAR };

struct codec {
	enum codec_mode mode;
	GByteArray *out;
	const uint8_t *p, *end;
	const char *bad; /* the field that failed */
};

static const uint8_t *take(struct codec *c, size_t length, const char *field)
{
	if (c->bad || (size_t)(c->end - c->p) < length) {
		c->bad = c->bad ? c->bad : field;
		return NULL;
	}
	const uint8_t *p = c->p;

	c->p += length;
	return p;
}

static uint64_t get_number(struct codec *c, size_t bytes, const char *field)
{
	const uint8_t *p = take(c, bytes, field);
	uint64_t v = 0;

	for (size_t i = 0; p && i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void put_number(struct codec *c, uint64_t v, size_t bytes)
{
	uint8_t b[8];

	for (size_t i = 0; i < bytes; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	g_byte_array_append(c->out, b, (guint)bytes);
}

static void visit_U32(struct codec *c, uint32_t *v, const char *field, size_t limit)
{
	(void)limit;
	switch (c->mode) {
	case CODEC_ENCODE: put_number(c, *v, 4); break;
	case CODEC_DECODE: *v = (uint32_t)get_number(c, 4, field); break;
	case CODEC_CLEAR: *v = 0; break;
	}
}

static void visit_U64(struct codec *c, uint64_t *v, const char *field, size_t limit)
{
	(void)limit;
	switch (c->mode) {
	case CODEC_ENCODE: put_number(c, *v, 8); break;
	case CODEC_DECODE: *v = get_number(c, 8, field); break;
	case CODEC_CLEAR: *v = 0; break;
	}
}

static void visit_BOOL(struct codec *c, bool *v, const char *field, size_t limit)
{
	uint64_t number;

	(void)limit;
	switch (c->mode) {
	case CODEC_ENCODE: put_number(c, *v, 1); break;
	case CODEC_DECODE:
		number = get_number(c, 1, field);
		if (number > 1)
			c->bad = c->bad ? c->bad : field;
		*v = number == 1;
		break;
	case CODEC_CLEAR: *v = false; break;
	}
}

static void put_text(struct codec *c, const char *text, const char *field, size_t limit)
{
	size_t length = text ? strlen(text) : 0;

	if (length > limit && g_str_has_suffix(field, "reason")) {
		const char *end = g_utf8_find_prev_char(text, text + limit);

		length = end ? (size_t)(end - text) : 0;
	}
	if (length > limit) {
		c->bad = c->bad ? c->bad : field;
		return;
	}
	put_number(c, length, 4);
	g_byte_array_append(c->out, (const guint8 *)(text ? text : ""), (guint)length);
}

/* Borrowed bytes of the frame, NULL after a failure. */
static const char *get_text(struct codec *c, size_t *ret_length, const char *field, size_t limit)
{
	size_t length = (size_t)get_number(c, 4, field);
	const char *text = length <= limit ? (const char *)take(c, length, field) : NULL;

	if (!text || memchr(text, '\0', length) || !g_utf8_validate(text, (gssize)length, NULL)) {
		c->bad = c->bad ? c->bad : field;
		return NULL;
	}
	*ret_length = length;
	return text;
}

static void visit_TEXT(struct codec *c, char **v, const char *field, size_t limit)
{
	size_t length = 0;
	const char *text;

	switch (c->mode) {
	case CODEC_ENCODE: put_text(c, *v, field, limit); break;
	case CODEC_DECODE:
		text = get_text(c, &length, field, limit);
		*v = text ? g_strndup(text, length) : NULL;
		break;
	case CODEC_CLEAR: g_clear_pointer(v, g_free); break;
	}
}

static void visit_SECRET(struct codec *c, struct secret **v, const char *field, size_t limit)
{
	size_t length = 0;
	const char *text;

	switch (c->mode) {
	case CODEC_ENCODE: put_text(c, secret_peek(*v), field, limit); break;
	case CODEC_DECODE:
		text = get_text(c, &length, field, limit);
		*v = text && length > 0 ? secret_new_length(text, length) : NULL;
		break;
	case CODEC_CLEAR: g_clear_pointer(v, secret_free); break;
	}
}

static void visit_UUID(struct codec *c, struct uuid *v, const char *field, size_t limit)
{
	const uint8_t *p;
	char text[UUID_TEXT];

	(void)limit;
	switch (c->mode) {
	case CODEC_ENCODE: g_byte_array_append(c->out, (const guint8 *)v->s, UUID_TEXT - 1); break;
	case CODEC_DECODE:
		p = take(c, UUID_TEXT - 1, field);
		if (!p)
			break;
		memcpy(text, p, UUID_TEXT - 1);
		text[UUID_TEXT - 1] = '\0';
		/* Our own print lower case; a second form of the same node is nobody's. */
		if (!uuid_parse(text, v, NULL) || strcmp(v->s, text) != 0)
			c->bad = field;
		break;
	case CODEC_CLEAR: v->s[0] = '\0'; break;
	}
}

#define MESSAGE(name)                                                       \
	static void visit_##name(struct codec *c, struct message_##name *m) \
	{                                                                   \
		(void)c;                                                    \
		(void)m;
#define FIELD(kind, field, limit) visit_##kind(c, &m->field, #field, limit);
#define MESSAGE_END(name)         }
#include "messages.def"
#undef MESSAGE
#undef FIELD
#undef MESSAGE_END

static const char *const type_text[MESSAGE_TYPE_COUNT] = {
	[MESSAGE_NONE] = "none",
#define MESSAGE(name) [MESSAGE_##name] = #name,
#define FIELD(kind, field, limit)
#define MESSAGE_END(name)
#include "messages.def"
#undef MESSAGE
#undef FIELD
#undef MESSAGE_END
};

const char *message_type_text(enum message_type type)
{
	return type < MESSAGE_TYPE_COUNT ? type_text[type] : "unknown";
}

static void visit(struct codec *c, struct message *m)
{
	switch (m->type) {
#define MESSAGE(name)                      \
	case MESSAGE_##name:               \
		visit_##name(c, &m->name); \
		break;
#define FIELD(kind, field, limit)
#define MESSAGE_END(name)
#include "messages.def"
#undef MESSAGE
#undef FIELD
#undef MESSAGE_END
	case MESSAGE_NONE:
	case MESSAGE_TYPE_COUNT: c->bad = "type"; break;
	}
}

void message_clear(struct message *m)
{
	struct codec c = {.mode = CODEC_CLEAR};

	visit(&c, m);
	m->type = MESSAGE_NONE;
}

bool message_encode(const struct message *m, GByteArray *out, GError **error)
{
	struct codec c = {.mode = CODEC_ENCODE, .out = out};
	guint start = out->len;

	put_number(&c, 0, 4);
	put_number(&c, m->type, 2);
	/* Encoding does not write through the pointer; one visitor serves all modes. */
	visit(&c, (struct message *)(uintptr_t)m);
	size_t length = out->len - start - 4;

	if (!c.bad && length > LIMIT_IPC_MESSAGE)
		c.bad = "length";
	if (c.bad) {
		g_byte_array_set_size(out, start);
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "message %s: field %s is over its limit",
				      message_type_text(m->type), c.bad);
	}
	for (size_t i = 0; i < 4; i++)
		out->data[start + i] = (uint8_t)(length >> (8 * i));
	return true;
}

bool message_decode(const uint8_t *bytes, size_t length, struct message *ret_message,
		    GError **error)
{
	struct codec c = {.mode = CODEC_DECODE, .p = bytes, .end = bytes + length};
	struct message m = {.type = MESSAGE_NONE};
	uint64_t type = get_number(&c, 2, "type");

	m.type = type < MESSAGE_TYPE_COUNT ? (enum message_type)type : MESSAGE_NONE;
	if (!c.bad)
		visit(&c, &m);
	if (!c.bad && c.p != c.end)
		c.bad = "end";
	if (c.bad) {
		inox_error_set(error, INOX_ERROR_PEER, "malformed message %s: field %s",
			       message_type_text(m.type), c.bad);
		if (m.type != MESSAGE_NONE)
			message_clear(&m);
		return false;
	}
	m.length = (uint32_t)length;
	*ret_message = m;
	return true;
}
