#include <string.h>

#include "errors.h"
#include "limit.h"
#include "shelf-backend.h"
#include "web.h"

/* A boot host is near; a lane must not be held up for long by one that is gone. */
#define CONNECT_SECONDS 5
#define TOTAL_SECONDS   20
/* Bytes in a second: a ramdisk's ISO is read in time through 100 Mbit/s, and before the conductor asks again. */
#define SLOWEST_LOAD (8 * 1024 * 1024)
#define ANSWER_LIMIT (64 * 1024)

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

unsigned shelf_dav_seconds(size_t most)
{
	return TOTAL_SECONDS + (unsigned)(most / SLOWEST_LOAD);
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
	if (c->reply_limit == 0)
		c->reply_limit = ANSWER_LIMIT;
	c->total_timeout_s = shelf_dav_seconds(c->reply_limit);
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

/* nginx's ETag is size and time in seconds: one of this very second may be the next content's, too. */
static char *lasting_etag(const struct web_reply *reply)
{
	const char *date = g_hash_table_lookup(reply->headers, "date");
	const char *modified = g_hash_table_lookup(reply->headers, "last-modified");

	return g_strcmp0(date, modified) == 0
		       ? NULL
		       : g_strdup(g_hash_table_lookup(reply->headers, "etag"));
}

static bool dav_load(const struct shelf *s, const char *name, const char *what, const char *known,
		     char **ret_tag, GBytes **ret_bytes, GError **error)
{
	g_autofree char *match = known ? g_strconcat("If-None-Match: ", known, NULL) : NULL;
	const char *headers[] = {match, NULL};
	struct web_call c = {.method = "GET", .headers = headers, .reply_limit = LIMIT_MEDIA_ISO};
	g_auto(web_reply) reply = {0};

	if (!exchange(s, &c, name, &reply, error))
		return false;
	*ret_bytes = NULL;
	if (reply.status == 304 && known)
		return true;
	if (reply.status != 200)
		return check_status(reply.status, "GET", what, error);
	*ret_tag = lasting_etag(&reply);
	*ret_bytes = g_bytes_new_take(g_steal_pointer(&reply.body), reply.length);
	return true;
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
	.remove_folder = dav_remove_folder,
};
