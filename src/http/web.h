/* web.h: libcurl wrapped, blocking: Redfish, DAV push, the command line.  Never used for agents. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "clocks.h"
#include "identity.h"
#include "secret.h"

struct web_call {
	const char *method;
	const char *url;
	const char *content_type;   /* of the body; NULL: application/json */
	const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
	const char *body;
	size_t body_length;
	int body_fd; /* upload from here instead of body, with body_length; -1 or 0: not used */
	const char *username; /* basic authentication, NULL: none */
	const struct secret *password;
	const char *ca_file;                         /* NULL: the system's */
	bool insecure;                               /* do not check the certificate */
	const char *client_certificate, *client_key; /* PEM files */
	const char *unix_socket;
	unsigned connect_timeout_s, total_timeout_s; /* 0: 10 and 60 */
	size_t reply_limit;                          /* 0: LIMIT_BMC_REPLY */
};

struct web_reply {
	int status;
	char *body; /* NUL-terminated */
	size_t length;
	GHashTable *headers; /* lower-case name -> last value */
};

/* Starts the libraries.  web_perform() does it by itself; a program with threads calls it before it starts
 * them: OpenSSL does not free the error state of a thread that it was started in. */
void web_start(void);

/* Opens a connection to a numeric address, in at most `wait`; *ret_fd is libcurl's then. */
typedef bool (*web_connect_fn)(void *ctx, const struct endpoint *to, struct span wait, int *ret_fd,
			       GError **error);
/* From now on all connections come from there: in a process that may not make any.  Before threads start. */
void web_connect_with(web_connect_fn fn, void *ctx);
/* Reads the system's certificate authorities now: for a process that cannot later.  Without any, no
 * certificate is trusted.  Before threads start. */
bool web_keep_trust(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Redirects are not followed, no proxy is used, nothing is decompressed.  May be called by several
 * threads.  True when an HTTP answer arrived, whatever its status.  Errors: UNAVAILABLE, TIMEOUT, LIMIT,
 * PEER, DENIED (the certificate is not trusted), INVALID (URL, certificate files), IO (body_fd), with a
 * sentence that names scheme, host and port: no user information, no path, no query. */
bool web_perform(const struct web_call *call, struct web_reply *ret_reply,
		 GError **error) G_GNUC_WARN_UNUSED_RESULT;
void web_reply_clear(struct web_reply *r);

typedef struct web_reply web_reply;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(web_reply, web_reply_clear)
