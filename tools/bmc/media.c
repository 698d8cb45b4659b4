#include "media.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "web.h"

#define CONNECT_SECONDS 5
#define TOTAL_SECONDS   120

/* What the thread works on.  It lives as long as one of the two sides needs it: a fetch that was given up
 * ends by itself. */
struct fetch {
	gatomicrefcount references;
	char *url;
	int done_fd; /* closed by the thread when it has finished */
	GBytes *bytes;
	GError *error;
};

struct media {
	struct fetch *fetch;
	int done_fd;
	struct loop_watch *watch;
	media_fn done;
	void *ctx;
};

bool media_url_is_valid(const char *url)
{
	size_t length = strlen(url);

	for (const char *c = url; *c; c++)
		if (!g_ascii_isgraph(*c))
			return false;
	return length <= MEDIA_URL_LIMIT &&
	       (g_str_has_prefix(url, "http://") || g_str_has_prefix(url, "https://"));
}

static void fetch_unref(struct fetch *f)
{
	if (!g_atomic_ref_count_dec(&f->references))
		return;
	g_free(f->url);
	g_clear_pointer(&f->bytes, g_bytes_unref);
	g_clear_error(&f->error);
	g_free(f);
}

/* Media servers of a test rack have no certificate that anybody could check. */
static void *fetch_run(void *data)
{
	struct fetch *f = data;
	struct web_call call = {.method = "GET",
				.url = f->url,
				.insecure = true,
				.connect_timeout_s = CONNECT_SECONDS,
				.total_timeout_s = TOTAL_SECONDS,
				.reply_limit = MEDIA_LIMIT};
	g_auto(web_reply) reply = {0};

	if (web_perform(&call, &reply, &f->error)) {
		if (reply.status == 200 && reply.length > 0)
			f->bytes = g_bytes_new_take(g_steal_pointer(&reply.body), reply.length);
		else
			inox_error_set(&f->error, INOX_ERROR_UNAVAILABLE,
				       "the medium's server answered with HTTP %d and %zu bytes",
				       reply.status, reply.length);
	}
	close(f->done_fd);
	fetch_unref(f);
	return NULL;
}

static void on_done(void *ctx, bool readable, bool writable)
{
	struct media *m = ctx;
	g_autoptr(GError) error = g_steal_pointer(&m->fetch->error);

	(void)readable;
	(void)writable;
	loop_watch_set(m->watch, false, false);
	m->done(m->ctx, g_steal_pointer(&m->fetch->bytes), error);
}

struct media *media_fetch(struct loop *l, const char *url, media_fn done, void *ctx)
{
	struct media *m = g_new0(struct media, 1);
	struct fetch *f = g_new0(struct fetch, 1);
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		g_error("no pipe: %s", g_strerror(errno));
	g_atomic_ref_count_init(&f->references);
	g_atomic_ref_count_inc(&f->references);
	f->url = g_strdup(url);
	f->done_fd = fds[1];
	*m = (struct media){.fetch = f, .done_fd = fds[0], .done = done, .ctx = ctx};
	m->watch = loop_watch_new(l, fds[0], on_done, m);
	loop_watch_set(m->watch, true, false);
	g_thread_unref(g_thread_new("media", fetch_run, f));
	return m;
}

void media_free(struct media *m)
{
	if (!m)
		return;
	loop_watch_free(m->watch);
	close(m->done_fd);
	fetch_unref(m->fetch);
	g_free(m);
}
