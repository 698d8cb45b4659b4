#include "active_adopt.h"

#include <string.h>

#include "errors.h"
#include "kept.h"
#include "log.h"

#define NAME      "inox-agent"
#define KEY_START "-----BEGIN PRIVATE KEY-----"

void adopted_clear(struct adopted *adopted)
{
	g_free(adopted->callback_url);
	g_free(adopted->certificate_pem);
	*adopted = (struct adopted){.callback_url = NULL};
}

/* The token that came with the boot is worth more than one that a stranger on the way to the API may have
 * put into its answer. */
static bool take_token(struct agent *a, const struct lookup_answer *answer, GError **error)
{
	if (a->options.token)
		return true;
	if (answer->token) {
		agent_set_token(a, answer->token);
		kept_write(a->options.root, KEPT_TOKEN, secret_peek(answer->token));
		return true;
	}
	if (a->token)
		return true;
	if (answer->token_masked)
		return inox_error_set(error, INOX_ERROR_DENIED,
				      "the API has given the token of this boot to somebody else: "
				      "all commands are refused");
	return inox_error_set(error, INOX_ERROR_DENIED,
			      "the API gave no token: all commands are refused");
}

/* What was asked for, else the only address that is served, else the one that the API sees.  The caller
 * frees it. */
static char *advertised_host(const struct agent *a, const struct finding *finding, GError **error)
{
	const char *host = a->options.active.advertise_host;
	char listens[INET6_ADDRSTRLEN];

	if (!host)
		host = agent_listen_host(a, listens) ? listens : finding->own_address;
	if (*host && !strchr(host, '%') && !g_str_has_prefix(host, "fe80:"))
		return g_strdup(host);
	inox_error_set(error, INOX_ERROR_INVALID,
		       "the API is reached from no address that it could dial: give "
		       "ipa-advertise-host");
	return NULL;
}

static char *callback_url(const struct agent *a, const char *host)
{
	const struct active_options *o = &a->options.active;
	const char *protocol = o->advertise_protocol;
	unsigned port = o->advertise_port;

	if (!protocol)
		protocol = a->options.transport == TRANSPORT_HTTP ? "http" : "https";
	if (port == 0)
		port = endpoint_port(&a->options.listen);
	return g_strdup_printf(strchr(host, ':') ? "%s://[%s]:%u" : "%s://%s:%u", protocol, host,
			       port);
}

static void keep_certificate(const struct agent_options *o)
{
	char *both = g_strconcat(o->certificate_pem, o->key_pem, NULL);

	kept_write(o->root, KEPT_CERTIFICATE, both);
	secret_wipe_text(both);
}

static void restore_certificate(struct agent_options *o)
{
	char *both = kept_read(o->root, KEPT_CERTIFICATE);
	const char *key = both ? strstr(both, KEY_START) : NULL;

	if (key) {
		o->certificate_pem = g_strndup(both, (gsize)(key - both));
		o->key_pem = g_strdup(key);
	}
	secret_wipe_text(both);
}

static bool replace_certificate(struct agent *a, const char *host, GError **error)
{
	struct agent_options *o = &a->options;
	g_autofree char *certificate = NULL;
	char *key = NULL;

	if (!tls_make_certificate(NAME, host, &certificate, &key, error))
		return false;
	if (!http_tls_server_use_certificate(a->tls, certificate, key, error)) {
		secret_wipe_text(key);
		return false;
	}
	g_free(o->certificate_pem);
	o->certificate_pem = g_steal_pointer(&certificate);
	secret_wipe_text(o->key_pem);
	o->key_pem = key;
	return true;
}

/* The certificate made at the start may be for another address than the one that is told to the API. */
static bool fit_certificate(struct agent *a, const char *host, GError **error)
{
	if (!a->certificate_is_ours)
		return true;
	if (!tls_certificate_is_for(a->options.certificate_pem, host) &&
	    !replace_certificate(a, host, error))
		return false;
	keep_certificate(&a->options);
	return true;
}

bool active_adopt(struct agent *a, const struct finding *finding, struct adopted *adopted,
		  GError **error)
{
	const struct lookup_answer *answer = &finding->answer;
	g_autofree char *host = advertised_host(a, finding, error);

	/* The token only when the rest is sure; the node, checked already, can be cached. */
	if (!host || !agent_check_node(a, answer->node_json, error) ||
	    !fit_certificate(a, host, error) || !take_token(a, answer, error) ||
	    !agent_cache_node(a, answer->node_json, error))
		return false;
	adopted_clear(adopted);
	adopted->node = answer->node;
	adopted->heartbeat_timeout_s = answer->heartbeat_timeout_s;
	adopted->callback_url = callback_url(a, host);
	if (a->certificate_is_ours)
		adopted->certificate_pem = g_strdup(a->options.certificate_pem);
	log_notice(answer->node.s, "the API knows this machine",
		   F_STR("callback", adopted->callback_url),
		   F_INT("heartbeat_timeout", answer->heartbeat_timeout_s));
	return true;
}

void active_restore(struct agent *a)
{
	struct agent_options *o = &a->options;
	char *token = o->token ? NULL : kept_read(o->root, KEPT_TOKEN);

	if (token && agent_options_is_token(token, strlen(token))) {
		g_autoptr(secret) kept = secret_new(token);

		agent_set_token(a, kept);
	}
	secret_wipe_text(token);
	if (a->certificate_is_ours)
		restore_certificate(o);
}
