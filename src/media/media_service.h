/* media_service.h: answers GET and HEAD of /media/.../boot.iso: the base ISO with a boot's patches over it, made while it is
 * sent.
 *
 *   404  no path of a medium, a wrong signature, or the boot is over (its record is gone)
 *   405  another method
 *   410  the time of the path is over
 *   416  a range that begins behind the end
 *   500  the record or the base cannot be used; the log says why
 */
#pragma once

#include "loop.h"
#include "media_ticket.h"
#include "server.h"

struct media_service;

/* `key` and `root_fd`, the http root's folder, are the caller's.  Takes `listen_fd`. */
struct media_service *media_service_new(struct loop *l, const struct media_key *key, int root_fd,
					int listen_fd, GError **error);
void media_service_free(struct media_service *s);

typedef struct media_service media_service;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(media_service, media_service_free)
