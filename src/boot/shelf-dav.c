#include <string.h>

#include "errors.h"
#include "shelf-backend.h"
#include "web.h"

/* A boot host is near; a lane must not be held up for long by one that is gone. */
#define CONNECT_SECONDS 5
#define TOTAL_SECONDS   20
#define ANSWER_LIMIT    (64 * 1024)

/* 409 is nginx's answer when something that is no folder stands where one is needed. */
static bool check_status(int status, const char *method, const char *what, GError **error)
{
	static const struct {
		int first, last;
		enum inox_error code;
		const char *hint;
	} table[] = {
		{404, 404, INOX_ERROR_NOT_FOUND, ": it is not there"},
		{400, 403, INOX_ERROR_DENIED, ": is the client certificate the one it expects?"},
		{405, 405, INOX_ERROR_DENIED, ": the server has WebDAV off here"},
		{507, 507, INOX_ERROR_IO, ": its disk is full"},
		{500, 599, INOX_ERROR_UNAVAILABLE, ": see its error log"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		if (status >= table[i].first && status <= table[i].last)
			return inox_error_set(error, table[i].code,
					      "boot host: %s of %s was answered with HTTP %d%s",
					      method, what, status, table[i].hint);
	return inox_error_set(error, INOX_ERROR_PEER,
			      "boot host: %s of %s was answered with HTTP %d", method, what,
			      status);
}

static bool exchange(const struct shelf *s, struct web_call *c, const char *name,
		     struct web_reply *ret_reply, GError **error)
{
	g_autofree char *url = g_strdup_printf("%s/%s", s->url, name);

	c->url = url;
	c->content_type = "application/octet-stream";
	c->ca_file = s->ca_file;
	c->client_certificate = s->certificate_file;
	c->client_key = s->key_file;
	c->connect_timeout_s = CONNECT_SECONDS;
	c->total_timeout_s = TOTAL_SECONDS;
	if (c->reply_limit == 0)
		c->reply_limit = ANSWER_LIMIT;
	if (!web_perform(c, ret_reply, error)) {
		g_prefix_error(error, "boot host: ");
		return false;
	}
	return true;
}

static bool call(const struct shelf *s, struct web_call *c, const char *name, int *ret_status,
		 GError **error)
{
	g_auto(web_reply) reply = {0};

	if (!exchange(s, c, name, &reply, error))
		return false;
	*ret_status = reply.status;
	return true;
}

/* nginx writes the body to a temporary file outside the tree and renames it into place, so no reader
 * ever sees a part (dist/boot-host/nginx.conf keeps both on one file system). */
static bool dav_put(const struct shelf *s, const char *name, const char *what, const char *bytes,
		    size_t length, GError **error)
{
	struct web_call c = {.method = "PUT", .body = bytes, .body_length = length};
	int status;

	if (!call(s, &c, name, &status, error))
		return false;
	return (status == 200 || status == 201 || status == 204) ||
	       check_status(status, "PUT", what, error);
}

/* What was loaded last, with its ETag: the same few bytes are asked for with every boot. */
static struct {
	GMutex mutex;
	char *name, *etag;
	GBytes *bytes;
} loaded;

static GBytes *remembered(const char *name, char **ret_etag)
{
	GBytes *bytes = NULL;

	g_mutex_lock(&loaded.mutex);
	if (g_strcmp0(loaded.name, name) == 0) {
		bytes = g_bytes_ref(loaded.bytes);
		*ret_etag = g_strdup(loaded.etag);
	}
	g_mutex_unlock(&loaded.mutex);
	return bytes;
}

static void remember(const char *name, const char *etag, GBytes *bytes)
{
	g_mutex_lock(&loaded.mutex);
	g_clear_pointer(&loaded.bytes, g_bytes_unref);
	g_free(loaded.name);
	g_free(loaded.etag);
	loaded.name = etag ? g_strdup(name) : NULL;
	loaded.etag = g_strdup(etag);
	loaded.bytes = etag ? g_bytes_ref(bytes) : NULL;
	g_mutex_unlock(&loaded.mutex);
}

static GBytes *dav_load(const struct shelf *s, const char *name, const char *what, size_t limit,
			GError **error)
{
	g_autofree char *etag = NULL;
	g_autoptr(GBytes) bytes = remembered(name, &etag);
	g_autofree char *match = etag ? g_strconcat("If-None-Match: ", etag, NULL) : NULL;
	const char *headers[] = {match, NULL};
	struct web_call c = {.method = "GET", .headers = headers, .reply_limit = limit};
	g_auto(web_reply) reply = {0};

	if (!exchange(s, &c, name, &reply, error))
		return NULL;
	if (reply.status == 304 && bytes)
		return g_steal_pointer(&bytes);
	if (reply.status != 200) {
		check_status(reply.status, "GET", what, error);
		return NULL;
	}
	g_clear_pointer(&bytes, g_bytes_unref);
	bytes = g_bytes_new_take(g_steal_pointer(&reply.body), reply.length);
	remember(name, g_hash_table_lookup(reply.headers, "etag"), bytes);
	return g_steal_pointer(&bytes);
}

static bool dav_put_filled(const struct shelf *s, const char *name, const char *what,
			   const char *base, GBytes *bytes, const struct boot_iso_fill *fill,
			   GError **error)
{
	gsize length;
	const char *data = g_bytes_get_data(bytes, &length);
	g_autofree char *copy = g_memdup2(data, length);

	(void)base; /* nginx's PUT takes whole files */
	for (unsigned p = 0; p < BOOT_ISO_PIECES; p++)
		memcpy(copy + fill->places[p].offset, fill->places[p].bytes,
		       fill->places[p].length);
	bool good = dav_put(s, name, what, copy, length, error);

	for (unsigned p = 0; p < BOOT_ISO_PIECES; p++)
		explicit_bzero(copy + fill->places[p].offset, fill->places[p].length);
	return good;
}

/* nginx takes a folder away, with what is in it, when its name ends in a slash. */
static bool dav_remove_folder(const struct shelf *s, const char *name, const char *what,
			      GError **error)
{
	g_autofree char *folder = g_strconcat(name, "/", NULL);
	struct web_call c = {.method = "DELETE"};
	int status;

	if (!call(s, &c, folder, &status, error))
		return false;
	return (status == 200 || status == 204 || status == 404) ||
	       check_status(status, "DELETE", what, error);
}

const struct shelf_backend shelf_dav = {
	.put = dav_put,
	.load = dav_load,
	.put_filled = dav_put_filled,
	.remove_folder = dav_remove_folder,
};
