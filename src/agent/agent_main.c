/* agent_main.c: the program from its start to its end. */
#include <ifaddrs.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "active.h"
#include "active_adopt.h"
#include "agent.h"
#include "commands.h"
#include "errors.h"
#include "limit.h"
#include "log.h"
#include "log_ring.h"
#include "routes.h"

#define CONNECTIONS 32
#define IDLE        SPAN_SECONDS(30)

static bool find_key(void *ctx, const char *identity, uint8_t ret_key[static TLS_PSK_BYTES])
{
	const struct agent *a = ctx;

	if (!a->token || (*a->identity && !g_str_equal(identity, a->identity)))
		return false;
	memcpy(ret_key, a->psk_key, TLS_PSK_BYTES);
	return true;
}

/* The address a conductor will dial: the one we listen on, or the first that is not the machine's own. */
static char *certificate_address(const struct agent *a)
{
	char host[INET6_ADDRSTRLEN];
	struct ifaddrs *all = NULL;

	if (agent_listen_host(a, host))
		return g_strdup(host);
	g_strlcpy(host, "127.0.0.1", sizeof(host));
	if (getifaddrs(&all) != 0)
		return g_strdup(host);
	for (struct ifaddrs *i = all; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
		    !g_str_equal(i->ifa_name, "lo")) {
			(void)getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in), host,
					  sizeof(host), NULL, 0, NI_NUMERICHOST);
			break;
		}
	freeifaddrs(all);
	return g_strdup(host);
}

static bool make_certificate(struct agent *a, GError **error)
{
	struct agent_options *o = &a->options;
	g_autofree char *address = certificate_address(a);

	return o->certificate_pem ||
	       tls_make_certificate("inox-agent", address, &o->certificate_pem, &o->key_pem, error);
}

/* NULL without an error for plain HTTP. */
static struct http_tls_server *make_tls(struct agent *a, GError **error)
{
	struct http_tls_server_options options = {.psk = find_key, .ctx = a};

	if (a->options.transport == TRANSPORT_HTTP)
		return NULL;
	/* Who gives the token by contact has no key yet. */
	if (a->options.transport == TRANSPORT_PINNED || (a->options.by_contact && !a->token)) {
		if (!make_certificate(a, error))
			return NULL;
		options.certificate_pem = a->options.certificate_pem;
		options.private_key_pem = a->options.key_pem;
	}
	return http_tls_server_new(&options, error);
}

static void on_stop(void *ctx)
{
	struct agent *a = ctx;

	loop_stop(a->l);
}

static bool serve(struct agent *a, GError **error)
{
	GError *reason = NULL;
	struct http_tls_server *tls = a->tls = make_tls(a, &reason);

	if (reason) {
		g_propagate_error(error, reason);
		return false;
	}
	const struct http_server_options options = {
		.body_limit = LIMIT_AGENT_REQUEST,
		.connection_limit = CONNECTIONS,
		.idle_timeout = IDLE,
		.server_name = "ironic-python-agent",
		.tls = tls,
		/* A channel that was opened with an older key must not outlive it. */
		.close_always = tls != NULL,
		.on_head = routes_on_head,
	};
	struct http_server *server = http_server_new(a->l, &options, routes_handle, a);
	bool good = http_server_listen(server, &a->options.listen, error);

	if (good) {
		char text[ENDPOINT_TEXT];
		const char *at = text;

		endpoint_print(&a->options.listen, text);
		log_notice(NULL, "agent listens", F_STR("at", at),
			   F_STR("transport", agent_transport_text(a->options.transport)),
			   F_STR("identity", *a->identity ? a->identity : "any"));
		if (a->options.active.urls)
			a->active = active_new(a);
		loop_run(a->l);
		active_free(a->active);
		a->active = NULL;
	}
	http_server_free(server);
	http_tls_server_free(tls);
	return good;
}

static bool run(struct agent *a, GError **error)
{
	struct loop_signal *term = loop_signal_new(a->l, SIGTERM, on_stop, a);
	struct loop_signal *interrupt = loop_signal_new(a->l, SIGINT, on_stop, a);

	a->leave = loop_timer_new(a->l, on_stop, a);
	a->commands = commands_new(a);
	bool good = serve(a, error);

	commands_free(a->commands);
	loop_timer_free(a->leave);
	loop_signal_free(term);
	loop_signal_free(interrupt);
	return good;
}

static void use_power(const struct agent *a)
{
	if (a->power == AGENT_STAYS || a->power == AGENT_RETIRES || !agent_is_machine(a))
		return;
	sync();
	reboot(a->power == AGENT_REBOOTS ? RB_AUTOBOOT : RB_POWER_OFF);
	log_error(NULL, "the kernel refused to end the machine");
}

int agent_main(int argc, char **argv, const struct step *extra)
{
	struct agent a = {.started = wall_now()};
	g_autoptr(GError) error = NULL;

	log_setup("inox-agent", LOG_LEVEL_INFO);
	log_ring_start();
	secret_forbid_dumps();
	if (!agent_options_read(&a.options, argc, argv, &error)) {
		fprintf(stderr, "inox-agent: %s\n", error->message);
		return inox_error_exit_status(error);
	}
	log_setup("inox-agent", a.options.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (a.options.rescued) {
		log_notice(NULL, "the machine was handed over for rescue: nothing is served");
		agent_options_clear(&a.options);
		return 0;
	}
	steps_use_extra(extra);
	agent_set_token(&a, a.options.token);
	a.certificate_is_ours =
		a.options.transport == TRANSPORT_PINNED && !a.options.certificate_pem;
	if (a.options.active.urls || a.options.by_contact)
		active_restore(&a);
	if (a.options.ignored)
		log_notice(NULL, "arguments that mean nothing to this agent",
			   F_STR("names", a.options.ignored));
	if (uuid_is_set(&a.options.node) && a.options.has_epoch)
		tls_psk_identity(&a.options.node, a.options.epoch, a.identity);
	a.l = loop_new();
	a.partitions = json_object();
	bool good = run(&a, &error);

	if (!good)
		fprintf(stderr, "inox-agent: %s\n", error->message);
	use_power(&a);
	json_decref(a.node);
	json_decref(a.partitions);
	secret_free(a.token);
	agent_options_clear(&a.options);
	loop_free(a.l);
	return good ? 0 : inox_error_exit_status(error);
}
