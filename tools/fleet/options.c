#include "options.h"

#include <string.h>
#include <unistd.h>

#include "board.h"
#include "errors.h"
#include "player.h"
#include "share.h"

#define AGENTS_DEFAULT   1000
#define PORT_DEFAULT     19900
#define PORTS_BEHIND     256 /* refusing, booting, trap */
#define FOR_DEFAULT      60.0
#define WARM_UP_DEFAULT  2.0
#define INTERVAL_DEFAULT 60
#define INTERVAL_MOST    86400
#define TIMEOUT_DEFAULT  60
#define TIMEOUT_MOST     3600
#define SCRIPT_BYTES     65536

static bool take_transport(void *ctx, const char *name, unsigned share, GError **error)
{
	struct options *o = ctx;
	int t = agent_transport_parse(name);

	if (t < 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "'%.32s' is none of the transports psk, pinned and http",
				      name);
	o->plan.transport_share[t] = share;
	return true;
}

static bool take_fault(void *ctx, const char *name, unsigned share, GError **error)
{
	struct options *o = ctx;
	enum fault kind = fault_find(name);

	if (strcmp(name, "all") == 0) {
		for (int k = FAULT_NONE + 1; k < FAULT_COUNT; k++)
			o->plan.fault_share[k] = share;
		return true;
	}
	if (kind == FAULT_NONE)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "there is no fault '%.32s' (see --list-faults)", name);
	o->plan.fault_share[kind] = share;
	return true;
}

static bool read_transports(struct options *o, GError **error)
{
	unsigned sum = 0;

	if (!o->transports) {
		o->plan.transport_share[TRANSPORT_PSK] = SHARE_ALL;
		return true;
	}
	int only = agent_transport_parse(o->transports);

	if (only >= 0) {
		o->plan.transport_share[only] = SHARE_ALL;
		return true;
	}
	if (!share_parse_list(o->transports, take_transport, o, error))
		return false;
	for (unsigned t = 0; t < FLEET_TRANSPORTS; t++)
		sum += o->plan.transport_share[t];
	return sum == SHARE_ALL || inox_error_set(error, INOX_ERROR_INVALID,
						  "--transport: the shares are not 100%% together");
}

static bool read_script(struct options *o, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) reason = NULL;
	gsize length = 0;

	script_default(&o->script);
	o->plan.script = &o->script;
	if (!o->script_file)
		return true;
	if (!g_file_get_contents(o->script_file, &text, &length, &reason))
		return inox_error_set(error, INOX_ERROR_INVALID, "%s", reason->message);
	if (length > SCRIPT_BYTES || memchr(text, '\0', length))
		return inox_error_set(error, INOX_ERROR_INVALID, "%s is not a script",
				      o->script_file);
	return script_parse(text, &o->script, error);
}

static bool check_range(const char *name, double value, double least, double most, GError **error)
{
	return (value >= least && value <= most) ||
	       inox_error_set(error, INOX_ERROR_INVALID, "--%s is not %.10g to %.10g", name, least,
			      most);
}

static bool check(struct options *o, GError **error)
{
	if (!check_range("port", o->port, 1, 65535 - PORTS_BEHIND, error) ||
	    !check_range("interval", o->interval_s, 1, INTERVAL_MOST, error) ||
	    !check_range("dialers", o->dialers, 1, PLAYER_DIALERS_MOST, error) ||
	    !check_range("servers", o->servers, 1, BOARD_PROCESSES_MOST, error) ||
	    !check_range("command-timeout", o->command_timeout_s, 1, TIMEOUT_MOST, error) ||
	    !check_range("agents", o->plan.agents, 1, FLEET_AGENTS_MOST, error) ||
	    !check_range("for", o->for_s, 0.1, 1e6, error) ||
	    !check_range("warm-up", o->warm_up_s, 0, 1e6, error) ||
	    !check_range("faults-after", o->faults_after_s, 0, 1e6, error))
		return false;
	if (o->phase_text && strcmp(o->phase_text, "first") == 0)
		o->phase = WATCH_FIRST_CONTACT;
	else if (o->phase_text && strcmp(o->phase_text, "idle") != 0)
		return inox_error_set(error, INOX_ERROR_INVALID, "--phase is idle or first");
	if (o->serve != (o->enrolment != NULL))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "--serve and --enrolment belong together");
	return true;
}

/* What the fleet is. */
static void add_fleet_entries(GOptionContext *context, struct options *o)
{
	const GOptionEntry entries[] = {
		{"agents", 'n', 0, G_OPTION_ARG_INT, &o->agents, "Agents (default: 1000)", "N"},
		{"for", 0, 0, G_OPTION_ARG_DOUBLE, &o->for_s, "Length of the run (default: 60)",
		 "SECONDS"},
		{"interval", 'i', 0, G_OPTION_ARG_INT, &o->interval_s,
		 "Longest time between two looks at an agent (default: 60)", "SECONDS"},
		{"transport", 't', 0, G_OPTION_ARG_STRING, &o->transports,
		 "psk, pinned, http, or shares: psk=90%,http=10% (default: psk)", "SHARES"},
		{"fault", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &o->faults,
		 "Agents that misbehave: tarpit=10%, all=1%; may be given several times", "SHARES"},
		{"list-faults", 0, 0, G_OPTION_ARG_NONE, &o->list_faults,
		 "Print what can be wrong with an agent, and end", NULL},
		{"faults-after", 0, 0, G_OPTION_ARG_DOUBLE, &o->faults_after_s,
		 "Until then every agent that can be reached is honest (default: 0)", "SECONDS"},
		{"script", 's', 0, G_OPTION_ARG_FILENAME, &o->script_file,
		 "What agents live through (default: all are idle)", "FILE"},
		G_OPTION_ENTRY_NULL,
	};

	g_option_context_add_main_entries(context, entries, NULL);
}

/* How it is run. */
static void add_run_entries(GOptionContext *context, struct options *o)
{
	const GOptionEntry entries[] = {
		{"phase", 0, 0, G_OPTION_ARG_STRING, &o->phase_text,
		 "How the watch begins: idle, as after a restart, or first, as after a power on "
		 "(default: idle)",
		 "PHASE"},
		{"dialers", 'd', 0, G_OPTION_ARG_INT, &o->dialers, "Dialer processes (default: 1)",
		 "N"},
		{"servers", 0, 0, G_OPTION_ARG_INT, &o->servers,
		 "Processes that play the agents (default: cores without the dialers', at least 1)",
		 "N"},
		{"warm-up", 0, 0, G_OPTION_ARG_DOUBLE, &o->warm_up_s,
		 "Rates are measured from so long after the last watch was handed over (default: 2)",
		 "SECONDS"},
		{"command-timeout", 0, 0, G_OPTION_ARG_INT, &o->command_timeout_s,
		 "[agent]command_timeout of the dialers (default: 60)", "SECONDS"},
		{"port", 'p', 0, G_OPTION_ARG_INT, &o->port,
		 "TCP port of the agents; some 250 behind it are used, too (default: 19900)",
		 "PORT"},
		{"seed", 0, 0, G_OPTION_ARG_STRING, &o->seed,
		 "Nodes, tokens and chances follow from this text", "TEXT"},
		{"openssl", 0, 0, G_OPTION_ARG_NONE, &o->openssl,
		 "Agents use OpenSSL's TLS server, as real ones, instead of a cheaper one", NULL},
		{"ipv6", '6', 0, G_OPTION_ARG_NONE, &o->ipv6,
		 "Agent 0 listens at ::1, the only loopback address that IPv6 has", NULL},
		{"inoxd", 0, 0, G_OPTION_ARG_FILENAME, &o->inoxd,
		 "The program (default: next to this one)", "FILE"},
		{"json", 'j', 0, G_OPTION_ARG_FILENAME, &o->json, "Write the figures there, too",
		 "FILE"},
		{"serve", 0, 0, G_OPTION_ARG_NONE, &o->serve,
		 "Only play the agents, until SIGTERM or SIGINT", NULL},
		{"enrolment", 0, 0, G_OPTION_ARG_FILENAME, &o->enrolment,
		 "With --serve: who the agents are; holds their tokens", "FILE"},
		{"adopt", 0, 0, G_OPTION_ARG_NONE, &o->adopt,
		 "An agent that is asked for a command before it got one takes it for one that runs",
		 NULL},
		{"version", 0, 0, G_OPTION_ARG_NONE, &o->version, "Print the version and end",
		 NULL},
		G_OPTION_ENTRY_NULL,
	};

	g_option_context_add_main_entries(context, entries, NULL);
}

static bool parse_options(struct options *o, int argc, char **argv, GError **error)
{
	g_autoptr(GOptionContext) context = g_option_context_new(
		"- plays a fleet of agents on loopback, and measures who dials them");
	g_autoptr(GError) reason = NULL;

	add_fleet_entries(context, o);
	add_run_entries(context, o);
	if (!g_option_context_parse(context, &argc, &argv, &reason))
		return inox_error_set(error, INOX_ERROR_INVALID, "%s", reason->message);
	if (argc > 1)
		return inox_error_set(error, INOX_ERROR_INVALID, "unexpected argument: %s",
				      argv[1]);
	o->plan.agents = (uint32_t)MAX(o->agents, 0);
	return true;
}

bool options_read(struct options *o, int argc, char **argv, GError **error)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	*o = (struct options){.agents = AGENTS_DEFAULT,
			      .for_s = FOR_DEFAULT,
			      .warm_up_s = WARM_UP_DEFAULT,
			      .port = PORT_DEFAULT,
			      .interval_s = INTERVAL_DEFAULT,
			      .dialers = 1,
			      .command_timeout_s = TIMEOUT_DEFAULT,
			      .phase = WATCH_IDLE};
	if (!parse_options(o, argc, argv, error))
		return false;
	if (o->version || o->list_faults)
		return true;
	if (!o->servers)
		o->servers = (int)CLAMP(cores - o->dialers, 1, BOARD_PROCESSES_MOST);
	for (unsigned i = 0; o->faults && o->faults[i]; i++)
		if (!share_parse_list(o->faults[i], take_fault, o, error))
			return false;
	o->plan.seed = o->seed ? o->seed : "inox-fleet";
	o->plan.port = (unsigned)o->port;
	o->plan.ipv6 = o->ipv6;
	return check(o, error) && read_transports(o, error) && read_script(o, error);
}

void options_clear(struct options *o)
{
	g_free(o->seed);
	g_free(o->inoxd);
	g_free(o->json);
	g_free(o->enrolment);
	g_free(o->transports);
	g_free(o->script_file);
	g_free(o->phase_text);
	g_strfreev(o->faults);
}
