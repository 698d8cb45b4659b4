#include "media_service.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "media_base.h"
#include "media_range.h"
#include "media_record.h"

#define ETAG_BYTES   16
#define ETAG_TEXT    (2 * ETAG_BYTES + 3)
#define RANGE_TEXT   96
#define HEADER_LIMIT (8 * 1024)
#define CLIENT_TEXT  64
/* Lines of one kind in a second about each node, and about all who have no good path: nobody may fill the disk. */
#define LINES_PER_SECOND 10
#define CUT_OFF          0 /* instead of a status */

struct media_service {
	struct http_server *server;
	struct media_bases *bases;
	const struct media_key *key;
	int root_fd;
	GQueue media;             /* of struct medium: those that are read just now */
	struct loop_timer *timer; /* armed while lines are counted */
	GHashTable *lines;        /* of this second: node and status -> how many */
	unsigned unshown;
};

/* What one answer is made from. */
struct medium {
	struct media_service *service;
	GList link;
	struct media_record record;
	struct media_base base;
	struct media_range range;
};

static struct medium *medium_new(struct media_service *s)
{
	struct medium *m = g_new0(struct medium, 1);

	m->service = s;
	m->base.fd = -1;
	m->link.data = m;
	g_queue_push_tail_link(&s->media, &m->link);
	return m;
}

static void medium_free(void *data)
{
	struct medium *m = data;

	g_queue_unlink(&m->service->media, &m->link);
	media_record_clear(&m->record);
	media_base_close(&m->base);
	g_free(m);
}

/* ---- saying no */

static int status_of(const GError *error)
{
	static const struct {
		enum inox_error code;
		int status;
	} table[] = {{INOX_ERROR_NOT_FOUND, 404},
		     {INOX_ERROR_DENIED, 404},
		     {INOX_ERROR_UNSUPPORTED, 405},
		     {INOX_ERROR_TIMEOUT, 410},
		     {INOX_ERROR_BUSY, 503}};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		if (g_error_matches(error, INOX_ERROR, (int)table[i].code))
			return table[i].status;
	return 500;
}

static void on_second(void *ctx)
{
	struct media_service *s = ctx;

	if (s->unshown > 0)
		log_warn(NULL, "lines were left out", F_INT("count", s->unshown));
	s->unshown = 0;
	g_hash_table_remove_all(s->lines);
}

/* One line about a node, or a stranger (NULL), and what it was answered with. */
static bool may_log(struct media_service *s, const char *node, int status)
{
	g_autofree char *what = g_strdup_printf("%s %d", node ? node : "-", status);
	unsigned lines = GPOINTER_TO_UINT(g_hash_table_lookup(s->lines, what));

	if (g_hash_table_size(s->lines) == 0)
		loop_timer_arm(s->timer, SPAN_SECONDS(1));
	if (lines == LINES_PER_SECOND) {
		s->unshown++;
		return false;
	}
	g_hash_table_replace(s->lines, g_steal_pointer(&what), GUINT_TO_POINTER(lines + 1));
	return true;
}

/* The BMC's address, as nginx says it. */
static const char *client_of(const struct http_request *rq)
{
	const char *text = http_request_header(rq, "X-Real-IP");
	struct endpoint e;

	return text && strlen(text) < CLIENT_TEXT && endpoint_parse(text, 1, &e, NULL) ? text : "-";
}

/* The path of the request is a secret when it is a good one, and never shown. */
static void refuse(struct media_service *s, struct http_request *rq, const char *node, int status,
		   const GError *error)
{
	g_autofree char *text = g_strdup_printf("No medium: HTTP %d.\n", status);

	bool shown = may_log(s, node, status);

	if (shown && status == 500)
		log_error(node, "medium cannot be given", F_STR("client", client_of(rq)),
			  F_ERR(error));
	else if (shown)
		log_warn(node, "medium refused", F_STR("client", client_of(rq)),
			 F_INT("status", status), F_ERR(error));
	if (status == 405)
		http_request_add_header(rq, "Allow", "GET, HEAD");
	http_request_reply(rq, status, NULL, "text/plain; charset=utf-8", text, strlen(text));
}

/* ---- the record */

static uint8_t *read_record(int fd, size_t *ret_length, GError **error)
{
	size_t length = 0;
	uint8_t *bytes = g_malloc(LIMIT_MEDIA_RECORD + 1);
	ssize_t n;

	while ((n = read(fd, bytes + length, LIMIT_MEDIA_RECORD + 1 - length)) > 0)
		length += (size_t)n;
	if (n < 0)
		inox_error_set_errno(error, errno, "read the boot's record");
	*ret_length = length;
	if (n == 0)
		return bytes;
	explicit_bzero(bytes, length);
	g_free(bytes);
	return NULL;
}

/* A folder is made before its file: both may be missing. */
static bool load_record(const struct media_service *s, const char *path, struct media_record *ret,
			GError **error)
{
	g_autofree char *name = g_strdup_printf("once/%s/" MEDIA_RECORD_FILE, path);
	int fd = media_open(s->root_fd, name);
	size_t length = 0;

	if (fd < 0 && errno == ENOENT)
		return inox_error_set(error, INOX_ERROR_NOT_FOUND, "the boot is over");
	if (fd < 0)
		/* Not inox_error_set_errno(): what may not be read is our trouble, not the client's. */
		return inox_error_set(error, INOX_ERROR_IO, "open the boot's record: %s",
				      g_strerror(errno));
	uint8_t *bytes = read_record(fd, &length, error);
	bool good = bytes && media_record_parse(bytes, length, ret, error);

	close(fd);
	if (bytes)
		explicit_bzero(bytes, length);
	g_free(bytes);
	if (!good)
		g_prefix_error(error, "the boot's record: ");
	return good;
}

/* ---- the answer */

static bool read_medium(void *ctx, uint64_t offset, uint8_t *buffer, size_t length)
{
	struct medium *m = ctx;
	g_autoptr(GError) error = NULL;
	uint64_t at = m->range.offset + offset;

	if (!media_base_read(&m->base, at, buffer, length, &error)) {
		if (may_log(m->service, m->record.node.s, CUT_OFF))
			log_error(m->record.node.s, "medium cut off", F_STR("base", m->record.base),
				  F_ERR(error));
		return false;
	}
	media_record_apply(&m->record, at, buffer, length);
	return true;
}

/* The same for the same bytes, whenever they were published. */
static void print_etag(const struct media_record *r, char ret[static ETAG_TEXT])
{
	uint8_t digest[EVP_MAX_MD_SIZE];

	if (EVP_Digest(r->text, r->text_length, digest, NULL, EVP_sha256(), NULL) != 1)
		g_error("SHA-256 is not available");
	*ret++ = '"';
	for (unsigned i = 0; i < ETAG_BYTES; i++, ret += 2)
		g_snprintf(ret, 3, "%02x", digest[i]);
	*ret++ = '"';
	*ret = '\0';
}

static void send_medium(struct http_request *rq, struct medium *m)
{
	char etag[ETAG_TEXT], range[RANGE_TEXT];
	uint64_t size = m->record.size;

	print_etag(&m->record, etag);
	enum media_range_kind kind =
		media_range_read(http_request_header(rq, "Range"),
				 http_request_header(rq, "If-Range"), etag, size, &m->range);
	uint64_t last = m->range.offset + m->range.length - 1;

	http_request_add_header(rq, "Accept-Ranges", "bytes");
	http_request_add_header(rq, "ETag", etag);
	http_request_add_header(rq, "Cache-Control", "no-store");
	if (kind == MEDIA_RANGE_SOME)
		g_snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
			   m->range.offset, last, size);
	else
		g_snprintf(range, sizeof(range), "bytes */%" PRIu64, size);
	if (kind != MEDIA_RANGE_NONE)
		http_request_add_header(rq, "Content-Range", range);
	if (kind == MEDIA_RANGE_UNSATISFIABLE) {
		http_request_reply(rq, 416, NULL, NULL, NULL, 0);
		medium_free(m);
		return;
	}
	/* A BMC that reads sector by sector gets a line for its first one. */
	if (m->range.offset == 0 && may_log(m->service, m->record.node.s, 200))
		log_info(m->record.node.s, "medium is read", F_STR("client", client_of(rq)),
			 F_STR("method", http_request_method(rq)), F_INT("bytes", m->range.length));
	const struct http_body_source source = {m->range.length, read_medium, m, medium_free};

	http_request_reply_from(rq, kind == MEDIA_RANGE_SOME ? 206 : 200,
				"application/octet-stream", &source);
}

static bool find_medium(struct media_service *s, const struct http_request *rq, struct medium *m,
			GError **error)
{
	char path[MEDIA_PATH_LENGTH + 1];
	const char *method = http_request_method(rq);

	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
				      "a medium is read with GET and HEAD");
	if (!media_ticket_check(s->key, http_request_path(rq), wall_now(), path, error))
		return false;
	bool found = load_record(s, path, &m->record, error);

	explicit_bzero(path, sizeof(path));
	return found;
}

/* The BMC of one node cannot take the places of all. */
static bool check_readers(const struct media_service *s, const struct medium *m, GError **error)
{
	unsigned readers = 0;

	for (const GList *l = s->media.head; l; l = l->next)
		readers += strcmp(((const struct medium *)l->data)->record.node.s,
				  m->record.node.s) == 0;
	return readers <= LIMIT_MEDIA_READERS ||
	       inox_error_set(error, INOX_ERROR_BUSY, "%d requests read it already",
			      LIMIT_MEDIA_READERS);
}

static void on_request(void *ctx, struct http_request *rq)
{
	struct media_service *s = ctx;
	g_autoptr(GError) error = NULL;
	struct medium *m = medium_new(s);

	if (!find_medium(s, rq, m, &error)) {
		refuse(s, rq, NULL, status_of(error), error);
	} else if (!check_readers(s, m, &error)) {
		refuse(s, rq, m->record.node.s, status_of(error), error);
	} else if (!media_bases_open(s->bases, &m->record, &m->base, &error)) {
		refuse(s, rq, m->record.node.s, 500, error);
	} else {
		send_medium(rq, m);
		return;
	}
	medium_free(m);
}

struct media_service *media_service_new(struct loop *l, const struct media_key *key, int root_fd,
					int listen_fd, GError **error)
{
	g_autoptr(media_service) s = g_new0(struct media_service, 1);
	const struct http_server_options options = {.body_limit = 1,
						    .header_limit = HEADER_LIMIT,
						    .connection_limit = LIMIT_MEDIA_CLIENTS};

	s->key = key;
	s->root_fd = root_fd;
	s->bases = media_bases_new(root_fd);
	g_queue_init(&s->media);
	s->timer = loop_timer_new(l, on_second, s);
	s->lines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	s->server = http_server_new(l, &options, on_request, s);
	return http_server_accept_on(s->server, listen_fd, error) ? g_steal_pointer(&s) : NULL;
}

void media_service_free(struct media_service *s)
{
	if (!s)
		return;
	http_server_free(s->server);
	media_bases_free(s->bases);
	loop_timer_free(s->timer);
	g_hash_table_unref(s->lines);
	g_free(s);
}
