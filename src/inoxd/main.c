#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "errors.h"
#include "log.h"
#include "planted.h"
#include "state.h"
#include "supervisor.h"
#include "worker.h"

#define EXIT_USAGE 2

struct arguments {
	char *config, *role, *worker;
	gboolean check, sample, version;
};

static bool parse_arguments(struct arguments *a, int *argc, char ***argv, GError **error)
{
	const GOptionEntry entries[] = {
		{"config", 'c', 0, G_OPTION_ARG_FILENAME, &a->config,
		 "Configuration (default: /etc/inox/inox.conf if it is there)", "FILE"},
		{"role", 0, 0, G_OPTION_ARG_STRING, &a->role,
		 "Run only `api`, or `conductor` with its workers (default: all)", "ROLE"},
		{"check", 0, 0, G_OPTION_ARG_NONE, &a->check,
		 "Check the configuration and end: 0 if it is right, 2 if not", NULL},
		{"sample-config", 0, 0, G_OPTION_ARG_NONE, &a->sample,
		 "Print a configuration with every option, its default and what it does", NULL},
		{"version", 0, 0, G_OPTION_ARG_NONE, &a->version, "Print the version", NULL},
		{"worker", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_STRING, &a->worker, "", NULL},
		{NULL},
	};
	g_autoptr(GOptionContext) context = g_option_context_new("- bare-metal control plane");

	g_option_context_set_summary(
		context, "Runs in the foreground and logs to standard error.  SIGTERM ends it.");
	g_option_context_set_description(
		context, "Exit status: 0 ended by a signal, 1 failure, 2 wrong usage or "
			 "configuration.\n");
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, argc, argv, error))
		return false;
	if (*argc > 1)
		return inox_error_set(error, INOX_ERROR_INVALID, "unexpected argument '%s'",
				      (*argv)[1]);
	if (a->role && strcmp(a->role, "api") != 0 && strcmp(a->role, "conductor") != 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "--role %s: allowed are api and conductor", a->role);
	return true;
}

static int print_sample(void)
{
	g_autoptr(GString) out = g_string_new(NULL);

	config_print_sample(out);
	fputs(out->str, stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* 0, 1 and 2 are open from here on, and no child reads from a terminal. */
static void settle_standard_files(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	close(fd);
}

static int run(const struct config *c, const char *role)
{
	g_autoptr(GError) error = NULL;
	struct supervisor_options o = {.config = c,
				       .with_api = !role || strcmp(role, "api") == 0,
				       .with_conductor = !role || strcmp(role, "conductor") == 0};

	log_setup("inoxd", config_bool(c, OPTION_DEFAULT_debug) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (config_peek_warning(c))
		log_warn(NULL, "options are ignored", F_STR("what", config_peek_warning(c)));
	g_autoptr(state) s = state_prepare(c, o.with_api, o.with_conductor, &error);
	if (!s) {
		fprintf(stderr, "inoxd: %s\n", error->message);
		return inox_error_exit_status(error);
	}
	o.state = s;
	return supervisor_run(&o);
}

static int run_arguments(struct arguments *a, int argc, char **argv)
{
	g_autoptr(GError) error = NULL;

	if (!parse_arguments(a, &argc, &argv, &error)) {
		fprintf(stderr, "inoxd: %s\nTry inoxd --help.\n", error->message);
		return EXIT_USAGE;
	}
	if (a->worker)
		return worker_main(a->worker);
	if (a->version) {
		puts("inoxd " INOX_VERSION);
		if (PLANTED_TAKEOVER)
			puts("WITH PLANTED TAKEOVER: a test build, any machine can take it over");
		return 0;
	}
	if (a->sample)
		return print_sample();
	g_autoptr(config) c = config_load(a->config, &error);
	if (!c) {
		fprintf(stderr, "%s\n", error->message);
		return inox_error_exit_status(error);
	}
	if (!a->check)
		return run(c, a->role);
	if (config_peek_warning(c))
		fprintf(stderr, "%s\n", config_peek_warning(c));
	return 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {NULL};

	setlocale(LC_CTYPE, "C.UTF-8");
	settle_standard_files();
	int status = run_arguments(&a, argc, argv);

	g_free(a.config);
	g_free(a.role);
	g_free(a.worker);
	return status;
}
