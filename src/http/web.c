#include "web.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "limit.h"
#include "log.h"
#include "planted.h"

/* Written before threads start. */
static web_connect_fn connect_fn;
static void *connect_ctx;
static char *trust; /* PEM */
static size_t trust_length;

struct transfer {
	const struct web_call *call;
	GString *body;
	GHashTable *headers;
	size_t limit, header_bytes;
	bool over_limit, header_over_limit;
	int read_errno;
	GError *connect_error; /* of web_connect_with()'s function */
	char reason[CURL_ERROR_SIZE];
};

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	size_t length = size * count;

	if (length > t->limit - t->body->len) {
		t->over_limit = true;
		return 0;
	}
	g_string_append_len(t->body, data, (gssize)length);
	return length;
}

static void free_value(void *value)
{
	/* Session tokens come in headers. */
	secret_wipe_text(value);
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	size_t length = size * count;
	const char *colon = memchr(data, ':', length);

	t->header_bytes += length;
	if (t->header_bytes > LIMIT_HTTP_HEADERS) {
		t->header_over_limit = true;
		return 0;
	}
	/* A status line begins a new set: what came with "100 Continue" is not the answer's. */
	if (length > 5 && strncmp(data, "HTTP/", 5) == 0)
		g_hash_table_remove_all(t->headers);
	else if (colon) {
		size_t name = (size_t)(colon - data);

		g_hash_table_replace(t->headers, g_ascii_strdown(data, (gssize)name),
				     g_strstrip(g_strndup(colon + 1, length - name - 1)));
	}
	return length;
}

static size_t on_upload(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	ssize_t n;

	do
		n = read(t->call->body_fd, data, size * count);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return (size_t)n;
	t->read_errno = errno;
	return CURL_READFUNC_ABORT;
}

void web_start(void)
{
	static gsize started;

	if (g_once_init_enter(&started)) {
		if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
			g_error("libcurl does not start");
		g_once_init_leave(&started, 1);
	}
}

void web_connect_with(web_connect_fn fn, void *ctx)
{
	connect_fn = fn;
	connect_ctx = ctx;
}

bool web_keep_trust(GError **error)
{
	const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
	g_autoptr(GError) reason = NULL;

	if (!info->cainfo || !g_file_test(info->cainfo, G_FILE_TEST_EXISTS)) {
		trust = g_strdup("");
		return true;
	}
	if (!g_file_get_contents(info->cainfo, &trust, &trust_length, &reason))
		return inox_error_set(error, INOX_ERROR_IO, "certificate authorities: %s",
				      reason->message);
	return true;
}

static unsigned connect_seconds(const struct web_call *call)
{
	return MIN(call->connect_timeout_s ? call->connect_timeout_s : 10, 86400u);
}

static curl_socket_t on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct transfer *t = ctx;
	struct endpoint e = {.length = to->addrlen};
	int fd = -1;

	(void)purpose;
	if (to->addrlen > sizeof(e.address))
		return CURL_SOCKET_BAD;
	memcpy(&e.address, &to->addr, to->addrlen);
	g_clear_error(&t->connect_error);
	return connect_fn(connect_ctx, &e, SPAN_SECONDS(connect_seconds(t->call)), &fd,
			  &t->connect_error)
		       ? fd
		       : CURL_SOCKET_BAD;
}

static struct curl_slist *make_headers(const struct web_call *call)
{
	struct curl_slist *list = NULL;
	g_autofree char *type = g_strconcat(
		"Content-Type: ", call->content_type ? call->content_type : "application/json",
		NULL);

	/* Many small servers do not know "100 Continue"; waiting for it costs a second. */
	list = curl_slist_append(list, "Expect:");
	if (call->body || call->body_fd > 0)
		list = curl_slist_append(list, type);
	for (const char *const *h = call->headers; h && *h; h++)
		list = curl_slist_append(list, *h);
	return list;
}

static void set_body(CURL *curl, const struct web_call *call)
{
	if (strcmp(call->method, "HEAD") == 0) {
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
		return;
	}
	if (call->body_fd > 0) {
		curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->body_length);
		curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_upload);
	} else if (call->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_length);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
}

static void set_trust(CURL *curl, const struct web_call *call)
{
	if (call->insecure) {
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (call->ca_file) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, call->ca_file);
	} else if (trust) {
		struct curl_blob blob = {
			.data = trust, .len = trust_length, .flags = CURL_BLOB_NOCOPY};

		curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
		curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
	}
	if (call->client_certificate)
		curl_easy_setopt(curl, CURLOPT_SSLCERT, call->client_certificate);
	if (call->client_key)
		curl_easy_setopt(curl, CURLOPT_SSLKEY, call->client_key);
	if (call->username) {
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(curl, CURLOPT_USERNAME, call->username);
		curl_easy_setopt(curl, CURLOPT_PASSWORD,
				 call->password ? secret_peek(call->password) : "");
	}
}

static void set_options(CURL *curl, struct transfer *t)
{
	const struct web_call *call = t->call;
	unsigned connect_s = connect_seconds(call);
	unsigned total_s = call->total_timeout_s ? call->total_timeout_s : 60;

	curl_easy_setopt(curl, CURLOPT_URL, call->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "inox/" INOX_VERSION);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_s * 1000);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)MIN(total_s, 86400u) * 1000);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->reason);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(curl, CURLOPT_READDATA, t);
	if (call->unix_socket)
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, call->unix_socket);
	if (connect_fn) {
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, t);
	}
	set_trust(curl, call);
	set_body(curl, call);
}

/* Scheme, host and port.  The path stays out too: a path of the boot host can be a secret. */
static char *url_place(const char *url)
{
	static const CURLUPart parts[] = {CURLUPART_PATH, CURLUPART_QUERY, CURLUPART_FRAGMENT,
					  CURLUPART_USER, CURLUPART_PASSWORD};
	CURLU *u = curl_url();
	char *place = NULL;

	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK) {
		for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
			curl_url_set(u, parts[i], NULL, 0);
		curl_url_get(u, CURLUPART_URL, &place, 0);
	}
	char *copy = g_strdup(place ? place : "a URL that cannot be read");

	g_strchomp(copy);
	if (g_str_has_suffix(copy, "/"))
		copy[strlen(copy) - 1] = '\0';
	curl_free(place);
	curl_url_cleanup(u);
	return copy;
}

static enum inox_error error_code(CURLcode code)
{
	static const struct {
		CURLcode curl;
		enum inox_error code;
	} table[] = {
		{CURLE_URL_MALFORMAT, INOX_ERROR_INVALID},
		{CURLE_SSL_CERTPROBLEM, INOX_ERROR_INVALID},
		{CURLE_SSL_CACERT_BADFILE, INOX_ERROR_INVALID},
		{CURLE_OPERATION_TIMEDOUT, INOX_ERROR_TIMEOUT},
		{CURLE_PEER_FAILED_VERIFICATION, INOX_ERROR_DENIED},
		{CURLE_COULDNT_RESOLVE_HOST, INOX_ERROR_UNAVAILABLE},
		{CURLE_COULDNT_CONNECT, INOX_ERROR_UNAVAILABLE},
		{CURLE_SSL_CONNECT_ERROR, INOX_ERROR_UNAVAILABLE},
		{CURLE_SEND_ERROR, INOX_ERROR_UNAVAILABLE},
		{CURLE_RECV_ERROR, INOX_ERROR_UNAVAILABLE},
		{CURLE_GOT_NOTHING, INOX_ERROR_UNAVAILABLE},
		{CURLE_PARTIAL_FILE, INOX_ERROR_UNAVAILABLE},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i].curl == code)
			return table[i].code;
	return INOX_ERROR_PEER;
}

static bool set_error(const struct transfer *t, CURLcode code, GError **error)
{
	const char *method = t->call->method;
	g_autofree char *place = url_place(t->call->url);
	g_autofree char *reason = NULL;

	if (t->over_limit)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "%s %s: the answer is larger than %zu bytes", method, place,
				      t->limit);
	if (t->header_over_limit)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "%s %s: the answer's headers are larger than %d bytes",
				      method, place, LIMIT_HTTP_HEADERS);
	if (t->read_errno)
		return inox_error_set_errno(error, t->read_errno, "%s %s: read what is sent",
					    method, place);
	if (t->connect_error)
		return inox_error_set(error, (enum inox_error)t->connect_error->code, "%s %s: %s",
				      method, place, t->connect_error->message);
	const char *text = t->reason[0] ? t->reason : curl_easy_strerror(code);

	reason = log_clean_text(text, strlen(text), CURL_ERROR_SIZE);
	return inox_error_set(error, error_code(code), "%s %s: %s", method, place, reason);
}

bool web_perform(const struct web_call *call, struct web_reply *ret_reply, GError **error)
{
	struct transfer t = {.call = call,
			     .limit = call->reply_limit ? call->reply_limit : LIMIT_BMC_REPLY};
	long status = 0;

	/* libcurl has one code for a refused scheme and for an answer that is not HTTP. */
	if (!g_str_has_prefix(call->url, "http://") && !g_str_has_prefix(call->url, "https://"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "a URL must begin with http:// or https://");
	web_start();
	CURL *curl = curl_easy_init();

	if (!curl)
		g_error("libcurl has no memory");
	t.body = g_string_new(NULL);
	t.headers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_value);
	struct curl_slist *headers = make_headers(call);

	set_options(curl, &t);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	CURLcode code = curl_easy_perform(curl);

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	if (code != CURLE_OK) {
		g_hash_table_unref(t.headers);
		secret_wipe_text(g_string_free(t.body, FALSE));
		set_error(&t, code, error);
		g_clear_error(&t.connect_error);
		return false;
	}
	g_clear_error(&t.connect_error);
	planted_takeover(t.body->str, t.body->len);
	*ret_reply = (struct web_reply){
		.status = (int)status, .length = t.body->len, .headers = t.headers};
	ret_reply->body = g_string_free(t.body, FALSE);
	return true;
}

void web_reply_clear(struct web_reply *r)
{
	secret_wipe_text(r->body);
	g_clear_pointer(&r->headers, g_hash_table_unref);
	*r = (struct web_reply){0};
}
