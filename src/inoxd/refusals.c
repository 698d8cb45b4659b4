#include "refusals.h"

#include <errno.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"

#define REPORTS_MOST 20  /* of one call by one process */
#define CALLS_MOST   512 /* system calls have lower numbers; others share the last place */

struct refusal_counts {
	uint64_t count[ROLE_COUNT][CALLS_MOST];
	uint64_t told[ROLE_COUNT][CALLS_MOST];
};

struct refusals {
	struct refusal_counts *counts;
	enum role role;
	pid_t pid;
	int fd;
	struct loop_watch *watch;
	struct seccomp_notif *asked;
	struct seccomp_notif_resp *answer;
	uint8_t reported[CALLS_MOST];
};

static void report(struct refusals *r, int call, enum sandbox_answer answer)
{
	unsigned slot = MIN((unsigned)call, CALLS_MOST - 1);
	/* A process that is killed may have many in its threads; one that goes on may try for ever. */
	if (r->reported[slot] == REPORTS_MOST)
		return;
	r->reported[slot]++;
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);

	log_error(NULL, "a process did what its role does not need",
		  {.key = "event", .text = "sandbox"}, F_STR("role", role_text[r->role]),
		  F_INT("pid", r->pid), F_STR("call", name),
		  F_STR("answer", answer == SANDBOX_KILL ? "killed" : "refused"));
	free(name);
}

static void handle(struct refusals *r)
{
	int number = EPERM;

	/* The kernel takes a zeroed one only. */
	memset(r->asked, 0, sizeof(*r->asked));
	if (seccomp_notify_receive(r->fd, r->asked) != 0)
		return; /* the process was killed meanwhile */
	int call = r->asked->data.nr;
	enum sandbox_answer answer = sandbox_answer(r->role, call, &number);

	r->counts->count[r->role][MIN((unsigned)call, CALLS_MOST - 1)]++;
	report(r, call, answer);
	if (answer == SANDBOX_KILL) {
		kill(r->pid, SIGKILL);
		return;
	}
	r->answer->id = r->asked->id;
	r->answer->val = -1;
	r->answer->error = -number;
	r->answer->flags = 0;
	(void)seccomp_notify_respond(r->fd, r->answer);
}

static void on_ready(void *ctx, bool readable, bool writable)
{
	struct refusals *r = ctx;
	struct pollfd p = {.fd = r->fd, .events = POLLIN};

	(void)readable;
	(void)writable;
	/* Receiving would block after the end of the process, which is an event, too. */
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLIN))
		handle(r);
	else if (p.revents & (POLLHUP | POLLERR | POLLNVAL))
		loop_watch_set(r->watch, false, false);
}

struct refusals *refusals_new(struct loop *l, struct refusal_counts *counts, enum role role,
			      pid_t pid, int fd)
{
	struct refusals *r = g_new0(struct refusals, 1);

	r->counts = counts;
	r->role = role;
	r->pid = pid;
	r->fd = fd;
	if (seccomp_notify_alloc(&r->asked, &r->answer) != 0)
		g_error("out of memory");
	r->watch = loop_watch_new(l, fd, on_ready, r);
	return r;
}

void refusals_free(struct refusals *r)
{
	if (!r)
		return;
	loop_watch_free(r->watch);
	seccomp_notify_free(r->asked, r->answer);
	close(r->fd);
	g_free(r);
}

/* ---- counts */

struct refusal_counts *refusal_counts_new(void)
{
	return g_new0(struct refusal_counts, 1);
}

void refusal_counts_free(struct refusal_counts *c)
{
	g_free(c);
}

static void tell(struct channel *to, enum role role, int call, uint64_t count)
{
	struct message m = {.type = MESSAGE_sandbox_count};
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
	g_autoptr(GError) error = NULL;
	int number;

	m.sandbox_count.role = role;
	m.sandbox_count.call = name ? name : (char *)(uintptr_t) "other";
	m.sandbox_count.killed = sandbox_answer(role, call, &number) == SANDBOX_KILL;
	m.sandbox_count.count = count;
	if (!channel_send(to, &m, &error))
		log_warn(NULL, "refusals cannot be told", F_ERR(error));
	free(name);
}

void refusal_counts_tell(struct refusal_counts *c, struct channel *to, bool again)
{
	for (unsigned role = 0; role < ROLE_COUNT; role++)
		for (int call = 0; call < CALLS_MOST; call++) {
			uint64_t count = c->count[role][call];

			if (count == (again ? 0 : c->told[role][call]))
				continue;
			c->told[role][call] = count;
			tell(to, (enum role)role, call, count);
		}
}
