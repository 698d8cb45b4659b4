#include "password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "errors.h"

#define LINE_MOST 1024

/* The line without its end, or NULL. */
static struct secret *read_line(FILE *in, const char *name, GError **error)
{
	char line[LINE_MOST];
	struct secret *s = NULL;

	errno = 0;
	if (fgets(line, sizeof(line), in)) {
		size_t length = strcspn(line, "\r\n");

		if (length == sizeof(line) - 1)
			inox_error_set(error, INOX_ERROR_INVALID, "%s: the line is too long.",
				       name);
		else if (length == 0)
			inox_error_set(error, INOX_ERROR_INVALID, "%s: the password is empty.",
				       name);
		else
			s = secret_new_length(line, length);
	} else {
		inox_error_set(error, INOX_ERROR_IO, "%s: %s.", name,
			       errno ? g_strerror(errno) : "nothing to read");
	}
	explicit_bzero(line, sizeof(line));
	return s;
}

static struct secret *read_file(const char *path, GError **error)
{
	if (strcmp(path, "-") == 0)
		return read_line(stdin, "standard input", error);
	FILE *in = fopen(path, "re");

	if (!in) {
		inox_error_set(error, INOX_ERROR_IO, "%s: %s.", path, g_strerror(errno));
		return NULL;
	}
	/* No buffer that keeps a copy. */
	setvbuf(in, NULL, _IONBF, 0);
	struct secret *s = read_line(in, path, error);

	fclose(in);
	return s;
}

static struct secret *ask_once(FILE *terminal, const char *prompt, GError **error)
{
	struct termios before, quiet;
	int fd = fileno(terminal);

	if (tcgetattr(fd, &before) != 0) {
		inox_error_set(error, INOX_ERROR_IO, "the terminal: %s.", g_strerror(errno));
		return NULL;
	}
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	/* Before the prompt: what is typed in answer to it must not be flushed. */
	tcsetattr(fd, TCSAFLUSH, &quiet);
	fputs(prompt, stderr);
	struct secret *s = read_line(terminal, "the terminal", error);

	tcsetattr(fd, TCSAFLUSH, &before);
	fputc('\n', stderr);
	return s;
}

static struct secret *ask(FILE *terminal, const char *what, GError **error)
{
	g_autofree char *first = g_strdup_printf("%s: ", what);
	g_autofree char *again = g_strdup_printf("%s, again: ", what);
	struct secret *s = ask_once(terminal, first, error);
	g_autoptr(secret) other = s ? ask_once(terminal, again, error) : NULL;

	if (!other || secret_equal(s, secret_peek(other), secret_length(other))) {
		if (!other)
			g_clear_pointer(&s, secret_free);
		return s;
	}
	secret_free(s);
	inox_error_set(error, INOX_ERROR_INVALID, "The two differ.");
	return NULL;
}

struct secret *password_read(const char *path, const char *what, GError **error)
{
	if (path)
		return read_file(path, error);
	FILE *terminal = isatty(STDIN_FILENO) ? fopen("/dev/tty", "re") : NULL;

	if (!terminal) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "There is no terminal to ask at: give --password-file FILE.");
		return NULL;
	}
	setvbuf(terminal, NULL, _IONBF, 0);
	struct secret *s = ask(terminal, what, error);

	fclose(terminal);
	return s;
}
