/* inox-media: gives BMCs the ISO of their machine's boot, behind the boot host's nginx. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "media_service.h"
#include "sandbox.h"
#include "secret.h"

#define BACKLOG 128

struct options {
	char *http_root, *key, *socket;
	gboolean debug, version;
};

static void options_clear(struct options *o)
{
	g_free(o->http_root);
	g_free(o->key);
	g_free(o->socket);
}

static bool read_options(int argc, char **argv, struct options *o, GError **error)
{
	const GOptionEntry entries[] = {
		{"http-root", 'r', 0, G_OPTION_ARG_FILENAME, &o->http_root,
		 "The boot host's http root, with base ISOs and the records of boots", "FOLDER"},
		{"key", 'k', 0, G_OPTION_ARG_FILENAME, &o->key,
		 "Key that is shared with the control plane: 32 bytes, mode 0600", "FILE"},
		{"socket", 's', 0, G_OPTION_ARG_FILENAME, &o->socket,
		 "Where nginx finds this program: a socket that is made, for owner and group",
		 "PATH"},
		{"debug", 0, 0, G_OPTION_ARG_NONE, &o->debug, "Log more", NULL},
		{"version", 0, 0, G_OPTION_ARG_NONE, &o->version, "Print the version and end",
		 NULL},
		G_OPTION_ENTRY_NULL,
	};
	g_autoptr(GOptionContext) context =
		g_option_context_new("- the ISO of each boot from virtual media");
	g_autoptr(GError) reason = NULL;

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &reason))
		return inox_error_set(error, INOX_ERROR_INVALID, "%s", reason->message);
	if (argc > 1)
		return inox_error_set(error, INOX_ERROR_INVALID, "unexpected argument: %s",
				      argv[1]);
	if (!o->version && (!o->http_root || !o->key || !o->socket))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "--http-root, --key and --socket are needed (see --help)");
	return true;
}

/* The one before it may have left its socket; nobody else's file is removed. */
static int open_socket(const char *path, GError **error)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat st;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "the socket's path %s is longer than %zu bytes", path,
			       sizeof(sa.sun_path) - 1);
		return -1;
	}
	memcpy(sa.sun_path, path, strlen(path));
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before = umask(0117);
	bool good = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
		    listen(fd, BACKLOG) == 0;
	int saved = errno;

	umask(before);
	if (good)
		return fd;
	inox_error_set_errno(error, saved, "open the socket %s", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* What libraries read from files they read now. */
static bool enter_sandbox(const char *http_root, GError **error)
{
	const struct sandbox_path path = {http_root, false};
	const struct sandbox_options o = {
		.role = ROLE_MEDIA, .paths = &path, .path_count = 1, .explain = true};
	bool landlock = false;

	(void)g_random_int();
	tzset();
	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL);
	if (!sandbox_enter(&o, &landlock, error))
		return false;
	if (!landlock)
		log_warn(NULL,
			 "the kernel has no Landlock: files are protected by permissions only");
	return true;
}

static void on_signal(void *ctx)
{
	loop_stop(ctx);
}

static bool serve(const struct options *o, const struct media_key *key, int root_fd, GError **error)
{
	g_autoptr(loop) l = loop_new();
	struct loop_signal *term = loop_signal_new(l, SIGTERM, on_signal, l);
	struct loop_signal *interrupt = loop_signal_new(l, SIGINT, on_signal, l);
	int fd = open_socket(o->socket, error);
	struct media_service *s = NULL;

	if (fd >= 0 && !enter_sandbox(o->http_root, error))
		close(fd);
	else if (fd >= 0)
		s = media_service_new(l, key, root_fd, fd, error);
	if (s) {
		log_notice(NULL, "ready", F_STR("http_root", o->http_root),
			   F_STR("socket", o->socket));
		loop_run(l);
		log_notice(NULL, "ends");
	}
	media_service_free(s);
	loop_signal_free(term);
	loop_signal_free(interrupt);
	return s != NULL;
}

static bool run(const struct options *o, GError **error)
{
	g_auto(media_key) key = {{0}};
	int root_fd;

	secret_forbid_dumps();
	if (!media_key_load(o->key, &key, error))
		return false;
	root_fd = open(o->http_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return inox_error_set_errno(error, errno, "open the http root %s", o->http_root);
	bool good = serve(o, &key, root_fd, error);

	close(root_fd);
	return good;
}

int main(int argc, char **argv)
{
	struct options o = {.debug = FALSE};
	g_autoptr(GError) error = NULL;
	bool good;

	setlocale(LC_CTYPE, "");
	good = read_options(argc, argv, &o, &error);
	log_setup("inox-media", o.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (good && o.version)
		printf("inox-media %s\n", INOX_VERSION);
	else if (good)
		good = run(&o, &error);
	options_clear(&o);
	if (good)
		return 0;
	fprintf(stderr, "inox-media: %s\n", error->message);
	return inox_error_exit_status(error);
}
