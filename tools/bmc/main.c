/* inox-bmc: a Redfish BMC in front of a QEMU machine or of a command. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "errors.h"
#include "log.h"
#include "secret.h"
#include "service.h"
#include "tls.h"
#include "web.h"

#define CONNECTIONS_MAX     64
#define SESSION_TIMEOUT_S   300
#define SESSION_TIMEOUT_MAX 86400

struct options {
	char *listen, *username, *password_file, *certificate, *key;
	char **machines;
	int session_timeout_s;
	gboolean version;
};

static void options_clear(struct options *o)
{
	g_free(o->listen);
	g_free(o->username);
	g_free(o->password_file);
	g_free(o->certificate);
	g_free(o->key);
	g_strfreev(o->machines);
}

static bool read_options(int argc, char **argv, struct options *o, GError **error)
{
	const GOptionEntry entries[] = {
		{"listen", 'l', 0, G_OPTION_ARG_STRING, &o->listen,
		 "Numeric address and port of the service", "ADDR:PORT"},
		{"machine", 'm', 0, G_OPTION_ARG_FILENAME_ARRAY, &o->machines,
		 "Machine file; given n times, they are Systems/1 to Systems/n", "FILE"},
		{"username", 'u', 0, G_OPTION_ARG_STRING, &o->username,
		 "Account; without one everybody may do everything", "NAME"},
		{"password-file", 'p', 0, G_OPTION_ARG_FILENAME, &o->password_file,
		 "File with the account's password in its first line", "FILE"},
		{"certificate", 0, 0, G_OPTION_ARG_FILENAME, &o->certificate,
		 "PEM file: serve HTTPS with this certificate", "FILE"},
		{"key", 0, 0, G_OPTION_ARG_FILENAME, &o->key, "PEM file: key of the certificate",
		 "FILE"},
		{"session-timeout", 0, 0, G_OPTION_ARG_INT, &o->session_timeout_s,
		 "Idle seconds after which a session ends (default: 300)", "SECONDS"},
		{"version", 0, 0, G_OPTION_ARG_NONE, &o->version, "Print the version and end",
		 NULL},
		G_OPTION_ENTRY_NULL,
	};
	g_autoptr(GOptionContext) context =
		g_option_context_new("- Redfish BMC in front of a machine");
	g_autoptr(GError) reason = NULL;

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &reason))
		return inox_error_set(error, INOX_ERROR_INVALID, "%s", reason->message);
	if (argc > 1)
		return inox_error_set(error, INOX_ERROR_INVALID, "unexpected argument: %s",
				      argv[1]);
	if (o->version)
		return true;
	if (!o->listen || !o->machines)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "--listen and --machine are needed (see --help)");
	if (!o->username != !o->password_file)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "--username and --password-file belong together");
	if (!o->certificate != !o->key)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "--certificate and --key belong together");
	if (o->session_timeout_s < 1 || o->session_timeout_s > SESSION_TIMEOUT_MAX)
		return inox_error_set(error, INOX_ERROR_INVALID, "--session-timeout is not 1 to %d",
				      SESSION_TIMEOUT_MAX);
	return true;
}

static bool read_accounts(const struct options *o, struct service *s, GError **error)
{
	g_autoptr(GError) reason = NULL;
	char *text = NULL;
	gsize length = 0;
	struct secret *password = NULL;

	if (o->password_file) {
		if (!g_file_get_contents(o->password_file, &text, &length, &reason))
			return inox_error_set(error, INOX_ERROR_INVALID, "password file: %s",
					      reason->message);
		password = secret_new_length(text, strcspn(text, "\r\n"));
		memset(text, 0, length);
		g_free(text);
		if (secret_length(password) == 0) {
			secret_free(password);
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "password file %s: the first line is empty",
					      o->password_file);
		}
	}
	s->username = o->username;
	s->session_timeout_s = (unsigned)o->session_timeout_s;
	s->accounts = accounts_new(o->username, password, SPAN_SECONDS(o->session_timeout_s));
	return true;
}

static bool read_machines(const struct options *o, struct service *s, GError **error)
{
	for (unsigned i = 0; o->machines[i]; i++) {
		if (i == SERVICE_MACHINES_MAX)
			return inox_error_set(error, INOX_ERROR_INVALID, "more than %d machines",
					      SERVICE_MACHINES_MAX);
		struct machine_spec *spec = machine_spec_load(o->machines[i], error);

		if (!spec)
			return false;
		s->machines[s->machine_count++] = machine_new(s->l, spec);
	}
	return true;
}

static bool read_tls(const struct options *o, struct http_tls_server **ret_tls, GError **error)
{
	g_autofree char *certificate = NULL;
	g_autoptr(GError) reason = NULL;
	char *key = NULL;

	if (!o->certificate)
		return true;
	if (!g_file_get_contents(o->certificate, &certificate, NULL, &reason) ||
	    !g_file_get_contents(o->key, &key, NULL, &reason))
		return inox_error_set(error, INOX_ERROR_INVALID, "%s", reason->message);
	struct http_tls_server_options options = {.certificate_pem = certificate,
						  .private_key_pem = key};

	*ret_tls = http_tls_server_new(&options, error);
	secret_wipe_text(key);
	return *ret_tls != NULL;
}

static void on_signal(void *ctx)
{
	loop_stop(ctx);
}

static bool serve(const struct options *o, struct service *s, struct http_tls_server *tls,
		  GError **error)
{
	struct http_server_options options = {.body_limit = SERVICE_BODY_LIMIT,
					      .connection_limit = CONNECTIONS_MAX,
					      .server_name = "inox-bmc",
					      .tls = tls};
	struct endpoint at;

	if (!endpoint_parse_pair(o->listen, &at, error))
		return false;
	g_autoptr(http_server) server = http_server_new(s->l, &options, service_handle, s);

	if (!http_server_listen(server, &at, error))
		return false;
	struct loop_signal *term = loop_signal_new(s->l, SIGTERM, on_signal, s->l);
	struct loop_signal *interrupt = loop_signal_new(s->l, SIGINT, on_signal, s->l);

	log_notice(NULL, "listening", F_STR("address", o->listen),
		   F_INT("machines", s->machine_count));
	loop_run(s->l);
	loop_signal_free(term);
	loop_signal_free(interrupt);
	return true;
}

static bool run(const struct options *o, GError **error)
{
	g_autoptr(loop) l = loop_new();
	struct service s = {.l = l};
	struct http_tls_server *tls = NULL;
	bool ok = read_accounts(o, &s, error) && read_machines(o, &s, error) &&
		  read_tls(o, &tls, error) && serve(o, &s, tls, error);

	for (unsigned i = 0; i < s.machine_count; i++)
		machine_free(s.machines[i]);
	accounts_free(s.accounts);
	if (tls)
		http_tls_server_free(tls);
	return ok;
}

int main(int argc, char **argv)
{
	struct options o = {.session_timeout_s = SESSION_TIMEOUT_S};
	g_autoptr(GError) error = NULL;

	setlocale(LC_CTYPE, "C.UTF-8");
	log_setup("inox-bmc", LOG_LEVEL_INFO);
	secret_forbid_dumps();
	signal(SIGPIPE, SIG_IGN);
	web_start();
	bool ok = read_options(argc, argv, &o, &error);

	if (ok && o.version)
		printf("inox-bmc %s\n", INOX_VERSION);
	else if (ok)
		ok = run(&o, &error);
	options_clear(&o);
	if (ok)
		return 0;
	fprintf(stderr, "inox-bmc: %s\n", error->message);
	return inox_error_exit_status(error);
}
