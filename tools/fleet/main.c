/* inox-fleet: a fleet of agents on loopback, and what it costs to watch it. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "errors.h"
#include "listeners.h"
#include "log.h"
#include "options.h"
#include "report.h"
#include "server.h"

#define PIN_TEXT       65
#define TRAP_BEHIND    200
#define BOOT_TICK      SPAN_MS(50)
#define STOP_MS        5000
#define ENROLMENT_MODE 0600

struct run {
	const struct options *options;
	struct loop *loop;
	struct fleet *fleet;
	struct board *board;
	struct listeners listeners;
	struct player *player; /* NULL with --serve */
	struct loop_timer *tick, *end, *warm;
	pid_t servers[BOARD_PROCESSES_MOST];
	char *certificate_pem, *key_pem;
	char pin[PIN_TEXT];
	struct snapshot from;
	double all_seen_s; /* negative: not yet */
	bool server_ended;
};

/* ---- set-up */

/* Every connection is a descriptor. */
static void raise_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static bool make_certificate(struct run *r, GError **error)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;

	if (!tls_make_certificate("inox-fleet", "127.0.0.1", &r->certificate_pem, &r->key_pem,
				  error))
		return false;
	BIO *bio = BIO_new_mem_buf(r->certificate_pem, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	if (certificate)
		X509_digest(certificate, EVP_sha256(), digest, &length);
	X509_free(certificate);
	for (unsigned i = 0; i < length; i++)
		g_snprintf(r->pin + (size_t)2 * i, 3, "%02x", digest[i]);
	return true;
}

static int run_server(const void *ctx)
{
	return server_run(ctx);
}

static bool start_servers(struct run *r, GError **error)
{
	const struct options *o = r->options;

	for (int p = 0; p < o->servers; p++) {
		struct server_plan plan = {.fleet = r->fleet,
					   .board = r->board,
					   .listeners = &r->listeners,
					   .certificate_pem = r->certificate_pem,
					   .key_pem = r->key_pem,
					   .faults_after.us = (int64_t)(o->faults_after_s * 1e6),
					   .process = (unsigned)p,
					   .openssl = o->openssl,
					   .adopt = o->adopt,
					   .trap_port = (unsigned)o->port + TRAP_BEHIND};

		r->servers[p] = child_fork(run_server, &plan, error);
		if (r->servers[p] < 0)
			return false;
	}
	return true;
}

/* Where it was built, or where it was installed. */
static char *find_inoxd(const struct options *o)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (o->inoxd)
		return g_strdup(o->inoxd);
	self[MAX(n, 0)] = '\0';
	g_autofree char *folder = g_path_get_dirname(self);
	g_autofree char *built = g_build_filename(folder, "../../src/inoxd/inoxd", NULL);

	if (access(built, X_OK) == 0)
		return g_steal_pointer(&built);
	return g_build_filename(folder, "inoxd", NULL);
}

/* One line per agent, blank separated, behind a line that names the columns. */
static bool write_enrolment(struct run *r, GError **error)
{
	int fd = open(r->options->enrolment, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		      ENROLMENT_MODE);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");

	if (!out)
		return inox_error_set_errno(error, errno, "write %s", r->options->enrolment);
	fputs("node epoch address port transport token certificate\n", out);
	for (uint32_t i = 0; i < fleet_count(r->fleet); i++) {
		struct uuid node = fleet_node(r->fleet, i);
		char address[ENDPOINT_TEXT], token[FLEET_TOKEN_TEXT];
		enum agent_transport transport = fleet_transport(r->fleet, i);

		fleet_address(r->fleet, i, address);
		fleet_token(r->fleet, i, token);
		fprintf(out, "%s %" G_GUINT64_FORMAT " %s %u %s %s %s\n", node.s,
			(guint64)fleet_epoch(r->fleet, i), address, fleet_port(r->fleet, i),
			agent_transport_text(transport), token,
			transport == TRANSPORT_PINNED ? r->pin : "-");
	}
	if (fclose(out) != 0)
		return inox_error_set_errno(error, errno, "write %s", r->options->enrolment);
	return true;
}

/* ---- while it runs */

static void take_snapshot(struct run *r, struct snapshot *s)
{
	snapshot_clear(s);
	*s = (struct snapshot){.at = mono_now(), .tally = board_sum(r->board)};
	for (unsigned i = 0; r->player && i < r->player->plan.dialers; i++) {
		s->dialer_ns += child_cpu_ns(r->player->dialers[i].child.pid);
		s->dialer_bytes += child_resident_bytes(r->player->dialers[i].child.pid);
	}
	if (r->player)
		s->connector_ns = child_cpu_ns(r->player->connector.pid);
	for (int p = 0; p < r->options->servers; p++)
		s->server_ns += child_cpu_ns(r->servers[p]);
}

static void on_warm(void *ctx)
{
	struct run *r = ctx;

	take_snapshot(r, &r->from);
}

static void on_fed(void *ctx)
{
	struct run *r = ctx;

	loop_timer_arm(r->warm, (struct span){(int64_t)(r->options->warm_up_s * 1e6)});
}

static void on_tick(void *ctx)
{
	struct run *r = ctx;
	g_autoptr(GError) error = NULL;
	unsigned second = (unsigned)((mono_now().us - r->board->start.us) / 1000000);

	if (r->all_seen_s < 0 && board_first_looks(r->board) == fleet_healthy(r->fleet)) {
		r->all_seen_s = (double)(mono_now().us - r->board->start.us) / 1e6;
		log_notice(NULL, "every healthy agent was looked at",
			   F_INT("ms", r->all_seen_s * 1000));
	}
	if (!listeners_boot(&r->listeners, second, &error))
		log_error(NULL, "agents cannot boot", F_ERR(error));
	for (int p = 0; p < r->options->servers; p++)
		if (r->servers[p] > 0 && waitpid(r->servers[p], NULL, WNOHANG) > 0) {
			log_error(NULL, "a serving process has ended", F_INT("pid", r->servers[p]));
			r->servers[p] = 0;
			r->server_ended = true;
			loop_stop(r->loop);
		}
	loop_timer_arm(r->tick, BOOT_TICK);
}

static void on_stop(void *ctx)
{
	struct run *r = ctx;

	loop_stop(r->loop);
}

static void on_end_commands(void *ctx)
{
	struct run *r = ctx;

	for (int p = 0; p < r->options->servers; p++)
		if (r->servers[p] > 0)
			kill(r->servers[p], SIGUSR1);
}

/* ---- the whole */

static bool start_player(struct run *r, const char *inoxd, GError **error)
{
	const struct options *o = r->options;
	struct player_plan plan = {.fleet = r->fleet,
				   .inoxd = inoxd,
				   .pin = r->pin,
				   .dialers = (unsigned)o->dialers,
				   .interval_s = (unsigned)o->interval_s,
				   .command_timeout_s = (unsigned)o->command_timeout_s,
				   .phase = o->phase};

	r->player = player_new(r->loop, &plan, on_fed, r, error);
	if (!r->player)
		return false;
	take_snapshot(r, &r->from);
	loop_timer_arm(r->end, (struct span){(int64_t)(o->for_s * 1e6)});
	return true;
}

static bool print_figures(struct run *r, GError **error)
{
	struct report report = {.fleet = r->fleet,
				.player = r->player,
				.interval_s = (unsigned)r->options->interval_s,
				.all_seen_s = r->all_seen_s,
				.board = r->board,
				.from = r->from,
				.servers = (unsigned)r->options->servers};
	g_autoptr(GString) text = g_string_new(NULL);

	take_snapshot(r, &report.to);
	json_t *figures = report_json(&report);

	report_print(figures, text);
	fputs(text->str, stdout);
	fflush(stdout);
	bool ok = !r->options->json ||
		  json_dump_file(figures, r->options->json, JSON_INDENT(1) | JSON_SORT_KEYS) == 0;

	snapshot_clear(&report.to);
	json_decref(figures);
	return ok || inox_error_set(error, INOX_ERROR_IO, "cannot write %s", r->options->json);
}

static bool play(struct run *r, GError **error)
{
	const struct options *o = r->options;
	g_autofree char *inoxd = find_inoxd(o);

	if (o->serve ? !write_enrolment(r, error) : !start_player(r, inoxd, error))
		return false;
	if (!r->player)
		take_snapshot(r, &r->from);
	log_notice(NULL, "the agents are there", F_INT("agents", o->plan.agents),
		   F_INT("port", o->port), F_INT("processes", o->servers));
	on_tick(r);
	loop_run(r->loop);
	bool ok = print_figures(r, error);

	if (r->player && !player_stop(r->player) && ok)
		ok = inox_error_set(error, INOX_ERROR_PEER, "a dialer did not live to the end");
	if (r->server_ended && ok)
		ok = inox_error_set(error, INOX_ERROR_PEER, "a serving process has ended");
	return ok;
}

static void clear(struct run *r)
{
	if (r->player)
		player_stop(r->player);
	for (int p = 0; p < r->options->servers; p++)
		if (r->servers[p] > 0)
			child_stop(r->servers[p], STOP_MS);
	player_free(r->player);
	snapshot_clear(&r->from);
	listeners_close(&r->listeners);
	loop_timer_free(r->tick);
	loop_timer_free(r->end);
	loop_timer_free(r->warm);
	loop_free(r->loop);
	board_free(r->board);
	fleet_free(r->fleet);
	g_free(r->certificate_pem);
	secret_wipe_text(r->key_pem);
}

static bool start(struct run *r, GError **error)
{
	const struct options *o = r->options;

	r->fleet = fleet_new(&o->plan, error);
	r->board =
		r->fleet ? board_new(o->plan.agents, (uint32_t)o->interval_s * 1000, error) : NULL;
	if (!r->board || !make_certificate(r, error) ||
	    !listeners_open(&r->listeners, r->fleet, (unsigned)o->servers,
			    (unsigned)o->port + TRAP_BEHIND, error) ||
	    !start_servers(r, error))
		return false;
	r->loop = loop_new();
	r->tick = loop_timer_new(r->loop, on_tick, r);
	r->end = loop_timer_new(r->loop, on_stop, r);
	r->warm = loop_timer_new(r->loop, on_warm, r);
	return true;
}

static bool run(const struct options *o, GError **error)
{
	struct run r = {.options = o, .all_seen_s = -1};
	struct loop_signal *term = NULL, *interrupt = NULL, *end = NULL;
	bool ok = start(&r, error);

	if (ok) {
		term = loop_signal_new(r.loop, SIGTERM, on_stop, &r);
		interrupt = loop_signal_new(r.loop, SIGINT, on_stop, &r);
		end = loop_signal_new(r.loop, SIGUSR1, on_end_commands, &r);
		ok = play(&r, error);
		loop_signal_free(term);
		loop_signal_free(interrupt);
		loop_signal_free(end);
	}
	clear(&r);
	return ok;
}

int main(int argc, char **argv)
{
	struct options o;
	g_autoptr(GError) error = NULL;

	setlocale(LC_CTYPE, "C.UTF-8");
	log_setup("inox-fleet", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	raise_limit();
	bool ok = options_read(&o, argc, argv, &error);

	if (ok && o.version) {
		printf("inox-fleet %s\n", INOX_VERSION);
	} else if (ok && o.list_faults) {
		g_autoptr(GString) text = g_string_new(NULL);

		fault_print_all(text);
		fputs(text->str, stdout);
	} else if (ok) {
		ok = run(&o, &error);
	}
	options_clear(&o);
	if (ok)
		return 0;
	fprintf(stderr, "inox-fleet: %s\n", error->message);
	return inox_error_exit_status(error);
}
