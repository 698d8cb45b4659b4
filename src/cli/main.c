/* inox: the command line, for people. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "errors.h"

#define DEFAULT_URL "http://127.0.0.1:6385"

static void print_usage(FILE *out)
{
	fputs("Usage: inox [--url URL] [-f json|table] COMMAND ...\n\n"
	      "The API's address is taken from --url, from INOX_URL, or is " DEFAULT_URL ".\n"
	      "inox COMMAND --help shows a command's options.\n\nCommands:\n",
	      out);
	for (unsigned i = 0; i < command_count; i++) {
		g_autofree char *left =
			g_strdup_printf("%s %s", commands[i].words, commands[i].arguments);

		fprintf(out, "  %-34s %s\n", left, commands[i].summary);
	}
	fputs("\nExit status: 0 done, 1 failed, 2 wrong usage.\n", out);
}

/* The command whose words stand in front of argv; *ret_words is their number. */
static const struct command *find_command(int argc, char **argv, int *ret_words)
{
	for (unsigned i = 0; i < command_count; i++) {
		g_auto(GStrv) words = g_strsplit(commands[i].words, " ", -1);
		int count = (int)g_strv_length(words), same = 0;

		while (same < count && same < argc && strcmp(words[same], argv[same]) == 0)
			same++;
		if (same == count) {
			*ret_words = count;
			return &commands[i];
		}
	}
	return NULL;
}

static int run(const struct command *command, struct invocation *in)
{
	g_autoptr(GError) error = NULL;
	int status = command->run(in, &error);

	if (error)
		fprintf(stderr, "inox: %s\n", error->message);
	return status;
}

int main(int argc, char **argv)
{
	g_autofree char *url = NULL, *format = NULL;
	gboolean version = FALSE, help = FALSE;
	g_autoptr(GError) error = NULL;
	const GOptionEntry entries[] = {
		{"url", 0, 0, G_OPTION_ARG_STRING, &url, NULL, NULL},
		{"format", 'f', 0, G_OPTION_ARG_STRING, &format, NULL, NULL},
		{"version", 0, 0, G_OPTION_ARG_NONE, &version, NULL, NULL},
		{"help", 'h', 0, G_OPTION_ARG_NONE, &help, NULL, NULL},
		{.long_name = NULL},
	};
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);

	setlocale(LC_CTYPE, "C.UTF-8");
	g_option_context_add_main_entries(context, entries, NULL);
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_set_strict_posix(context, TRUE);
	if (!g_option_context_parse(context, &argc, &argv, &error)) {
		fprintf(stderr, "inox: %s\n", error->message);
		return 2;
	}
	if (version) {
		puts("inox " INOX_VERSION);
		return 0;
	}
	if (help || argc < 2) {
		print_usage(help ? stdout : stderr);
		return help ? 0 : 2;
	}
	int words = 0;
	const struct command *command = find_command(argc - 1, argv + 1, &words);

	if (!command) {
		fprintf(stderr, "inox: there is no command '%s'; inox --help lists them.\n",
			argv[1]);
		return 2;
	}
	if (format && strcmp(format, "json") != 0 && strcmp(format, "table") != 0) {
		fprintf(stderr, "inox: -f takes json or table, not %s.\n", format);
		return 2;
	}
	const char *from_environment = g_getenv("INOX_URL");
	g_autoptr(client) c = client_new(url                ? url
					 : from_environment ? from_environment
							    : DEFAULT_URL);
	struct invocation in = {.client = c,
				.as_json = format && strcmp(format, "json") == 0,
				.argc = argc - 1 - words,
				.argv = argv + 1 + words};

	return run(command, &in);
}
