#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link.h"
#include "log.h"

#define ACCEPTS_PER_TURN 64
/* How often a process looks whether a port was opened. */
#define BOOT_LOOK SPAN_MS(100)

struct door {
	struct server *server;
	struct listener *listener;
	struct loop_watch *watch; /* NULL: not open yet */
};

struct doors {
	struct server *server;
	struct door *all;
	unsigned count, closed;
	struct loop_timer *timer;
};

/* ---- accepting */

static uint32_t agent_of(const struct server *s, int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} own = {.v6 = {.sin6_family = AF_UNSPEC}};
	socklen_t length = sizeof(own);

	if (getsockname(fd, &own.any, &length) != 0)
		return FLEET_NOBODY;
	if (own.any.sa_family == AF_INET6)
		return 0; /* ::1 has one agent */
	return fleet_of_ipv4(s->fleet, ntohl(own.v4.sin_addr.s_addr));
}

static void take(struct door *door, int fd)
{
	struct server *s = door->server;
	uint32_t agent = agent_of(s, fd);

	if (door->listener->kind == LISTENER_TRAP) {
		s->tally->trapped++;
		close(fd);
	} else if (agent == FLEET_NOBODY) {
		s->tally->strangers++;
		close(fd);
	} else {
		link_start(s, fd, agent);
	}
}

static void on_connections(void *ctx, bool readable, bool writable)
{
	struct door *door = ctx;

	(void)readable;
	(void)writable;
	for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(door->listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			take(door, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

/* ---- doors: the parent begins to listen, all processes have the sockets */

static bool is_listening(int fd)
{
	int on = 0;
	socklen_t length = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) == 0 && on;
}

static void open_doors(void *ctx)
{
	struct doors *d = ctx;

	d->closed = 0;
	for (unsigned i = 0; i < d->count; i++) {
		struct door *door = &d->all[i];

		if (door->watch || door->listener->process != d->server->process)
			continue;
		if (!is_listening(door->listener->fd)) {
			d->closed++;
			continue;
		}
		door->watch =
			loop_watch_new(d->server->loop, door->listener->fd, on_connections, door);
		loop_watch_set(door->watch, true, false);
	}
	if (d->closed)
		loop_timer_arm(d->timer, BOOT_LOOK);
}

static void doors_init(struct doors *d, struct server *s)
{
	d->server = s;
	d->count = s->listeners->count;
	d->all = g_new0(struct door, d->count);
	for (unsigned i = 0; i < d->count; i++)
		d->all[i] = (struct door){.server = s, .listener = &s->listeners->all[i]};
	d->timer = loop_timer_new(s->loop, open_doors, d);
	open_doors(d);
}

static void doors_clear(struct doors *d)
{
	for (unsigned i = 0; i < d->count; i++)
		loop_watch_free(d->all[i].watch);
	loop_timer_free(d->timer);
	g_free(d->all);
}

/* ---- life */

static void on_stop(void *ctx)
{
	loop_stop(ctx);
}

static void on_end_commands(void *ctx)
{
	work_end_all(((struct server *)ctx)->work);
}

static void clear(struct server *s)
{
	while (s->links)
		link_reset(s->links);
	while (s->spare) {
		struct link *next = s->spare->next;

		quick_link_free(s->spare->quick);
		g_free(s->spare);
		s->spare = next;
	}
	if (s->recorded)
		g_byte_array_unref(s->recorded);
	work_table_free(s->work);
	channel_tls_free(s->tls);
	quick_tls_free(s->quick);
	loop_free(s->loop);
}

int server_run(const struct server_plan *plan)
{
	struct server s = {.loop = loop_new(),
			   .fleet = plan->fleet,
			   .board = plan->board,
			   .tally = &plan->board->tallies[plan->process],
			   .listeners = plan->listeners,
			   .started = wall_now(),
			   .faults_from = mono_add(plan->board->start, plan->faults_after),
			   .process = plan->process,
			   .trap_port = plan->trap_port,
			   .adopt = plan->adopt};
	struct doors doors = {.all = NULL};

	/* Ctrl-C goes to all processes of the terminal; the parent ends us in order. */
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	loop_signal_hold(SIGTERM, true);
	s.work = work_table_new(&s);
	struct loop_signal *term = loop_signal_new(s.loop, SIGTERM, on_stop, s.loop);
	struct loop_signal *end = loop_signal_new(s.loop, SIGUSR1, on_end_commands, &s);
	loop_signal_hold(SIGTERM, false);

	s.tls = channel_tls_new(&s, plan->certificate_pem, plan->key_pem);
	s.quick = plan->openssl ? NULL : quick_tls_new();
	if (!s.tls || (!plan->openssl && !s.quick)) {
		log_error(NULL, "the agents' TLS cannot be set up");
		return 1;
	}
	doors_init(&doors, &s);
	loop_run(s.loop);
	doors_clear(&doors);
	loop_signal_hold(SIGTERM, true);
	loop_signal_free(term);
	loop_signal_free(end);
	clear(&s);
	return 0;
}
