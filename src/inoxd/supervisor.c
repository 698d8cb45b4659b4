/* The supervisor.
 *
 * Each role has a struct child, each dialer one of its own.  A child that ends is started again after a pause of 1 s, doubling to
 * 30 s, and 1 s again once it ran for a minute.  The conductor and its workers are a group: their
 * channels are socket pairs between them, so when the conductor ends, all of them end and start together;
 * when a worker ends, it alone gets a new pair and the conductor is told with worker_attached.  The
 * connector stands by itself; dialer and bmc have a pair with it, too, and when it ends they do.
 */
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "child.h"
#include "connect.h"
#include "errors.h"
#include "limit.h"
#include "log.h"
#include "notify.h"
#include "planted.h"
#include "refusals.h"
#include "worker.h"

#define TICK           SPAN_SECONDS(1)
#define SILENCE_MOST   SPAN_SECONDS(30) /* a process that is silent for longer is stuck */
#define STOP_MOST      SPAN_SECONDS(5)  /* per stage, then SIGKILL */
#define PAUSE_LEAST    SPAN_SECONDS(1)
#define PAUSE_MOST     SPAN_SECONDS(30)
#define STABLE_AFTER   SPAN_SECONDS(60)
#define EXIT_CONFIGURE 2

/* One per role, and the further dialers. */
#define CHILDREN (ROLE_COUNT + LIMIT_DIALERS - 1)

struct child {
	struct supervisor *supervisor;
	enum role role;
	unsigned index; /* of a dialer */
	bool wanted, ready;
	pid_t pid; /* 0: not running */
	struct channel *channel;
	struct refusals *refusals;
	struct loop_timer *again;
	struct mono started, heard;
	struct span pause;
};

struct supervisor {
	const struct supervisor_options *options;
	struct loop *loop;
	struct child children[CHILDREN];
	struct refusal_counts *refused;
	struct loop_timer *tick, *watchdog;
	struct mono last_tick;
	struct mono deadline; /* of the group's end or of a stop's stage; 0: none */
	bool group_ending;    /* the conductor ended: its workers must, too */
	bool announced;       /* READY=1 was sent */
	unsigned stage;       /* of the stop, 0: running */
	int exit_status;
};

/* The API takes no more requests, then the conductor takes no more decisions, then the rest. */
static const unsigned stop_stages[] = {1u << ROLE_API, 1u << ROLE_CONDUCTOR,
				       1u << ROLE_DIALER | 1u << ROLE_BMC | 1u << ROLE_BOOT,
				       1u << ROLE_CONNECTOR};

static bool in_group(enum role role)
{
	return role != ROLE_SUPERVISOR && role != ROLE_API && role != ROLE_CONNECTOR;
}

/* Meets strangers, and has its connections from the connector. */
static bool needs_connector(enum role role)
{
	return role == ROLE_DIALER || role == ROLE_BMC;
}

static void close_fds(int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static bool is_older(struct mono t, struct span age)
{
	return mono_reached(mono_add(t, age), mono_now());
}

/* ---- messages of the children */

static void announce_when_ready(struct supervisor *s)
{
	if (s->announced)
		return;
	for (unsigned i = 0; i < CHILDREN; i++)
		if (s->children[i].wanted && !s->children[i].ready)
			return;
	s->announced = true;
	notify_send("READY=1");
	log_notice(NULL, "all processes are ready");
}

static void on_child_message(void *ctx, struct message *m, int fd)
{
	struct child *c = ctx;

	c->heard = mono_now();
	/* Once, before anything of a stranger: what comes later is not ours. */
	if (m->type == MESSAGE_sandboxed && fd >= 0 && !c->refusals && !c->ready)
		c->refusals = refusals_new(c->supervisor->loop, c->supervisor->refused, c->role,
					   c->pid, fd);
	else if (fd >= 0)
		close(fd);
	if (m->type == MESSAGE_ready && !c->ready) {
		c->ready = true;
		/* A new one knows nothing. */
		if (c->role == ROLE_API)
			refusal_counts_tell(c->supervisor->refused, c->channel, true);
		announce_when_ready(c->supervisor);
	}
}

/* The end of the process itself is what counts (on_child_signal); a process that only closed its channel
 * becomes silent. */
static void on_child_closed(void *ctx, const GError *error)
{
	struct child *c = ctx;

	if (error)
		log_warn(NULL, "a process broke the protocol", F_STR("role", role_text[c->role]),
			 F_ERR(error));
	if (error && c->pid)
		kill(c->pid, SIGKILL);
}

/* ---- starting */

static int make_config_file(const struct supervisor *s, enum role role, GError **error)
{
	int fd = child_file_of_text("config", "", error);

	if (fd < 0)
		return -1;
	if (!config_write_for_role(s->options->config, role, fd, error)) {
		close(fd);
		return -1;
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		inox_error_set_errno(error, errno, "rewind the configuration of a process");
	return fd;
}

/* What a worker is started with: its ends of the channels to the conductor and the connector; -1: none. */
struct worker_ends {
	int conductor, connector;
};

/* The descriptors behind 3 and 4 (doc/architecture.md).  False on failure. */
static bool make_role_fds(const struct supervisor *s, enum role role,
			  const struct worker_ends *ends, int ret_fds[static 2], GError **error)
{
	const struct state *kept = s->options->state;

	ret_fds[0] = ret_fds[1] = -1;
	if (role == ROLE_API) {
		g_autofree char *text = seal_key_public_text(kept->key);

		ret_fds[0] = fcntl(kept->listen_fd, F_DUPFD_CLOEXEC, 0);
		ret_fds[1] = child_file_of_text("sealing.pub", text, error);
		return ret_fds[1] >= 0;
	}
	if (role == ROLE_CONDUCTOR) {
		ret_fds[0] = fcntl(kept->poke_fd, F_DUPFD_CLOEXEC, 0);
		ret_fds[1] = open(kept->key_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		return ret_fds[1] >= 0 ||
		       inox_error_set_errno(error, errno, "open %s", kept->key_path);
	}
	if (ends->conductor >= 0)
		ret_fds[0] = fcntl(ends->conductor, F_DUPFD_CLOEXEC, 0);
	if (ends->connector >= 0)
		ret_fds[1] = fcntl(ends->connector, F_DUPFD_CLOEXEC, 0);
	return true;
}

static bool spawn(struct child *c, const struct worker_ends *ends, GError **error)
{
	struct supervisor *s = c->supervisor;
	int pair[2] = {-1, -1}, fds[CHILD_FD_MOST] = {-1, -1, -1, -1};
	bool ok = channel_pair(pair, error);

	if (ok)
		fds[0] = make_config_file(s, c->role, error);
	ok = ok && fds[0] >= 0 && make_role_fds(s, c->role, ends, fds + 2, error);
	fds[1] = pair[1];
	if (ok)
		c->pid = child_spawn(c->role, &s->options->state->users, fds,
				     fds[3] >= 0   ? 4
				     : fds[2] >= 0 ? 3
						   : 2,
				     error);
	close_fds(fds, CHILD_FD_MOST);
	if (!ok || c->pid < 0) {
		c->pid = 0;
		close_fds(pair, 1);
		return false;
	}
	c->channel = channel_new(s->loop, pair[0], on_child_message, on_child_closed, c);
	c->started = c->heard = mono_now();
	c->ready = false;
	log_info(NULL, "process started", F_STR("role", role_text[c->role]), F_INT("pid", c->pid));
	return true;
}

static void start_later(struct child *c)
{
	loop_timer_arm(c->again, c->pause);
	/* A test that takes a worker over many times does not wait for each. */
	c->pause.us = PLANTED_TAKEOVER ? SPAN_MS(50).us : MIN(c->pause.us * 2, PAUSE_MOST.us);
}

static bool start_worker(struct child *c, GError **error)
{
	struct child *children = c->supervisor->children;
	struct message attached = {.type = MESSAGE_worker_attached};
	int pair[2] = {-1, -1}, to_connector[2] = {-1, -1};

	attached.worker_attached.role = c->role;
	attached.worker_attached.index = c->index;
	bool ok = channel_pair(pair, error) &&
		  channel_send_fd(children[ROLE_CONDUCTOR].channel, &attached, pair[1], error);

	if (ok && needs_connector(c->role))
		ok = connect_pair(to_connector, error) &&
		     channel_send_fd(children[ROLE_CONNECTOR].channel, &attached, to_connector[1],
				     error);
	struct worker_ends ends = {pair[0], to_connector[0]};

	ok = ok && spawn(c, &ends, error);
	close_fds(pair, 2);
	close_fds(to_connector, 2);
	return ok;
}

static void start_workers(struct supervisor *s);

static void start(struct child *c)
{
	struct supervisor *s = c->supervisor;
	g_autoptr(GError) error = NULL;
	bool is_worker = in_group(c->role) && c->role != ROLE_CONDUCTOR;
	static const struct worker_ends none = {-1, -1};

	/* Without its conductor and connector a worker waits: it is started with them. */
	if (s->stage || c->pid || !c->wanted ||
	    (is_worker && !s->children[ROLE_CONDUCTOR].channel) ||
	    (needs_connector(c->role) && !s->children[ROLE_CONNECTOR].channel))
		return;
	if (is_worker ? start_worker(c, &error) : spawn(c, &none, &error)) {
		if (c->role == ROLE_CONDUCTOR || c->role == ROLE_CONNECTOR)
			start_workers(s);
		return;
	}
	log_error(NULL, "a process could not be started", F_STR("role", role_text[c->role]),
		  F_ERR(error));
	start_later(c);
}

static void start_workers(struct supervisor *s)
{
	for (unsigned i = 0; i < CHILDREN; i++)
		if (in_group(s->children[i].role) && i != ROLE_CONDUCTOR)
			start(&s->children[i]);
}

static void on_again(void *ctx)
{
	start(ctx);
}

/* ---- ending */

static unsigned running(const struct supervisor *s)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < CHILDREN; i++)
		if (s->children[i].pid)
			mask |= 1u << s->children[i].role;
	return mask;
}

static void signal_roles(struct supervisor *s, unsigned roles, int number)
{
	for (unsigned i = 0; i < CHILDREN; i++)
		if ((roles & (1u << s->children[i].role)) && s->children[i].pid)
			kill(s->children[i].pid, number);
}

/* Goes on to the next stage of which something still runs. */
static void stop_on(struct supervisor *s)
{
	while (s->stage <= G_N_ELEMENTS(stop_stages)) {
		unsigned left = running(s) & stop_stages[s->stage - 1];

		if (left)
			return;
		s->stage++;
		if (s->stage > G_N_ELEMENTS(stop_stages))
			break;
		signal_roles(s, stop_stages[s->stage - 1], SIGTERM);
		s->deadline = mono_add(mono_now(), STOP_MOST);
	}
	loop_stop(s->loop);
}

static void stop(struct supervisor *s, int exit_status)
{
	if (s->stage)
		return;
	s->stage = 1;
	s->exit_status = exit_status;
	notify_send("STOPPING=1");
	for (unsigned i = 0; i < CHILDREN; i++)
		if (s->children[i].again)
			loop_timer_disarm(s->children[i].again);
	signal_roles(s, stop_stages[0], SIGTERM);
	s->deadline = mono_add(mono_now(), STOP_MOST);
	stop_on(s);
}

static void end_group(struct supervisor *s)
{
	unsigned left = 0;

	for (unsigned i = 0; i < CHILDREN; i++)
		if (in_group(s->children[i].role) && s->children[i].pid)
			left |= 1u << s->children[i].role;
	if (left && !s->group_ending) {
		s->group_ending = true;
		s->deadline = mono_add(mono_now(), STOP_MOST);
		signal_roles(s, left, SIGTERM);
	}
	if (left)
		return;
	s->group_ending = false;
	s->deadline.us = 0;
	start_later(&s->children[ROLE_CONDUCTOR]);
}

static void log_end(const struct child *c, int status)
{
	const char *role = role_text[c->role];

	if (WIFSIGNALED(status))
		log_warn(NULL, "a process was ended by a signal", F_STR("role", role),
			 F_INT("pid", c->pid), F_STR("signal", g_strsignal(WTERMSIG(status))));
	else
		log_warn(NULL, "a process ended", F_STR("role", role), F_INT("pid", c->pid),
			 F_INT("status", WEXITSTATUS(status)));
}

static void on_child_end(struct child *c, int status)
{
	struct supervisor *s = c->supervisor;

	/* At the end a clean exit is what was asked for. */
	if (!s->stage || status != 0)
		log_end(c, status);
	c->pid = 0;
	g_clear_pointer(&c->channel, channel_free);
	g_clear_pointer(&c->refusals, refusals_free);
	if (c->role == ROLE_CONNECTOR && !s->stage)
		signal_roles(s, 1u << ROLE_DIALER | 1u << ROLE_BMC, SIGTERM);
	if (is_older(c->started, STABLE_AFTER))
		c->pause = PAUSE_LEAST;
	if (s->stage)
		stop_on(s);
	else if (!s->announced && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CONFIGURE)
		stop(s, EXIT_CONFIGURE);
	else if (c->role == ROLE_CONDUCTOR || (s->group_ending && in_group(c->role)))
		end_group(s);
	else
		start_later(c);
}

static void on_child_signal(void *ctx)
{
	struct supervisor *s = ctx;
	int status;

	for (unsigned i = 0; i < CHILDREN; i++) {
		struct child *c = &s->children[i];

		if (c->pid && waitpid(c->pid, &status, WNOHANG) == c->pid)
			on_child_end(c, status);
	}
}

static void on_stop_signal(void *ctx)
{
	stop(ctx, 0);
}

static void on_hangup(void *ctx)
{
	(void)ctx;
	log_notice(NULL, "the configuration is read at start only: restart to apply changes");
}

/* ---- watching */

static bool kill_silent(struct supervisor *s)
{
	bool all_heard = true;

	for (unsigned i = 0; i < CHILDREN; i++) {
		struct child *c = &s->children[i];

		if (!c->pid || !is_older(c->heard, SILENCE_MOST))
			continue;
		all_heard = false;
		log_error(NULL, "a process is stuck and is killed",
			  F_STR("role", role_text[c->role]), F_INT("pid", c->pid),
			  F_INT("silent_s", SILENCE_MOST.us / 1000000));
		kill(c->pid, SIGKILL);
		c->heard = mono_now();
	}
	return all_heard;
}

static void on_tick(void *ctx)
{
	struct supervisor *s = ctx;
	bool was_stopped = is_older(s->last_tick, SPAN_SECONDS(10));

	s->last_tick = mono_now();
	loop_timer_arm(s->tick, TICK);
	/* We did not listen ourselves: the children's messages are still unread. */
	for (unsigned i = 0; was_stopped && i < CHILDREN; i++)
		s->children[i].heard = s->last_tick;
	kill_silent(s);
	if (s->children[ROLE_API].ready && s->children[ROLE_API].channel)
		refusal_counts_tell(s->refused, s->children[ROLE_API].channel, false);
	if (s->deadline.us && mono_reached(s->deadline, s->last_tick)) {
		unsigned roles =
			s->stage ? stop_stages[s->stage - 1]
				 : ~(1u << ROLE_API | 1u << ROLE_CONDUCTOR | 1u << ROLE_CONNECTOR);

		signal_roles(s, roles, SIGKILL);
		s->deadline.us = 0;
	}
}

/* The service manager's watchdog: fed only while every process reports. */
static void on_watchdog(void *ctx)
{
	struct supervisor *s = ctx;

	loop_timer_arm(s->watchdog, notify_watchdog_interval());
	for (unsigned i = 0; i < CHILDREN; i++)
		if (s->children[i].pid && is_older(s->children[i].heard, SILENCE_MOST))
			return;
	notify_send("WATCHDOG=1");
}

static void init_children(struct supervisor *s)
{
	const struct supervisor_options *o = s->options;
	unsigned dialers = (unsigned)config_int(o->config, OPTION_agent_dialers);

	for (unsigned i = ROLE_SUPERVISOR + 1; i < CHILDREN; i++) {
		struct child *c = &s->children[i];

		c->supervisor = s;
		c->role = i < ROLE_COUNT ? i : ROLE_DIALER;
		c->index = i < ROLE_COUNT ? 0 : i - ROLE_COUNT + 1;
		c->wanted = c->index < dialers &&
			    (c->role == ROLE_API ? o->with_api : o->with_conductor);
		c->pause = PAUSE_LEAST;
		c->again = loop_timer_new(s->loop, on_again, c);
	}
}

int supervisor_run(const struct supervisor_options *o)
{
	g_autoptr(loop) l = loop_new();
	struct supervisor s = {.options = o, .loop = l, .last_tick = mono_now()};
	struct loop_signal *signals[] = {
		loop_signal_new(l, SIGCHLD, on_child_signal, &s),
		loop_signal_new(l, SIGTERM, on_stop_signal, &s),
		loop_signal_new(l, SIGINT, on_stop_signal, &s),
		loop_signal_new(l, SIGHUP, on_hangup, &s),
	};

	s.refused = refusal_counts_new();
	init_children(&s);
	s.tick = loop_timer_new(l, on_tick, &s);
	s.watchdog = loop_timer_new(l, on_watchdog, &s);
	loop_timer_arm(s.tick, TICK);
	if (notify_watchdog_interval().us)
		loop_timer_arm(s.watchdog, SPAN_MS(0));
	start(&s.children[ROLE_API]);
	start(&s.children[ROLE_CONNECTOR]);
	start(&s.children[ROLE_CONDUCTOR]);
	loop_run(l);
	for (unsigned i = ROLE_SUPERVISOR + 1; i < CHILDREN; i++)
		loop_timer_free(s.children[i].again);
	for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++)
		loop_signal_free(signals[i]);
	refusal_counts_free(s.refused);
	loop_timer_free(s.tick);
	loop_timer_free(s.watchdog);
	log_notice(NULL, "ended");
	return s.exit_status;
}
