#include "worker.h"

#include <errno.h>
#include <iconv.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "bmc.h"
#include "boot.h"
#include "channel.h"
#include "conductor.h"
#include "connect.h"
#include "connector.h"
#include "crash_point.h"
#include "dialer.h"
#include "driver.h"
#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"
#include "planted.h"
#include "sandbox.h"
#include "seal.h"
#include "state.h"
#include "store.h"
#include "web.h"

/* The supervisor gives up on a process after 30 s of silence. */
#define ALIVE_INTERVAL SPAN_SECONDS(2)

struct worker {
	enum role role;
	struct loop *loop;
	struct config *config;
	struct channel *supervisor;
	struct loop_timer *alive;
	struct loop_signal *term;
	struct store *store;
	struct seal_key *key;
	iconv_t converter; /* only held, so that it stays loaded */
	int poke_fd;       /* api: where pokes are sent from */
	struct sockaddr_un poke_address;
	struct api *api;
	struct conductor *conductor;
	struct dialer *dialer;
	struct bmc_worker *bmc;
	struct boot_worker *boot;
	struct connector *connector;
	struct connect_client *connect;
};

/* What a role does before and after it enters the sandbox; no byte of a stranger is read in `open`. */
struct role_program {
	bool (*open)(struct worker *w, GError **error);
	bool (*run)(struct worker *w, GError **error);
};

static void say(struct worker *w, enum message_type type)
{
	struct message m = {.type = type};
	g_autoptr(GError) error = NULL;

	if (!channel_send(w->supervisor, &m, &error))
		log_warn(NULL, "the supervisor cannot be told", F_ERR(error));
}

static void on_alive(void *ctx)
{
	struct worker *w = ctx;

	say(w, MESSAGE_alive);
	loop_timer_arm(w->alive, ALIVE_INTERVAL);
}

static void on_stop(void *ctx)
{
	struct worker *w = ctx;

	loop_stop(w->loop);
}

static void on_message(void *ctx, struct message *m, int fd)
{
	struct worker *w = ctx;

	if (m->type == MESSAGE_worker_attached && w->conductor && fd >= 0) {
		if (m->worker_attached.role == ROLE_DIALER)
			conductor_attach_dialer(w->conductor, m->worker_attached.index, fd);
		else
			conductor_attach(w->conductor, (enum role)m->worker_attached.role, fd);
		return;
	}
	if (m->type == MESSAGE_worker_attached && w->connector && fd >= 0) {
		connector_serve(w->connector, (enum role)m->worker_attached.role, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (m->type == MESSAGE_sandbox_count && w->api && m->sandbox_count.role < ROLE_COUNT) {
		api_take_refusals(w->api, role_text[m->sandbox_count.role], m->sandbox_count.call,
				  m->sandbox_count.killed, m->sandbox_count.count);
		return;
	}
	log_warn(NULL, "unexpected message of the supervisor",
		 F_STR("type", message_type_text(m->type)));
}

static void on_closed(void *ctx, const GError *error)
{
	struct worker *w = ctx;

	log_error(NULL, "the supervisor is gone", F_ERR(error));
	loop_stop(w->loop);
}

/* ---- api and conductor */

static bool open_store(struct worker *w, GError **error)
{
	g_autofree char *connection = config_database(w->config);

	w->store = store_open(connection, false, error);
	return w->store;
}

/* A lost poke costs one sweep of the conductor: nothing is tried again. */
static void send_poke(void *ctx, const char *node_uuid)
{
	struct worker *w = ctx;

	(void)sendto(w->poke_fd, node_uuid, strlen(node_uuid), MSG_DONTWAIT | MSG_NOSIGNAL,
		     (const struct sockaddr *)&w->poke_address, sizeof(w->poke_address));
}

static bool open_api(struct worker *w, GError **error)
{
	g_autofree char *path = state_poke_path(config_text(w->config, OPTION_DEFAULT_state_path));
	char text[256];
	ssize_t n = read(WORKER_FD_KEY, text, sizeof(text) - 1);

	close(WORKER_FD_KEY);
	text[MAX(n, 0)] = '\0';
	w->key = seal_key_from_public_text(text, error);
	if (!w->key || !open_store(w, error))
		return false;
	w->poke_address.sun_family = AF_UNIX;
	g_strlcpy(w->poke_address.sun_path, path, sizeof(w->poke_address.sun_path));
	w->poke_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* For config drives: the C library loads its converter from a file, and keeps it. */
	w->converter = iconv_open("UTF-16BE", "UTF-8");
	return w->poke_fd >= 0 || inox_error_set_errno(error, errno, "open a socket for pokes");
}

static bool run_api(struct worker *w, GError **error)
{
	w->api = api_new(w->loop, w->config, w->store, w->key, send_poke, w, error);
	return w->api && api_accept_on(w->api, WORKER_FD_ROLE, error);
}

static bool open_conductor(struct worker *w, GError **error)
{
	w->key = seal_key_read_fd(WORKER_FD_KEY, "sealing.key", error);
	close(WORKER_FD_KEY);
	return w->key && open_store(w, error);
}

static bool run_conductor(struct worker *w, GError **error)
{
	w->conductor = conductor_new(w->loop, w->config, w->store, w->key, WORKER_FD_ROLE, error);
	return w->conductor;
}

/* ---- the workers that meet strangers: channels are read only when the loop runs */

static void on_connector_gone(void *ctx)
{
	struct worker *w = ctx;

	log_info(NULL, "the connector is gone");
	loop_stop(w->loop);
}

static bool open_dialer(struct worker *w, GError **error)
{
	(void)error;
	w->dialer = dialer_new(w->loop, w->config, WORKER_FD_ROLE);
	w->connect = connect_client_new(w->loop, WORKER_FD_CONNECTOR, on_connector_gone, w);
	dialer_connect_with(w->dialer, w->connect);
	return true;
}

static bool open_connector(struct worker *w, GError **error)
{
	(void)error;
	w->connector = connector_new(w->loop, w->config);
	return true;
}

static bool connect_for_bmc(void *ctx, const struct endpoint *to, struct span wait, int *ret_fd,
			    GError **error)
{
	(void)ctx;
	return connect_and_wait(WORKER_FD_CONNECTOR, to, wait, ret_fd, error);
}

/* What the libraries read from files, they read now. */
static bool open_bmc(struct worker *w, GError **error)
{
	(void)w;
	/* Before it gives the memory of a thread's arena back, malloc() looks into /proc. */
	mallopt(M_ARENA_MAX, 1);
	driver_start();
	web_connect_with(connect_for_bmc, NULL);
	return web_keep_trust(error);
}

/* These two have threads, and the sandbox covers only threads that are started inside it. */
static bool run_bmc(struct worker *w, GError **error)
{
	(void)error;
	w->bmc = bmc_worker_new(w->loop, w->config, WORKER_FD_ROLE);
	return true;
}

static bool run_boot(struct worker *w, GError **error)
{
	w->boot = boot_worker_new(w->loop, w->config, WORKER_FD_ROLE, error);
	return w->boot;
}

static const struct role_program programs[ROLE_COUNT] = {
	[ROLE_API] = {open_api, run_api},    [ROLE_CONDUCTOR] = {open_conductor, run_conductor},
	[ROLE_DIALER] = {open_dialer, NULL}, [ROLE_BMC] = {open_bmc, run_bmc},
	[ROLE_BOOT] = {NULL, run_boot},      [ROLE_CONNECTOR] = {open_connector, NULL},
};

/* ---- the sandbox */

#define PATHS_MOST 16

/* The boot publisher pushes to a host by its name. */
static bool has_named_boot_host(const struct worker *w)
{
	const char *url = w->role == ROLE_BOOT ? config_text(w->config, OPTION_boot_push_url) : "";
	g_autoptr(GUri) uri = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);
	struct endpoint e;

	return uri && !endpoint_parse(g_uri_get_host(uri), 1, &e, NULL);
}

/* Folders and files that a role still opens once it runs. */
static unsigned list_paths(const struct worker *w, struct sandbox_path *paths, char **ret_database,
			   char **ret_key_folder)
{
	/* TLS verification of boot hosts with the system's authorities. */
	static const char *const trust[] = {"/etc/ssl", "/usr/lib/ssl",
					    "/usr/share/ca-certificates",
					    "/usr/local/share/ca-certificates"};
	/* The boot host may have a name. */
	static const char *const names[] = {"/etc", "/usr/lib", "/lib", "/run/systemd/resolve"};
	static const enum config_option boot_files[] = {OPTION_boot_push_ca_file,
							OPTION_boot_push_certificate_file,
							OPTION_boot_push_key_file};
	unsigned n = 0;

	*ret_database = NULL;
	if (w->role == ROLE_API || w->role == ROLE_CONDUCTOR) {
		g_autofree char *connection = config_database(w->config);

		*ret_database = g_path_get_dirname(connection + strlen("sqlite://"));
		paths[n++] = (struct sandbox_path){*ret_database, true};
		paths[n++] = (struct sandbox_path){
			config_text(w->config, OPTION_DEFAULT_state_path), true};
		/* The seed of SQLite's generator. */
		paths[n++] = (struct sandbox_path){"/dev/urandom", false};
	}
	*ret_key_folder = NULL;
	if (w->role == ROLE_CONDUCTOR && *config_text(w->config, OPTION_boot_media_key_file)) {
		/* The folder: a key may come later, and another one may take its place. */
		*ret_key_folder =
			g_path_get_dirname(config_text(w->config, OPTION_boot_media_key_file));
		paths[n++] = (struct sandbox_path){*ret_key_folder, false};
	}
	if (w->role == ROLE_BOOT && *config_text(w->config, OPTION_boot_push_url))
		for (size_t i = 0; i < G_N_ELEMENTS(trust); i++)
			paths[n++] = (struct sandbox_path){trust[i], false};
	for (size_t i = 0; has_named_boot_host(w) && i < G_N_ELEMENTS(names); i++)
		paths[n++] = (struct sandbox_path){names[i], false};
	if (w->role == ROLE_BOOT && *config_text(w->config, OPTION_boot_root))
		paths[n++] = (struct sandbox_path){config_text(w->config, OPTION_boot_root), true};
	for (size_t i = 0; w->role == ROLE_BOOT && i < G_N_ELEMENTS(boot_files); i++)
		if (*config_text(w->config, boot_files[i]))
			paths[n++] =
				(struct sandbox_path){config_text(w->config, boot_files[i]), false};
	g_assert(n <= PATHS_MOST);
	return n;
}

/* TCP ports that a role connects to by itself. */
static unsigned list_ports(const struct worker *w, unsigned *ports)
{
	const char *url = w->role == ROLE_BOOT ? config_text(w->config, OPTION_boot_push_url) : "";
	g_autoptr(GUri) uri = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);

	if (!uri)
		return 0;
	int number = g_uri_get_port(uri);

	ports[0] = number > 0 ? (unsigned)number : g_str_has_prefix(url, "http://") ? 80 : 443;
	ports[1] = 53; /* names, when the answer is long */
	return 2;
}

/* Generators, the clock and OpenSSL read files, once: inside, they would find other, worse ways. */
static void warm_up(void)
{
	(void)g_random_int();
	json_object_seed(0);
	tzset();
	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL);
}

static bool enter_sandbox(const struct worker *w, GError **error)
{
	struct sandbox_path paths[PATHS_MOST];
	g_autofree char *database = NULL, *key_folder = NULL;
	struct message entered = {.type = MESSAGE_sandboxed};
	unsigned ports[2];
	int report_fd = -1;
	struct sandbox_options o = {.role = w->role,
				    .paths = paths,
				    .path_count = list_paths(w, paths, &database, &key_folder),
				    .connect_ports = ports,
				    .connect_port_count = list_ports(w, ports),
				    .ret_report_fd = &report_fd};
	bool landlock = false;

	if (planted_is_unconfined())
		return true;
	warm_up();
	if (!sandbox_enter(&o, &landlock, error))
		return false;
	bool told = channel_send_fd(w->supervisor, &entered, report_fd, error);

	close(report_fd);
	if (!told)
		return false;
	if (!landlock)
		log_warn(NULL,
			 "the kernel has no Landlock: files are protected by permissions only");
	return true;
}

/* ---- life */

static bool start(struct worker *w, GError **error)
{
	const struct role_program *p = &programs[w->role];

	if ((p->open && !p->open(w, error)) || !enter_sandbox(w, error) ||
	    (p->run && !p->run(w, error)))
		return false;
	on_alive(w);
	say(w, MESSAGE_ready);
	return true;
}

static void clear(struct worker *w)
{
	api_free(w->api);
	conductor_free(w->conductor);
	dialer_free(w->dialer);
	bmc_worker_free(w->bmc);
	boot_worker_free(w->boot);
	connector_free(w->connector);
	connect_client_free(w->connect);
	store_free(w->store);
	seal_key_free(w->key);
	if (w->poke_fd >= 0)
		close(w->poke_fd);
	/* No converter: NULL was never opened, and -1 could not be. */
	if (w->converter && w->converter != (iconv_t)-1)
		iconv_close(w->converter);
	loop_timer_free(w->alive);
	/* A second reason to end must not cut the clean end of the first one short. */
	loop_signal_hold(SIGTERM, true);
	loop_signal_free(w->term);
	channel_free(w->supervisor);
	config_free(w->config);
	loop_free(w->loop);
}

static int find_role(const char *text)
{
	for (int i = ROLE_SUPERVISOR + 1; i < ROLE_COUNT; i++)
		if (strcmp(role_text[i], text) == 0)
			return i;
	return -1;
}

int worker_main(const char *role)
{
	static char name[32];
	g_autoptr(GError) error = NULL;
	int number = find_role(role);

	if (number < 0) {
		fprintf(stderr, "inoxd: there is no role '%s'\n", role);
		return 2;
	}
	struct worker w = {.role = (enum role)number, .poke_fd = -1};

	g_snprintf(name, sizeof(name), "inoxd-%s", role);
	crash_point_role(role);
	w.config = config_read_fd(WORKER_FD_CONFIG, &error);
	close(WORKER_FD_CONFIG);
	if (!w.config) {
		fprintf(stderr, "%s: %s: started without the supervisor?\n", name, error->message);
		return 2;
	}
	log_setup(name,
		  config_bool(w.config, OPTION_DEFAULT_debug) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	signal(SIGINT, SIG_IGN); /* the supervisor ends us in order */
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	loop_signal_hold(SIGTERM, true);
	w.loop = loop_new();
	w.term = loop_signal_new(w.loop, SIGTERM, on_stop, &w);
	loop_signal_hold(SIGTERM, false);
	w.supervisor = channel_new(w.loop, WORKER_FD_SUPERVISOR, on_message, on_closed, &w);
	w.alive = loop_timer_new(w.loop, on_alive, &w);
	bool ok = start(&w, &error);

	if (ok)
		loop_run(w.loop);
	else
		log_error(NULL, "the process cannot start", F_ERR(error));
	clear(&w);
	return ok ? 0 : inox_error_exit_status(error);
}
