/* message.h: what the processes of inoxd say to each other.
 *
 * A message is a type and fields; both are declared once, in messages.def, from which the struct, the
 * encoder and the decoder are made.  On the wire: u32 length of what follows, u16 type, then the
 * fields in order; integers little-endian, texts as u32 length and bytes without NUL.  The decoder
 * refuses short, long and trailing data, texts over their limit, NUL inside a text, invalid UTF-8 and
 * booleans other than 0 and 1: a worker that was taken over can send anything.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "secret.h"

enum message_type {
	MESSAGE_NONE,
#define MESSAGE(name) MESSAGE_##name,
#define FIELD(kind, field, limit)
#define MESSAGE_END(name)
#include "messages.def"
#undef MESSAGE
#undef FIELD
#undef MESSAGE_END
	MESSAGE_TYPE_COUNT
};

#define FIELD_CTYPE_U32           uint32_t
#define FIELD_CTYPE_U64           uint64_t
#define FIELD_CTYPE_BOOL          bool
#define FIELD_CTYPE_UUID          struct uuid
#define FIELD_CTYPE_TEXT          char * /* never NULL after decoding; NULL is sent as "" */
#define FIELD_CTYPE_SECRET        struct secret * /* NULL is sent as "", and "" is received as NULL */

#define MESSAGE(name)             struct message_##name {
#define FIELD(kind, field, limit) FIELD_CTYPE_##kind field;
#define MESSAGE_END(name) \
	}                 \
	;
#include "messages.def"
#undef MESSAGE
#undef FIELD
#undef MESSAGE_END

struct message {
	enum message_type type;
	uint32_t length; /* of what was decoded, bytes */
	union {
#define MESSAGE(name) struct message_##name name;
#define FIELD(kind, field, limit)
#define MESSAGE_END(name)
#include "messages.def"
#undef MESSAGE
#undef FIELD
#undef MESSAGE_END
	};
};

/* Frees the fields, not the struct. */
void message_clear(struct message *m);

const char *message_type_text(enum message_type type);

/* Appends the frame (with its length) to `out`.  Texts over their limit are cut for TEXT fields whose
 * name ends in "reason", and are LIMIT errors otherwise. */
bool message_encode(const struct message *m, GByteArray *out,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Decodes one frame's body (type and fields, without the length).  The caller owns *ret_message's
 * fields.  PEER on anything that does not fit. */
bool message_decode(const uint8_t *bytes, size_t length, struct message *ret_message,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct message message;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(message, message_clear)
