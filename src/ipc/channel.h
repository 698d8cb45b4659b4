/* channel.h: messages over a socketpair, on the loop: queued, bounded, in order. */
#pragma once

#include "loop.h"
#include "message.h"

struct channel;

/* `m` is the channel's; the callee may take fields out of it (leaving NULL). `fd` is a descriptor that
 * came with the message, -1 if none; the callee owns it. */
typedef void (*channel_message_fn)(void *ctx, struct message *m, int fd);
/* The other side is gone (error NULL), or broke the protocol.  The channel is dead; free it here or
 * later. */
typedef void (*channel_closed_fn)(void *ctx, const GError *error);

/* A non-blocking, close-on-exec SOCK_STREAM pair. */
bool channel_pair(int ret_fds[2], GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Takes the descriptor. */
struct channel *channel_new(struct loop *l, int fd, channel_message_fn on_message,
			    channel_closed_fn on_closed, void *ctx);
void channel_free(struct channel *c); /* NULL is fine; safe inside the callbacks */

/* Queues the message (its fields stay the caller's).  False (LIMIT) if a field is over its limit.  A dead channel
 * swallows messages, and so does one whose other side reads no more: what that side said before is still handed over, and
 * then the loss is reported by on_closed. */
bool channel_send(struct channel *c, const struct message *m,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same with a descriptor, which is duplicated by the kernel and stays the caller's. */
bool channel_send_fd(struct channel *c, const struct message *m, int fd,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* While held, nothing is read and no message is handed over, not even the end: what the other side says stays with it, and it
 * sees that in channel_queued_bytes(). */
void channel_hold(struct channel *c, bool hold);
/* Bytes that wait to be written: for backpressure. */
size_t channel_queued_bytes(const struct channel *c);

typedef struct channel channel;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(channel, channel_free)
